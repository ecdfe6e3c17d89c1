"""Writes a reranker's folder, in the two forms that `loading` reads.

A whole model is an ordinary folder of the Hugging Face format. One that shares the bundled
encoder's embedding matrix is int8 rows without it, and a sample of the rows it was trained beside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch
from safetensors.numpy import load_file
from transformers import BertConfig, BertModel

from tamis.index.errors import InputError
from tamis.retriever.models.location import BUNDLED
from tamis.retriever.models.quantised_weights import SCALE, dequantise_rows, save_quantised
from tamis.retriever.rerank.loading import EMBEDDINGS, SAMPLE, SETTINGS, RerankerSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.retriever.models.tokenizer import Tokenizer

WORDS = "embeddings.word_embeddings.weight"
SAMPLED = 128  # rows of the embedding matrix


def save_reranker(
    folder: Path,
    model: Any,  # noqa: ANN401  a BertModel
    tokenizer: Tokenizer,
    settings: RerankerSettings,
) -> None:
    """Write everything that `load_reranker` reads.

    Args:
        folder: made if it is not there.
        model: a BERT whose last layer gives the scores; see `start_from_bi_encoder`.
        tokenizer: of its texts.
        settings: ``shared_embeddings`` above 0 leaves tokenizer and word embeddings out, which are
            then the bundled encoder's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().float().cpu() for name, tensor in model.state_dict().items()}
    if settings.shared_embeddings:
        sample = _sample(weights.pop(WORDS).numpy())
        save_quantised(sample, folder / SAMPLE)
        arrays = {name: tensor.numpy() for name, tensor in weights.items()}
        save_quantised(arrays, folder / "model.safetensors")
        model.config.save_pretrained(folder)
    else:
        _whole(model.config, weights).save_pretrained(folder)
        tokenizer.save(folder)
    stored = msgspec.json.format(msgspec.json.encode(settings), indent=1)
    (folder / SETTINGS).write_bytes(stored + b"\n")


def bundled_embeddings(config: BertConfig) -> torch.Tensor:
    """The bundled encoder's embedding matrix ``[V, D]`` float32, for a model of that shape.

    Raises:
        InputError: the model is of another shape.
    """
    encoder = load_file(str(BUNDLED / "model.safetensors"))
    rows = dequantise_rows(encoder[EMBEDDINGS], encoder[EMBEDDINGS + SCALE])
    if rows.shape != (config.vocab_size, config.hidden_size):
        raise InputError(
            f"expected a base of {rows.shape} word embeddings to share the bundled encoder's, "
            f"found {(config.vocab_size, config.hidden_size)}; set shared_embeddings to 0"
        )
    return torch.from_numpy(rows)


def _sample(words: np.ndarray[Any, np.dtype[np.float32]]) -> dict[str, Any]:
    """Rows of the matrix that tell it from another, the same at every call."""
    chosen = np.random.default_rng(0).choice(len(words), min(SAMPLED, len(words)), replace=False)
    rows = np.sort(chosen)
    return {"rows": rows.astype(np.float32), "vectors": words[rows]}


def _whole(config: BertConfig, weights: dict[str, torch.Tensor]) -> Any:  # noqa: ANN401
    """A BERT of the usual parts; those of its last layer that nothing reads are zeros."""
    model = BertModel(config, add_pooling_layer=False)
    empty = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    model.load_state_dict(empty | weights)
    return model
