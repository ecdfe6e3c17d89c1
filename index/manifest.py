"""The manifest: which files make up one generation of a collection, and how they were made.

``CURRENT`` is one line, ``tamis FORMAT manifest-NNNNNN.json XXH3``; it is replaced in one step, so
a folder holds the old generation or the new one. A folder without it is not an index (yet).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import xxhash

from tamis.index.calibration import Calibration
from tamis.index.errors import CorruptionError, FormatError
from tamis.index.quantize import Precision  # noqa: TC001  msgspec reads it at run time
from tamis.index.storage import RESTORE, FileEntry, Storage

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
CURRENT = "CURRENT"
BUILD = "build"  # folder of an unfinished build
_CURRENT_LINE = re.compile(r"tamis (\d+) (manifest-\d{6,}\.json) ([0-9a-f]{16})\n")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One generation.

    Attributes:
        generation: counts from 1; every change of the collection adds one.
        created: UTC time in ISO 8601.
        written_by: the version of Tamis that wrote it.
        documents: number of documents.
        vocab_size: terms of both channels together.
        segments: names of the segment folders, oldest first.
        settings: how it was made: encoder, lexical channel, source.
        precision: how weights are stored, see quantize.py.
        calibration: which knobs reach which recall.
        files: every file of this generation but CURRENT and the manifest itself.
    """

    generation: int
    created: str
    written_by: str
    documents: int
    vocab_size: int
    segments: tuple[str, ...]
    precision: Precision = "f32"
    calibration: Calibration = field(default_factory=Calibration)
    settings: dict[str, Any] = field(default_factory=dict)
    files: dict[str, FileEntry] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size_bytes for entry in self.files.values())


def publish(storage: Storage, manifest: Manifest) -> None:
    """Make a generation the current one. All its files must be on disk already."""
    name = f"manifest-{manifest.generation:06}.json"
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    storage.write(name, data)
    storage.sync_folder()
    line = f"tamis {FORMAT} {name} {xxhash.xxh3_64_hexdigest(data)}\n"
    storage.replace(CURRENT, line.encode())


def read_current(storage: Storage) -> Manifest:
    """The manifest of the current generation, its own bytes verified.

    Raises:
        FormatError: the folder is no index, of another format, or an unfinished build.
        CorruptionError: ``CURRENT`` or the manifest is damaged.
    """
    name, checksum = _read_current_line(storage)
    data = storage.read(name) if storage.exists(name) else b""
    found = xxhash.xxh3_64_hexdigest(data)
    if found != checksum:
        raise CorruptionError(
            f"{storage.path(name)}: expected checksum {checksum}, found {found}; {RESTORE}"
        )
    return msgspec.json.decode(data, type=Manifest)


def _read_current_line(storage: Storage) -> tuple[str, str]:
    if not storage.exists(CURRENT):
        raise _not_an_index(storage)
    line = storage.read(CURRENT).decode("utf-8", errors="replace")
    match = _CURRENT_LINE.fullmatch(line)
    if match is None:
        raise CorruptionError(
            f"{storage.path(CURRENT)}: expected 'tamis FORMAT MANIFEST CHECKSUM', found "
            f"{line[:80]!r}; {RESTORE}"
        )
    found_format, name, checksum = match.groups()
    if int(found_format) != FORMAT:
        raise FormatError(
            f"{storage.root} has format {found_format}, this version reads {FORMAT}; "
            "rebuild it with `tamis index`"
        )
    return name, checksum


def _not_an_index(storage: Storage) -> FormatError:
    root: Path = storage.root
    if not root.exists():
        return FormatError(f"{root}: expected an index folder, found nothing; check the path")
    if storage.exists(BUILD):
        return FormatError(
            f"{root}: expected a finished index, found an unfinished build; "
            "continue it with `tamis index ... --resume`"
        )
    return FormatError(
        f"{root}: expected an index folder with a file {CURRENT}, found none; "
        "build one with `tamis index CORPUS --out DIR`"
    )
