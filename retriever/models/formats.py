"""Reads every on-disk model format as a document and a query side. Runs no model, needs no torch.

Formats: Hugging Face masked and causal language models with the LM head inside; PEFT adapters for
them; sentence-transformers SparseEncoder folders of both generations, with or without a Router;
OpenSearch document models; bge-m3's token weights after conversion to safetensors; and
`encoder.json`, which adds to a plain Hugging Face folder what its own files cannot say.

What a folder states is honoured or refused by name: `inventory` lists the keys of each file.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from tamis.index.errors import FormatError
from tamis.retriever.models.hugging_face_format import (
    is_token_weights,
    language_model,
    pooled,
    positions_of,
)
from tamis.retriever.models.location import read_object, read_optional_json
from tamis.retriever.models.sentence_transformers_format import read_sparse_encoder
from tamis.retriever.models.sides import Architecture, NeuralSide, TableSide

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS_FILE = "encoder.json"
QUERY_WEIGHT_FILES = ("query_weights.safetensors", "idf.json", "query_token_weights.txt")

Count = Annotated[int, msgspec.Meta(ge=1)]


class OwnSettings(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What `encoder.json` may say of a plain Hugging Face folder; see `NeuralSide`.

    Attributes:
        name: of the encoder, in place of the folder's.
        licence: in place of the model card's.
        pooling: over a text's tokens, where the folder holds no head of another kind.
    """

    name: str | None = None
    licence: str | None = None
    pooling: Literal["max", "sum"] | None = None
    max_length: Count | None = None
    double_log: bool | None = None
    prompt: str | None = None
    top_n: Count | None = None
    bidirectional: bool | None = None
    logit_scale: Annotated[float, msgspec.Meta(gt=0)] | None = None
    linear_head: bool | None = None
    echo: bool | None = None


SIDE_SETTINGS = OwnSettings.__struct_fields__[3:]


def read_sides(folder: Path) -> tuple[NeuralSide, NeuralSide | TableSide]:
    """The document and the query side of a model folder.

    Raises:
        FormatError: it holds no encoder, or states what cannot be honoured.
    """
    if (folder / "modules.json").is_file() and not is_token_weights(folder):
        return read_sparse_encoder(folder)
    document = _own_side(folder)
    table = next((folder / name for name in QUERY_WEIGHT_FILES if (folder / name).is_file()), None)
    if table is not None:
        return document, TableSide(folder, table)
    query = folder / "query"  # of naver's trainer, and of ours
    if (query / "config.json").is_file() or (query / "adapter_config.json").is_file():
        return document, _own_side(query, folder)
    return document, document


def own_settings(folder: Path) -> OwnSettings:
    """Read `encoder.json`; nothing is stated where there is none.

    Raises:
        FormatError: a setting is unknown or has no value of its own.
    """
    path = folder / SETTINGS_FILE
    try:
        return msgspec.convert(read_optional_json(path), OwnSettings)
    except msgspec.ValidationError as error:
        raise FormatError(
            f"{path}: expected settings among {', '.join(OwnSettings.__struct_fields__)}, found "
            f"something else ({error}); correct it or update tamis"
        ) from error


def _own_side(folder: Path, fallback: Path | None = None) -> NeuralSide:
    """A side and what its `encoder.json` says, or that of another folder where it has none."""
    side = language_model(folder, Architecture.HEADLESS if is_token_weights(folder) else None)
    has_own = (folder / SETTINGS_FILE).is_file()
    settings = own_settings(fallback if fallback is not None and not has_own else folder)
    if settings.pooling is not None:
        side = pooled(side, settings.pooling)
    stated = {name: getattr(settings, name) for name in SIDE_SETTINGS}
    side = replace(side, **{name: one for name, one in stated.items() if one is not None})
    return _within_positions(side, stated["max_length"])


def _within_positions(side: NeuralSide, stated: int | None) -> NeuralSide:
    """A side whose texts, which an echo doubles, have a position for every token.

    Raises:
        FormatError: a longer length is stated.
    """
    positions = positions_of(read_object(side.folder / "config.json"))
    readings = 2 if side.echo else 1
    if positions is None or readings * side.max_length <= positions:
        return side
    if stated is not None:
        raise FormatError(
            f"{side.folder / SETTINGS_FILE}: expected a max_length of at most "
            f"{positions // readings}, as many tokens as the model has positions for"
            f"{' when it reads them twice' if side.echo else ''}, found {stated}; lower it"
        )
    return replace(side, max_length=positions // readings)
