"""Verification: what is wrong with a folder, what can still be read, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tamis.index.errors import CorruptionError, FormatError, TamisError
from tamis.index.files.lock import FolderLock
from tamis.index.files.storage import Storage
from tamis.index.files.wal import log_name, read_logs
from tamis.index.generations.draft import DELETIONS, DICTIONARY
from tamis.index.generations.manifest import (
    CURRENT,
    Manifest,
    current_line,
    decode_unnamed,
    generations,
    manifest_name,
    named_by_current,
    pin_current,
    read_current,
)
from tamis.index.generations.parts import open_parts
from tamis.index.generations.words import checked_dictionary
from tamis.index.segment.documents import Documents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FROM_A_COPY = "restore a snapshot with `tamis restore`, or build it again with `tamis index`"


@dataclass(frozen=True, slots=True)
class Problem:
    """One damaged file.

    Attributes:
        file: its name in the folder.
        code: stable, for programs.
        message: what was expected and what was found.
        readable: what can still be read without it.
        repair: what to do.
    """

    file: str
    code: str
    message: str
    readable: str
    repair: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Attributes:
        generation: the current one; 0 when that cannot be told.
        documents: in it.
        files: how many were compared.
        size_bytes: of them.
        waiting: writes in the log that are durable, but not searchable until the next commit.
        problems: empty for a folder that is whole.
    """

    generation: int
    documents: int
    files: int
    size_bytes: int
    waiting: int
    problems: tuple[Problem, ...]


def examine(
    path: str | Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Report:
    """Compare every byte of a collection with its checksums, going on after a damaged file.

    Args:
        path: the folder.
        progress: told how many bytes of all are compared.

    Raises:
        FormatError: the folder is no index, or of another format.
    """
    storage = Storage(path)
    try:
        manifest, pin = pin_current(storage)
    except CorruptionError as error:
        return Report(0, 0, 0, 0, 0, (_of_manifest(storage, error),))
    try:  # a writer may go on meanwhile, and keeps what is pinned
        return _examined(storage, manifest, progress)
    finally:
        pin.release()


def _examined(storage: Storage, manifest: Manifest, progress: Callable[[int, int], None]) -> Report:
    problems, done = list[Problem](), 0
    for name, entry in manifest.files.items():
        try:
            storage.check(name, entry)
        except CorruptionError as error:
            problems.append(_of_file(storage, manifest, name, error))
        done += entry.size_bytes
        progress(done, manifest.size_bytes)
    if not problems:
        problems = _opened(storage, manifest)
    waiting, of_logs = _examine_logs(storage, manifest)
    return Report(
        manifest.generation,
        manifest.documents,
        len(manifest.files),
        manifest.size_bytes,
        waiting,
        (*problems, *of_logs),
    )


def _opened(storage: Storage, manifest: Manifest) -> list[Problem]:
    """What a reader meets that opens a generation all of whose files are as they were written."""
    try:
        open_parts(storage, manifest)
        checked_dictionary(storage, manifest)
    except TamisError as error:
        nothing = "nothing: readers refuse the generation, whose files are as they were written"
        name = manifest_name(manifest.generation)
        return [Problem(name, error.code, str(error), nothing, FROM_A_COPY)]
    return []


def repair(path: str | Path) -> list[str]:
    """Repair what can be repaired without losing anything; what was done, a line each.

    That is: a missing or damaged ``CURRENT`` where a manifest is whole, and a log's torn tail.

    Raises:
        LockedError: somebody writes there.
        FormatError: the folder is no index.
    """
    from tamis.index.writing.writer import CollectionWriter

    storage, done = Storage(path), list[str]()
    with FolderLock(storage):
        try:
            read_current(storage)
        except CorruptionError:
            name = _newest_whole(storage)
            if name is not None:
                manifest = decode_unnamed(storage, name)
                storage.replace(CURRENT, current_line(manifest, storage.read(name)))
                done.append(f"{CURRENT} names {name} again")
    report = examine(path)
    if report.problems and all(problem.code == "torn" for problem in report.problems):
        CollectionWriter.open(path, merge=False).close()
        done.append("the log's torn tail is dropped, and its whole writes are searchable")
    return done


def _newest_whole(storage: Storage) -> str | None:
    """The newest manifest that CURRENT does not refuse and all of whose files are whole."""
    refused = named_by_current(storage)  # its bytes are not those that CURRENT vouches for
    for generation in reversed(generations(storage)):
        name = manifest_name(generation)
        if name == refused:
            continue
        try:
            manifest = decode_unnamed(storage, name)
            for file, entry in manifest.files.items():
                storage.check(file, entry)
        except TamisError:
            continue
        return name
    return None


def _of_manifest(storage: Storage, error: CorruptionError) -> Problem:
    name = _newest_whole(storage)
    if name is None:
        return Problem(CURRENT, error.code, str(error), "nothing without a manifest", FROM_A_COPY)
    return Problem(
        CURRENT,
        error.code,
        str(error),
        f"all of {name}, whose files are whole",
        "run `tamis verify DIR --repair`, which names it in CURRENT again",
    )


def _of_file(storage: Storage, manifest: Manifest, name: str, error: CorruptionError) -> Problem:
    return Problem(name, error.code, str(error), _readable(storage, manifest, name), FROM_A_COPY)


def _readable(storage: Storage, manifest: Manifest, name: str) -> str:
    """What a damaged file leaves readable."""
    for entry in manifest.segments:
        if name == entry.deletions or name.startswith(f"{entry.name}/"):
            others = manifest.documents - entry.live
            rest = f"the {others} documents of other segments"
            if name == f"{entry.name}/documents.bytes":
                whole = _whole_documents(storage, entry.name, manifest)
                return f"{rest}; here all vectors and ids, and the text of {whole} documents"
            if "/lists." in name or "/terms." in name:
                return f"{rest}; here the ids and texts"
            if name.startswith(DELETIONS):
                return f"{rest}; here all documents, deleted ones among them"
            return rest
    if name.startswith(f"{DICTIONARY}/"):
        return "all documents; queries by the encoder's terms alone"
    return "all documents and vectors; no text queries without the encoder's query side"


def _whole_documents(storage: Storage, folder: str, manifest: Manifest) -> int:
    """How many records of a segment are as they were written."""
    try:
        documents = Documents(storage, folder, manifest.files)
    except FormatError:
        return 0
    whole = 0
    for doc in range(len(documents)):
        try:
            documents.encoded(doc)
        except CorruptionError:
            continue
        whole += 1
    return whole


def _examine_logs(storage: Storage, manifest: Manifest) -> tuple[int, list[Problem]]:
    try:
        logs = read_logs(storage, manifest.log)
    except CorruptionError as error:
        readable = f"all {manifest.documents} documents of generation {manifest.generation}"
        return 0, [Problem(log_name(manifest.log), error.code, str(error), readable, FROM_A_COPY)]
    torn = [
        Problem(
            log_name(number),
            "torn",
            f"expected whole frames, found {contents.torn_bytes} bytes of one that a stop cut off",
            "everything: what was cut off was never acknowledged",
            "nothing to do: the next writer drops it; `tamis verify DIR --repair` does so now",
        )
        for number, contents in logs.items()
        if contents.torn_bytes
    ]
    return sum(len(contents.payloads) for contents in logs.values()), torn
