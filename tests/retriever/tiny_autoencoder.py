"""Tiny random sparse autoencoders over dense encoders, as sentence-transformers saves them."""

import tiny_checkpoints as tiny
import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder

WIDTH = tiny.SMALL["hidden_size"]


def write_autoencoder(
    folder, *, body=tiny.write_bert, pooling="mean", scaled=True, latents=64, k=5, **settings
):
    """A sparse autoencoder of ``latents`` over a small random model; k of them for a text."""
    source = body(folder / "body")
    coder = SparseAutoEncoder(WIDTH, hidden_dim=latents, k=k, **settings)
    torch.manual_seed(11)
    for one in (coder.encoder.weight, coder.latent_bias, coder.pre_bias):
        torch.nn.init.normal_(one, std=0.2)
    modules = [Transformer(str(source)), Pooling(WIDTH, pooling), Normalize(), coder]
    if not scaled:
        del modules[2]
    SparseEncoder(modules=modules).save_pretrained(str(folder / "model"))
    return folder / "model"
