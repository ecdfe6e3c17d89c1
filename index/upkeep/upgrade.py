"""Upgrading: a folder of an older format becomes one of this format, in one step.

Large segments that were written without blocks get them.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from secrets import token_hex
from typing import TYPE_CHECKING

import msgspec

from tamis.index.errors import FormatError
from tamis.index.files.file_entry import FileEntry
from tamis.index.files.lock import FolderLock
from tamis.index.files.storage import Storage, link_or_copy
from tamis.index.files.wal import Log
from tamis.index.generations.draft import SEGMENTS
from tamis.index.generations.garbage import remove_unused
from tamis.index.generations.manifest import (
    FORMAT,
    UPGRADABLE,
    Manifest,
    SegmentEntry,
    format_of,
    now,
    parts_of,
    publish,
    read_bytes,
    read_current,
    read_current_line,
    refuse_unwritable,
)
from tamis.index.generations.parts import check_files, open_parts
from tamis.index.generations.settings import CollectionSettings  # noqa: TC001  msgspec reads it
from tamis.index.generations.words import open_dictionary
from tamis.index.segment.blocks import add_blocks, has_blocks, is_large
from tamis.index.segment.builder import rank_lists
from tamis.index.segment.calibration import calibrate

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path


_REPLACED = ("lists.postings", "lists.slices", "lists.bases")


class _Format1(msgspec.Struct, frozen=True):
    """A manifest of format 1: one segment that never changes, and no log."""

    generation: int
    documents: int
    vocab_size: int
    segments: list[str]
    precision: str
    settings: CollectionSettings
    files: dict[str, FileEntry]


def upgrade(path: str | Path, storage: Storage | None = None) -> int:
    """Bring an index to this version's format, with blocks where they pay; the format it had.

    The old generation stays whole until the new one has taken its place.

    Raises:
        FormatError: no index, or one of a format that cannot be brought to this one.
        CorruptionError: a file differs from what was written.
        LockedError: another process writes there.
    """
    storage = storage or Storage(path)
    found = format_of(storage)
    line = read_current_line(storage, expected=(*UPGRADABLE, FORMAT))
    with FolderLock(storage):
        before = _of_format_1(storage, line) if found == 1 else read_current(storage)
        refuse_unwritable(storage, before)
        if found == FORMAT and _tells_words(before) and not _without_blocks(before):
            return found
        if found != 1:
            check_files(storage, before, "full")
        before = _with_blocks(storage, before)
        after = replace(
            before,
            generation=before.generation + 1,
            created=now(),
            written_by=version("tamis"),
            segments=_with_words(storage, before),
            identity=before.identity or token_hex(8),
            format=FORMAT,
        )
        if found == 1:
            Log.create(storage, after.log).close()
        publish(storage, after)
        remove_unused(storage, after)
    return found


def _tells_words(manifest: Manifest) -> bool:
    return all(entry.with_words is not None for entry in manifest.segments)


def _without_blocks(manifest: Manifest) -> list[SegmentEntry]:
    """The segments that are large enough for blocks and have none."""
    return [
        entry
        for entry in manifest.segments
        if is_large(entry.documents) and not has_blocks(entry.name, manifest.files)
    ]


def _with_blocks(storage: Storage, manifest: Manifest) -> Manifest:
    """The same collection, its large segments in folders of their own that hold blocks too."""
    lacking = {entry.name for entry in _without_blocks(manifest)}
    last = max((int(entry.name.rpartition("/")[2]) for entry in manifest.segments), default=0)
    files, entries = dict(manifest.files), []
    for part in open_parts(storage, manifest):
        entry = part.entry
        if entry.name in lacking:
            last += 1
            entry = replace(entry, name=f"{SEGMENTS}/{last:06}")
            files = _moved(storage, files, part.entry.name, entry.name)
            files |= add_blocks(storage, entry.name, files, part.stored.segment.records)
            storage.sync_folder(entry.name)
        entries.append(entry)
    if not lacking:
        return manifest
    storage.sync_folder(SEGMENTS)
    parts = parts_of(manifest.parts, files)
    moved = replace(manifest, files=files, segments=tuple(entries), parts=parts)
    return replace(moved, segments=_measured_by_blocks(storage, moved, manifest))


def _measured_by_blocks(
    storage: Storage, manifest: Manifest, before: Manifest
) -> tuple[SegmentEntry, ...]:
    """The segments, each with rows for blocks where it has just got some; other rows stay."""
    known, entries = {entry.name for entry in before.segments}, []
    for part in open_parts(storage, manifest):
        entry = part.entry
        if entry.name not in known:
            blocks = calibrate(part.stored.segment).blocks
            entry = replace(entry, calibration=replace(entry.calibration, blocks=blocks))
        entries.append(entry)
    return tuple(entries)


def _with_words(storage: Storage, manifest: Manifest) -> tuple[SegmentEntry, ...]:
    """The segments, each telling how many of its documents hold a word."""
    words = open_dictionary(storage, manifest.files)
    first_word = words.first_term if words is not None else None
    return tuple(
        replace(part.entry, with_words=part.with_words(first_word))
        for part in open_parts(storage, manifest)
    )


def _of_format_1(storage: Storage, line: tuple[str, str]) -> Manifest:
    """The manifest of an index of format 1, its lists rewritten."""
    manifest = _from_format_1(storage, read_bytes(storage, *line))
    check_files(storage, manifest, "full", logs=False)
    return _with_ranked_lists(storage, manifest)


def _from_format_1(storage: Storage, data: bytes) -> Manifest:
    try:
        old = msgspec.json.decode(data, type=_Format1)
        (segment,) = old.segments
        manifest = Manifest(
            generation=old.generation,
            created="",
            written_by="",
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
    """Move the segment to a folder of its own, with lists of this format and a calibration."""
    (old,) = manifest.segments
    entry = replace(old, name=f"{SEGMENTS}/000002")
    files = _moved(storage, manifest.files, old.name, entry.name, _REPLACED)
    try:
        files |= rank_lists(storage, entry.name, files, manifest.precision)
    except KeyError as error:
        raise FormatError(
            f"{storage.root}: expected the file {error} of a segment, found it nowhere in the "
            "manifest; rebuild it with `tamis index`"
        ) from error
    manifest = replace(manifest, files=files, segments=(entry,))
    (part,) = open_parts(storage, manifest)  # refuses a folder that lacks a file
    storage.sync_folder(entry.name)
    storage.sync_folder(SEGMENTS)
    return replace(manifest, segments=(replace(entry, calibration=calibrate(part.stored.segment)),))


def _moved(
    storage: Storage,
    files: Mapping[str, FileEntry],
    old: str,
    new: str,
    without: Collection[str] = (),
) -> dict[str, FileEntry]:
    """The files, those of one folder in another, all but the names ``without``."""
    storage.remove_folder(new)  # what an upgrade that was cut short left
    storage.make_folder(new)
    moved = dict[str, FileEntry]()
    for name, entry in files.items():
        part = name.removeprefix(f"{old}/")
        if part == name:
            moved[name] = entry
        elif part not in without:
            link_or_copy(storage, storage.path(name), f"{new}/{part}")
            moved[f"{new}/{part}"] = entry
    return moved
