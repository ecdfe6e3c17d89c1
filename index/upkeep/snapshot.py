"""Snapshots: one generation of a collection as a folder of its own, and back.

A snapshot is a collection that can be searched where it lies, with ``SNAPSHOT.json`` beside it: the
BLAKE3 of every file, which tampering cannot keep, and an identity over all of them. Its files may
be hard links, which cost no room but share the fate of the disk: for a backup, copy.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from blake3 import blake3

from tamis.index.errors import CorruptionError, FormatError, InputError
from tamis.index.files.lock import FolderLock
from tamis.index.files.storage import Storage, link_or_copy
from tamis.index.files.wal import Log
from tamis.index.generations.draft import SEGMENTS
from tamis.index.generations.manifest import (
    CURRENT,
    Manifest,
    current_line,
    manifest_name,
    now,
    pin_current,
    read_current_line,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SNAPSHOT = "SNAPSHOT.json"


class Snapshot(msgspec.Struct, frozen=True):
    """What a snapshot holds.

    Attributes:
        identity: BLAKE3 over the names, sizes and BLAKE3 of all files: equal for equal contents.
        created: UTC time in ISO 8601.
        generation: of the collection.
        documents: how many.
        log: number of the empty log it begins with.
        files: BLAKE3 of each file but ``CURRENT`` and the log.
    """

    identity: str
    created: str
    generation: int
    documents: int
    log: int
    files: dict[str, str]


def write_snapshot(
    source: str | Path,
    target: str | Path,
    *,
    copy: bool = False,
    storage: Storage | None = None,
) -> Snapshot:
    """Put the current generation into a folder of its own; writing may go on meanwhile.

    Writes that are not searchable yet are not in it: commit them first.

    Args:
        source: a collection.
        target: a folder that does not exist, or is empty.
        copy: copy the files, where hard links would do too.
        storage: how to reach the target, when not in the plain way.

    Raises:
        InputError: the target holds something, or lies in the collection.
        CorruptionError: a file of the collection is damaged.
    """
    origin, place = Storage(source), storage or Storage(target)
    _refuse_full(place)
    if origin.root.resolve() in place.root.resolve().parents:
        raise InputError(
            f"{place.root}: expected a folder outside {origin.root}, found one in it; "
            "choose another"
        )
    manifest, pin = pin_current(origin)
    try:
        place.make_folder()
        with FolderLock(place):
            for name, entry in manifest.files.items():
                origin.check(name, entry)
                _transfer(origin.path(name), place, name, copy)
            name = manifest_name(manifest.generation)
            place.copy(origin.path(name), name)
            files = {name: _blake3(place, name) for name in sorted([*manifest.files, name])}
            snapshot = _snapshot(manifest, files, place)
            place.write(SNAPSHOT, msgspec.json.format(msgspec.json.encode(snapshot), indent=1))
            _finish(place, files, manifest)
    finally:
        pin.release()
    return snapshot


def read_snapshot(path: str | Path) -> Snapshot:
    """What a snapshot says it holds, its identity verified; its files are not read.

    Raises:
        FormatError: the folder is no snapshot.
        CorruptionError: ``SNAPSHOT.json`` is damaged.
    """
    place = Storage(path)
    if not place.exists(SNAPSHOT):
        raise FormatError(
            f"{path}: expected a snapshot with a file {SNAPSHOT}, found none; "
            "make one with `tamis snapshot`"
        )
    try:
        snapshot = msgspec.json.decode(place.read(SNAPSHOT), type=Snapshot)
        found = _identity(snapshot.files, place)
    except (msgspec.DecodeError, FileNotFoundError) as error:
        raise CorruptionError(
            f"{place.path(SNAPSHOT)}: expected the listing of a snapshot whose files are all "
            f"there, found otherwise ({error}); take another snapshot"
        ) from error
    if found != snapshot.identity:
        raise CorruptionError(
            f"{place.path(SNAPSHOT)}: expected identity {snapshot.identity}, found {found}; "
            "take another snapshot"
        )
    return snapshot


def restore(
    source: str | Path,
    target: str | Path,
    *,
    storage: Storage | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Snapshot:
    """Copy a snapshot to a new place, every byte compared with its BLAKE3.

    Args:
        source: a snapshot.
        target: a folder that does not exist, or is empty.
        storage: how to reach the target, when not in the plain way.
        progress: told how many of all files are done.

    Raises:
        InputError: the target holds something.
        FormatError: the source is no snapshot of this format.
        CorruptionError: the snapshot is damaged; the target does not open as an index.
    """
    origin, place = Storage(source), storage or Storage(target)
    snapshot = read_snapshot(source)
    name, checksum = read_current_line(origin)
    _refuse_full(place)
    place.make_folder()
    with FolderLock(place):
        for done, (file, digest) in enumerate(sorted(snapshot.files.items()), start=1):
            _transfer(origin.path(file), place, file, copy=True)
            found = _blake3(place, file)
            if found != digest:
                raise CorruptionError(
                    f"{origin.path(file)}: expected BLAKE3 {digest}, found {found}; "
                    "restore another snapshot"
                )
            progress(done, len(snapshot.files))
        data = place.read(manifest_name(snapshot.generation))
        manifest = msgspec.json.decode(data, type=Manifest)
        if current_line(manifest, data) != origin.read(CURRENT):
            raise CorruptionError(
                f"{origin.path(CURRENT)}: expected {name} with checksum {checksum}, found "
                f"generation {snapshot.generation}; restore another snapshot"
            )
        _finish(place, snapshot.files, manifest)
    return snapshot


def _snapshot(manifest: Manifest, files: dict[str, str], place: Storage) -> Snapshot:
    return Snapshot(
        identity=_identity(files, place),
        created=now(),
        generation=manifest.generation,
        documents=manifest.documents,
        log=manifest.log,
        files=files,
    )


def _finish(place: Storage, files: Iterable[str], manifest: Manifest) -> None:
    """Begin the log, wait until all names are on disk, and make the folder an index."""
    Log.create(place, manifest.log).close()
    place.make_folder(SEGMENTS)  # there is no file in it where there is no document
    folders = {SEGMENTS, *(str(parent) for name in files for parent in Path(name).parents)}
    for folder in sorted(folders, reverse=True):
        place.sync_folder("" if folder == "." else folder)
    data = place.read(manifest_name(manifest.generation))
    place.replace(CURRENT, current_line(manifest, data))


def _transfer(source: str, place: Storage, name: str, copy: bool) -> None:
    place.make_folder(str(Path(name).parent) if "/" in name else "")
    if copy:
        place.copy(source, name)
    else:
        link_or_copy(place, source, name)


def _identity(files: dict[str, str], place: Storage) -> str:
    lines = (f"{name} {place.size(name)} {files[name]}\n" for name in sorted(files))
    identity: str = blake3("".join(lines).encode()).hexdigest()
    return identity


def _blake3(place: Storage, name: str) -> str:
    with open(place.path(name), "rb") as file:
        return hashlib.file_digest(file, blake3).hexdigest()  # type: ignore[arg-type]  # it can


def _refuse_full(place: Storage) -> None:
    if place.names():
        raise InputError(
            f"{place.root}: expected an empty folder, found {place.names()[0]} there; "
            "choose another"
        )
