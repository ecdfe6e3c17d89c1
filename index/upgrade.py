"""Upgrading: a folder of an older format becomes one of this format, in one step."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec

from tamis.index.builder import rank_lists
from tamis.index.calibration import calibrate
from tamis.index.errors import FormatError
from tamis.index.lock import FolderLock
from tamis.index.manifest import (
    FORMAT,
    Manifest,
    SegmentEntry,
    format_of,
    now,
    publish,
    read_bytes,
    read_current_line,
)
from tamis.index.parts import check_files, open_parts
from tamis.index.storage import FileEntry, Storage
from tamis.index.wal import Log

if TYPE_CHECKING:
    from pathlib import Path


class _Format1(msgspec.Struct, frozen=True):
    """A manifest of format 1: one segment that never changes, and no log."""

    generation: int
    documents: int
    vocab_size: int
    segments: list[str]
    precision: str
    settings: dict[str, Any]
    files: dict[str, FileEntry]


def upgrade(path: str | Path, storage: Storage | None = None) -> int:
    """Bring an index to this version's format; the format it had.

    The old generation stays whole until the new one has taken its place.

    Raises:
        FormatError: no index, or one of a format that cannot be brought to this one.
        CorruptionError: a file differs from what was written.
        LockedError: another process writes there.
    """
    storage = storage or Storage(path)
    found = format_of(storage)
    if found == FORMAT:
        return found
    name, checksum = read_current_line(storage, expected=1)
    with FolderLock(storage):
        manifest = _from_format_1(storage, read_bytes(storage, name, checksum))
        check_files(storage, manifest, "full", logs=False)
        manifest = _with_ranked_lists(storage, manifest)
        Log.create(storage, manifest.log).close()
        publish(storage, manifest)
        storage.remove(name)
    return found


def _from_format_1(storage: Storage, data: bytes) -> Manifest:
    try:
        old = msgspec.json.decode(data, type=_Format1)
        (segment,) = old.segments
        manifest = Manifest(
            generation=old.generation + 1,
            created=now(),
            written_by=version("tamis"),
            documents=old.documents,
            vocab_size=old.vocab_size,
            segments=(SegmentEntry(segment, old.documents),),
            log=1,
            settings=old.settings,
            files=old.files,
        )
        return replace(manifest, precision=old.precision)  # type: ignore[arg-type]
    except (msgspec.ValidationError, ValueError) as error:
        raise FormatError(
            f"{storage.root}: expected a manifest of format 1 with one segment, found another "
            f"({error}); rebuild it with `tamis index`"
        ) from error


def _with_ranked_lists(storage: Storage, manifest: Manifest) -> Manifest:
    """Give the segment lists of this format, and a calibration over them."""
    (entry,) = manifest.segments
    try:
        lists = rank_lists(storage, entry.name, manifest.files, manifest.precision)
    except KeyError as error:
        raise FormatError(
            f"{storage.root}: expected the file {error} of a segment, found it nowhere in the "
            "manifest; rebuild it with `tamis index`"
        ) from error
    replaced = {f"{entry.name}/lists.{part}" for part in ("postings", "slices")}
    files = {name: file for name, file in manifest.files.items() if name not in replaced}
    manifest = replace(manifest, files=files | lists)
    (part,) = open_parts(storage, manifest)  # refuses a folder that lacks a file
    return replace(manifest, segments=(replace(entry, calibration=calibrate(part.stored.segment)),))
