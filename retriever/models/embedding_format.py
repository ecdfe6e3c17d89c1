"""Reads the modules of sentence-transformers that give a text one embedding. Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tamis.index.errors import FormatError
from tamis.retriever.models.hugging_face_format import language_model
from tamis.retriever.models.inventory import NORMALIZE, POOLING
from tamis.retriever.models.location import read_object, read_optional_json
from tamis.retriever.models.sides import Architecture, NeuralSide, Pooling

if TYPE_CHECKING:
    from pathlib import Path

MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


class Embedding(NamedTuple):
    """How a text becomes one vector.

    Attributes:
        side: the language model, which has no vocabulary head, and its tokenizer.
        pooling: of the hidden states of a text's tokens.
        scaled: the vector is scaled to length 1.
    """

    side: NeuralSide
    pooling: Pooling
    scaled: bool


def read_embedding(root: Path, modules: list[tuple[str, Path]]) -> Embedding:
    """The embedding that a sequence of modules gives, each a class and a folder.

    Raises:
        FormatError: they are others than these, or state what is not computed here.
    """
    kinds = tuple(kind for kind, _ in modules)
    if kinds not in (("Transformer", "Pooling"), ("Transformer", "Pooling", "Normalize")):
        raise FormatError(
            f"{root}: expected an embedding of Transformer, Pooling and perhaps Normalize, "
            f"found {', '.join(kinds)}; use a model without the others"
        )
    if len(modules) == 3:
        settings = modules[2][1] / "config.json"
        NORMALIZE.check(read_optional_json(settings), settings)
    side = language_model(modules[0][1], Architecture.HEADLESS)
    return Embedding(side, _pooling(modules[1][1] / "config.json"), len(modules) == 3)


def _pooling(path: Path) -> Pooling:
    stated: dict[str, Any] = read_object(path)
    POOLING.check(stated, path)
    named = [mode for key, mode in MODES.items() if stated.get(key)]
    mode = stated.get("pooling_mode") or (named[0] if len(named) == 1 else named)
    if mode == "mean":
        return "mean"
    if mode == "cls":
        return "cls"
    raise FormatError(
        f"{path}: expected one pooling, mean or cls, found {mode!r}; use a model of one of these"
    )
