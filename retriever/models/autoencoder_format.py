"""Reads a sparse autoencoder over a dense encoder, as sentence-transformers writes it (CSR)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tamis.index.errors import FormatError
from tamis.retriever.models.embedding_format import read_embedding
from tamis.retriever.models.head_kinds import HeadKind
from tamis.retriever.models.inventory import AUTOENCODER
from tamis.retriever.models.location import read_object
from tamis.retriever.models.sides import Code, NeuralSide

if TYPE_CHECKING:
    from pathlib import Path

AUTOENCODER_CLASS = "SparseAutoEncoder"


def read_autoencoder(root: Path, modules: list[tuple[str, Path]]) -> NeuralSide:
    """A side of Transformer, Pooling, perhaps Normalize, and SparseAutoEncoder.

    Raises:
        FormatError: they are others than these, or state what is not computed here.
    """
    embedding, folder = read_embedding(root, modules[:-1]), modules[-1][1]
    path = folder / "config.json"
    stated = read_object(path)
    AUTOENCODER.check(stated, path)
    width, k = stated.get("hidden_dim", 512), stated.get("k", 8)
    if k > width:
        raise FormatError(
            f"{path}: expected k, the latents of a text, of at most the {width} there are, found "
            f"{k}; lower it"
        )
    code = Code(
        folder,
        pieces=embedding.side.vocab_size,
        pooling=embedding.pooling,
        scaled=embedding.scaled,
        standardised=bool(stated.get("normalize")),
    )
    return replace(embedding.side, vocab_size=width, head=HeadKind.CODE, code=code, top_n=k)
