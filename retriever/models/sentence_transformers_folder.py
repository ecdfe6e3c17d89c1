"""Writes an encoder of Tamis as a SparseEncoder folder, which sentence-transformers loads.

What such a folder cannot say is put into the weights: special terms, which Tamis never emits, get
a bias that keeps them at zero; a head without an activation gets a shift that takes it beyond
the activation's bend, and which the norm after it removes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import tokenizers
import torch
from transformers import PreTrainedTokenizerFast

from tamis.index.errors import FormatError
from tamis.retriever.models.description import Architecture, NeuralSide, TableSide, read_checkpoint
from tamis.retriever.models.heads import HEADS
from tamis.retriever.models.inference_free import read_weight_table
from tamis.retriever.models.language_model import load_whole_model
from tamis.retriever.models.tensor_files import save_arrays
from tamis.retriever.models.weights import save_model

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.retriever.models.tokenizer import Tokenizer

NEVER = -1e4  # a logit that no text lifts above zero
STRAIGHT = 32.0  # GELU, ReLU and SiLU give their input back around here
HOME = "sentence_transformers.sparse_encoder.models."
MODEL, POOLING = "MLMTransformer", "SpladePooling"


def write_sparse_encoder(name_or_path: str, folder: Path) -> Path:
    """Write an encoder as a SparseEncoder of sentence-transformers 5 and later.

    Args:
        name_or_path: of an encoder that Tamis reads.
        folder: new or existing.

    Returns:
        ``folder``.

    Raises:
        InputError: there is no such encoder.
        FormatError: it has something that a SparseEncoder cannot compute; the message says what.
    """
    files = read_checkpoint(name_or_path)
    document, query = files.document, files.query
    for side in (document, query):
        check_representable(side)
    folder.mkdir(parents=True, exist_ok=True)
    if document == query:
        _write_modules(folder, [("", MODEL), (f"1_{POOLING}", POOLING)])
        _write_model(document, folder, folder / f"1_{POOLING}")
    else:
        routes = {"document": _write_route(document, folder, "document")}
        routes["query"] = _write_route(query, folder, "query")
        _write_router(folder, routes)
    settings = {"model_type": "SparseEncoder", "similarity_fn_name": "dot"}
    prompts = {"document": document.prompt, "query": getattr(query, "prompt", "")}
    about = settings | {"prompts": prompts, "max_active_dims": document.top_n}
    _json(folder / "config_sentence_transformers.json", about)
    return folder


def check_representable(side: NeuralSide | TableSide) -> None:
    """Refuse what no module of sentence-transformers computes.

    Raises:
        FormatError: the side has such a thing.
    """
    if isinstance(side, TableSide):
        return
    beyond = HEADS[side.head].beyond_sentence_transformers
    reasons = {
        beyond: bool(beyond),
        f"a {side.architecture}": side.architecture is Architecture.CAUSAL,
        "texts read twice": side.echo,
        f"logits scaled by {side.logit_scale}": side.logit_scale != 1,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if found:
        raise FormatError(
            f"{side.folder}: expected a masked language model for a SparseEncoder of "
            f"sentence-transformers, found {', '.join(found)}; use the model with Tamis itself"
        )


def _write_route(side: NeuralSide | TableSide, folder: Path, route: str) -> dict[str, str]:
    """One side's modules, and the class of each folder."""
    if isinstance(side, TableSide):
        name = f"{route}_0_SparseStaticEmbedding"
        _write_table(side, folder / name)
        return {name: "SparseStaticEmbedding"}
    names = (f"{route}_0_{MODEL}", f"{route}_1_{POOLING}")
    _write_model(side, *(folder / name for name in names))
    return dict(zip(names, (MODEL, POOLING), strict=True))


def _write_router(folder: Path, routes: dict[str, dict[str, str]]) -> None:
    types = {name: HOME + kind for route in routes.values() for name, kind in route.items()}
    config = {
        "types": types,
        "structure": {route: list(modules) for route, modules in routes.items()},
        "parameters": {"default_route": "document", "allow_empty_key": True},
    }
    _json(folder / "router_config.json", config)
    router = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Router"}
    _json(folder / "modules.json", [router])


def _write_modules(folder: Path, modules: list[tuple[str, str]]) -> None:
    rows = [
        {"idx": i, "name": str(i), "path": path, "type": HOME + kind}
        for i, (path, kind) in enumerate(modules)
    ]
    _json(folder / "modules.json", rows)


def _write_model(side: NeuralSide, folder: Path, pooling: Path) -> None:
    tokenizer = side.tokenizer()
    model = load_whole_model(side, torch.float32)
    _put_into_weights(side, model, tokenizer)
    save_model(model, folder)
    _write_tokenizer(tokenizer, folder, side.max_length, int(model.config.pad_token_id or 0))
    _json(folder / "sentence_bert_config.json", {"max_seq_length": side.max_length})
    activation = "log1p_relu" if side.double_log else "relu"
    settings = {"pooling_strategy": side.head, "activation_function": activation}
    _json(pooling / "config.json", settings | {"embedding_dimension": side.vocab_size})


@torch.no_grad()
def _put_into_weights(side: NeuralSide, model: Any, tokenizer: Tokenizer) -> None:  # noqa: ANN401
    bias = model.get_output_embeddings().bias
    if bias is None:
        raise FormatError(
            f"{side.folder}: expected a vocabulary head with a bias, found none; use the model "
            "with Tamis itself"
        )
    bias[sorted(tokenizer.special_ids)] = NEVER
    if side.linear_head:
        model.cls.predictions.transform.dense.bias += STRAIGHT


def _write_table(side: TableSide, folder: Path) -> None:
    tokenizer = side.tokenizer(512)
    weights = read_weight_table(side.weights, tokenizer, tokenizer.size).clip(min=0)
    weights[list(tokenizer.special_ids)] = 0
    _write_tokenizer(tokenizer, folder, side.max_length or 512, padding=0)
    save_arrays({"weight": weights}, folder / "model.safetensors")
    _json(folder / "config.json", {"frozen": True})


def _write_tokenizer(tokenizer: Tokenizer, folder: Path, longest: int, padding: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    copy = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    fast: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=copy, model_max_length=longest, pad_token=copy.id_to_token(padding)
    )
    fast.save_pretrained(str(folder))


def _json(path: Path, content: Any) -> None:  # noqa: ANN401  what JSON can say
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2))
