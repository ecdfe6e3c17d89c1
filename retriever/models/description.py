"""What is known of an encoder before it is loaded: one plain description of any format.

Where its folder lies is `location`'s affair, and how to read it `formats`'s.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import xxhash

from tamis.index.errors import FormatError
from tamis.retriever.models.formats import QUERY_WEIGHT_FILES, own_settings, read_sides
from tamis.retriever.models.head_kinds import HeadKind
from tamis.retriever.models.hugging_face_format import ADAPTER_CONFIG, TOKENIZER_FILES
from tamis.retriever.models.location import BUNDLED, DEFAULT, find_folder, read_object
from tamis.retriever.models.sides import Architecture, NeuralSide, TableSide
from tamis.retriever.models.tokenizer_settings import FILE, changed_sections, read_tokenizer

__all__ = [
    "BUNDLED",
    "DEFAULT",
    "QUERY_WEIGHT_FILES",
    "Architecture",
    "Checkpoint",
    "EncoderDescription",
    "HeadKind",
    "NeuralSide",
    "TableSide",
    "find_folder",
    "read_checkpoint",
]

PLACES = ("folder", "adapter", "weights", "tokenizer_folder")  # play no part in fingerprints
OF_NO_ADAPTER = (  # keys of an adapter that change no weight
    *("auto_mapping", "base_model_name_or_path", "inference_mode", "lora_dropout"),
    *("peft_version", "revision", "runtime_config", "task_type"),
)
NAMES_OF_HEADS: dict[HeadKind, dict[str, Any]] = {  # in fingerprints
    HeadKind.MAX: {},
    HeadKind.SUM: {"pooling": "sum"},
    HeadKind.LINEAR: {},  # the architecture says it
    HeadKind.MLP: {},
    HeadKind.GATED: {"gated": True},
    HeadKind.CODE: {},  # what it computes says it
}


@dataclass(frozen=True, slots=True)
class EncoderDescription:
    """What an index remembers of the encoder that filled it.

    Attributes:
        name: hub name, folder name, or the name the model's author gave.
        fingerprint: of every file and setting that changes a vector; equal means interchangeable.
        licence: as the model states it, ``unknown`` if it does not.
        vocab_size: number of terms.
        max_length: longest document in tokens, special ones included.
        query_side: ``neural`` runs the model on queries, ``table`` looks weights up.
    """

    name: str
    fingerprint: str
    licence: str
    vocab_size: int
    max_length: int
    query_side: Literal["neural", "table"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that is known of an encoder before it is loaded.

    Attributes:
        description: its identity.
        document: the side that fills an index.
        query: the side that asks.
        location: what `read_checkpoint` finds it by: a whole path, a hub name or ``default``.
    """

    description: EncoderDescription
    document: NeuralSide
    query: NeuralSide | TableSide
    location: str


def read_checkpoint(name_or_path: str) -> Checkpoint:
    """Find the encoder of a folder, of a hub name, or the bundled one (``default``).

    Raises:
        InputError: there is no such folder and the hub has or reaches no such model.
        FormatError: the folder holds no model of a format that can be read; the message says what
            was found and how to convert it where that is possible.
    """
    folder = find_folder(name_or_path)
    document, query = read_sides(folder)
    if isinstance(query, NeuralSide) and query.vocab_size != document.vocab_size:
        raise FormatError(
            f"{folder}: expected query and document models over one vocabulary, found "
            f"{query.vocab_size} and {document.vocab_size} terms; take both from one source"
        )
    settings = own_settings(folder)
    description = EncoderDescription(
        name=settings.name or _given_name(name_or_path),
        fingerprint=_fingerprint(document, query),
        licence=settings.licence or _read_card(folder),
        vocab_size=document.vocab_size,
        max_length=document.max_length,
        query_side="table" if isinstance(query, TableSide) else "neural",
    )
    is_folder = name_or_path != DEFAULT and Path(name_or_path).is_dir()
    location = str(Path(name_or_path).resolve()) if is_folder else name_or_path
    return Checkpoint(description, document, query, location)


def _given_name(name_or_path: str) -> str:
    path = Path(name_or_path)
    return path.resolve().name if path.is_dir() else name_or_path


def _read_card(folder: Path) -> str:
    """The licence in the front matter of the model card."""
    card = folder / "README.md"
    text = card.read_text("utf-8", errors="replace") if card.is_file() else ""
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^licen[cs]e:\s*(\S+)", head.group(1), re.MULTILINE) if head else None
    return found.group(1) if found else "unknown"


def _fingerprint(document: NeuralSide, query: NeuralSide | TableSide) -> str:
    """A hash of all files and settings that decide a vector; paths play no part."""
    digest = xxhash.xxh3_128()
    for side in (document,) if query == document else (document, query):
        digest.update(json.dumps(_changed_settings(side)).encode())
        for path in filter(Path.is_file, _files_of(side)):
            digest.update(path.name.encode())
            digest.update(_file_hash(path))
    return digest.hexdigest()


def _changed_settings(side: NeuralSide | TableSide) -> dict[str, Any]:
    """The settings that are not at their default: one added later leaves old hashes alone."""
    changed = {
        field.name: getattr(side, field.name)
        for field in fields(side)
        if field.name not in PLACES and getattr(side, field.name) != field.default
    }
    head = changed.pop("head", HeadKind.MAX)
    if isinstance(side, NeuralSide) and side.code is not None:
        changed["code"] = {**asdict(side.code), "folder": None}
    return changed | NAMES_OF_HEADS.get(head, {"head": head}) | _settings_of_files(side)


def _settings_of_files(side: NeuralSide | TableSide) -> dict[str, Any]:
    """What files beside the weights change, where they change anything."""
    changed: dict[str, Any] = {}
    tokens = side.tokenizer_place
    if (tokens / FILE).is_file():
        sections = changed_sections(read_tokenizer(tokens), tokens)
        changed = {"tokenizer": sections} if sections else {}
    if isinstance(side, NeuralSide) and side.adapter is not None:
        settings = read_object(side.adapter / ADAPTER_CONFIG)
        changed["adapter"] = {
            key: one for key, one in sorted(settings.items()) if key not in OF_NO_ADAPTER
        }
    return changed


def _files_of(side: NeuralSide | TableSide) -> list[Path]:
    paths = [side.tokenizer_place / name for name in TOKENIZER_FILES]
    if isinstance(side, TableSide):
        return [*paths, side.weights]
    for folder in filter(None, (side.folder, side.adapter)):
        paths += [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    if side.code is not None:
        paths += sorted(side.code.folder.glob("*.safetensors"))
    return paths


def _file_hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).digest()
