"""Reads a SparseEncoder folder of sentence-transformers as a document and a query side."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from tamis.index.errors import FormatError
from tamis.retriever.models.autoencoder_format import AUTOENCODER_CLASS, read_autoencoder
from tamis.retriever.models.hugging_face_format import (
    cut_at,
    has_tokenizer,
    language_model,
    not_safetensors,
    pooled,
    transformer_settings,
)
from tamis.retriever.models.inventory import (
    FILL_MASK,
    MODULES,
    ROUTER,
    ROUTER_PARAMETERS,
    SPARSE_ENCODER,
    SPLADE_POOLING,
    STATIC_EMBEDDING,
    ModelWarning,
)
from tamis.retriever.models.location import read_json, read_object, read_optional_json
from tamis.retriever.models.sides import NeuralSide, TableSide

ABOUT_FILE = "config_sentence_transformers.json"
NO_END = 2**31 - 1  # of queries whose tokenizer states no length
ACTIVATIONS = {"relu": False, "log1p_relu": True}  # whether the logarithm is taken twice
UNUSED_PROMPTS = ("passage", "corpus")  # a SparseEncoder always has the prompt "document"

Modules = list[tuple[str, Path]]  # class and folder of each
_Side = TypeVar("_Side", NeuralSide, TableSide, NeuralSide | TableSide)


def read_sparse_encoder(folder: Path) -> tuple[NeuralSide, NeuralSide | TableSide]:
    """The sides of a folder: one sequence of modules, or a Router with one for each.

    Raises:
        FormatError: it is no sparse encoder, or states what cannot be honoured.
    """
    modules = read_modules(folder)
    if modules[0][0] == "Router":
        routes = _routes(modules[0][1])
        document, query = (_side_of(folder, routes[name]) for name in ("document", "query"))
    else:
        document = query = _side_of(folder, modules)
    if not isinstance(document, NeuralSide):
        raise FormatError(
            f"{folder}: expected a language model on the document side, found a weight table; "
            "use the lexical channel (--encoder bm25) for documents without a model"
        )
    about = read_optional_json(folder / ABOUT_FILE)
    SPARSE_ENCODER.check(about, folder / ABOUT_FILE)
    prompts = prompts_of(about, folder / ABOUT_FILE)
    document = _cut(document, "document_length")
    if isinstance(query, NeuralSide):
        query = _cut(query, "query_length")
    elif query.max_length == document.max_length:
        query = replace(query, max_length=None)
    return (
        _bounded(replace(document, prompt=prompts["document"]), about),
        _bounded(replace(query, prompt=prompts["query"]), about),
    )


def _bounded(side: _Side, about: dict[str, Any]) -> _Side:
    """A side that keeps as many terms of a text as its folder states."""
    return replace(side, top_n=about.get("max_active_dims") or side.top_n)


def prompts_of(about: dict[str, Any], path: Path) -> dict[str, str]:
    """The prompt of queries and of documents, by what config_sentence_transformers.json says.

    Both are always there, and no default prompt stands in for them.

    Raises:
        FormatError: the default prompt is none of those that are named.
    """
    stated = about.get("prompts") or {}
    default = about.get("default_prompt_name")
    if default and default not in {"query", "document", *stated}:
        raise FormatError(
            f"{path}: expected default_prompt_name among {sorted(stated)}, found {default!r}; "
            "name one of the prompts"
        )
    for name in UNUSED_PROMPTS:
        if stated.get(name) and not stated.get("document"):
            warnings.warn(
                f"{path}: expected the prompt of documents under 'document', found {name!r}, which "
                "sentence-transformers does not put before documents either",
                ModelWarning,
                stacklevel=2,
            )
    return {side: str(stated.get(side) or "") for side in ("query", "document")}


def _cut(side: NeuralSide, key: str) -> NeuralSide:
    """A side whose texts are cut at the length of its kind, where one is stated."""
    settings = transformer_settings(side.adapter or side.folder)
    return cut_at(side, settings.get(key))


def read_modules(folder: Path) -> Modules:
    """The class and the folder of each module, in their order.

    Raises:
        FormatError: modules.json is missing, or holds something else.
    """
    path = folder / "modules.json"
    found = []
    rows = read_json(path)
    for module in rows if isinstance(rows, list) else ():
        MODULES.check(module, path)
        if {"path", "type"} <= set(module):
            found.append((_class_of(module["type"]), folder / module["path"]))
    if not found or len(found) < len(rows):
        raise FormatError(
            f"{path}: expected modules with path and type, found others; copy the folder anew"
        )
    return found


def _routes(folder: Path) -> dict[str, Modules]:
    path = folder / "router_config.json"
    path = path if path.is_file() else folder / "config.json"
    config = read_object(path)
    ROUTER.check(config, path)
    ROUTER_PARAMETERS.check(config.get("parameters") or {}, path)
    types = config.get("types") or {}
    structure: dict[str, list[str]] = config.get("structure") or {}
    routes = {
        route: [(_class_of(types.get(name, "")), folder / name) for name in names]
        for route, names in structure.items()
    }
    if not {"document", "query"} <= set(routes):
        raise FormatError(
            f"{folder}: expected a Router with routes 'query' and 'document', found "
            f"{sorted(routes)}; name the routes so"
        )
    return routes


def _side_of(folder: Path, modules: Modules) -> NeuralSide | TableSide:
    classes = tuple(name for name, _ in modules)
    if classes in (("SparseStaticEmbedding",), ("IDF",)):
        return _static_embedding(folder, modules[0][1])
    if classes[-1] == AUTOENCODER_CLASS:
        return read_autoencoder(folder, modules)
    if len(classes) != 2 or classes[1] != "SpladePooling" or "Transformer" not in classes[0]:
        raise FormatError(
            f"{folder}: expected a sparse encoder (Transformer, SpladePooling), found modules "
            f"{', '.join(classes)}; dense models are not read"
        )
    path = modules[1][1] / "config.json"
    pooling = read_object(path)
    SPLADE_POOLING.check(pooling, path)
    activation = pooling.get("activation_function", "relu")
    if activation not in ACTIVATIONS:
        raise FormatError(
            f"{path}: expected activation_function 'relu' or 'log1p_relu', found {activation!r}; "
            "use a model of one of these"
        )
    settings = transformer_settings(modules[0][1])
    FILL_MASK.check({key: settings.get(key) for key in FILL_MASK.bound}, modules[0][1])
    side = pooled(language_model(modules[0][1]), pooling.get("pooling_strategy", "max"))
    return replace(side, double_log=ACTIVATIONS[activation])


def _static_embedding(root: Path, folder: Path) -> TableSide:
    settings = read_optional_json(folder / "config.json")
    STATIC_EMBEDDING.check(settings, folder / "config.json")
    stated = settings.get("path")
    candidates = [folder / "model.safetensors", *(at / "idf.json" for at in (folder, root))]
    if stated:  # as written by the author, so only its last part can be trusted to exist here
        candidates = [folder / Path(stated).name, root / Path(stated).name, *candidates]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise not_safetensors(folder, "pytorch_model.bin", "model.safetensors")
    tokens = folder if has_tokenizer(folder) else root
    length = read_optional_json(tokens / "tokenizer_config.json").get("model_max_length") or NO_END
    return TableSide(tokens, found, min(int(length), NO_END))


def _class_of(dotted: str) -> str:
    """`sentence_transformers.sparse_encoder.models.MLMTransformer` and its newer spellings."""
    return dotted.rsplit(".", 1)[-1]
