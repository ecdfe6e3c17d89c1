"""SegmentRequest: what a new segment is to hold. This process or another one writes it.

Everything that a request names is on disk already: segments of the current generation, and logs
that are whole. Its message holds no documents. Commits, merges and rewrites make such requests.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from tamis.index.errors import CorruptionError
from tamis.index.files.array_file import write_arrays
from tamis.index.files.file_entry import FileEntry  # noqa: TC001  msgspec reads it at run time
from tamis.index.files.progress import silent
from tamis.index.files.storage import RESTORE, Storage
from tamis.index.files.wal import log_name, read_log
from tamis.index.generations.manifest import BUILD, SegmentEntry, read_current
from tamis.index.generations.part_writer import Rows, write_part
from tamis.index.generations.parts import Part, Stored
from tamis.index.generations.settings import LexicalSettings  # noqa: TC001  msgspec reads it
from tamis.index.generations.words import open_dictionary
from tamis.index.segment.quantize import Precision  # noqa: TC001
from tamis.index.segment.values import ColumnType  # noqa: TC001  msgspec reads them at run time
from tamis.index.writing.merging import rows_of
from tamis.index.writing.pending import Pending, Write
from tamis.index.writing.revision import RevisionMessage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tamis.index.files.progress import Progress
    from tamis.index.writing.revision import Revision


class Written(NamedTuple):
    """A new segment.

    Attributes:
        entry: what the manifest says of it; one without documents is not to be kept.
        files: its files.
        words: those of the dictionary, where a revision gave one.
        lexical: how a revision made them; None without one.
        contents: what the small ones of all files hold, where another process wrote them; see
            `Storage.hand`.
    """

    entry: SegmentEntry
    files: dict[str, FileEntry]
    words: dict[str, FileEntry] = {}  # noqa: RUF012  never changed
    lexical: LexicalSettings | None = None
    contents: dict[str, bytes] = {}  # noqa: RUF012  never changed


@dataclass(frozen=True, slots=True)
class SegmentRequest:
    """One segment to be written.

    Attributes:
        folder: where; it does not exist.
        vocab_size: number of the collection's terms.
        precision: how weights are stored.
        columns: the declared fields.
        first_word: the first term of the lexical channel; None without it.
        parts: whose documents come first, without the deleted ones.
        pending: writes whose documents come after them; None for none.
        logs: what these writes are in, and nothing else is.
        revision: gives all these documents other vectors and words; None keeps theirs.
        words: what the names of the dictionary's files begin with, where a revision gives one.
    """

    folder: str
    vocab_size: int
    precision: Precision
    columns: Mapping[str, ColumnType]
    first_word: int | None
    parts: Sequence[Part]
    pending: Pending | None = None
    logs: range = range(0)
    revision: Revision | None = None
    words: str = ""

    def rows(self) -> Rows:
        """The documents of the segment, before they are revised."""
        rows, pending = rows_of(self.parts, self.vocab_size, self.columns), self.pending
        if pending is None:
            return rows
        batches = partial(pending.batches, self.vocab_size)
        return rows.then(
            Rows(len(pending.ids()), pending.ids, pending.records, batches, pending.origins)
        )


def carry_out(request: SegmentRequest, storage: Storage, progress: Progress = silent) -> Written:
    """Write the segment, all on disk when this returns.

    Args:
        request: what to write.
        storage: of the collection's folder.
        progress: told of each step, and may stop the work; see `Progress`.
    """
    if request.revision is not None:
        return _revised(request, request.revision, storage, progress)
    rows = request.rows().told_to(progress)
    return Written(*_written(request, rows, request.vocab_size, storage))


def _written(
    request: SegmentRequest, rows: Rows, vocab_size: int, storage: Storage
) -> tuple[SegmentEntry, dict[str, FileEntry]]:
    """Write rows as the segment of a request."""
    return write_part(
        storage,
        request.folder,
        rows,
        vocab_size,
        request.precision,
        request.columns,
        request.first_word,
    )


def _revised(
    request: SegmentRequest, revision: Revision, storage: Storage, progress: Progress
) -> Written:
    """Write the segment with the vectors, and the dictionary, that a revision gives."""
    storage.make_folder(BUILD)
    try:
        present = open_dictionary(storage, read_current(storage).files)
        assert present is not None, "a collection without words has nothing to revise"
        found = revision.revise(request.rows(), present, storage, progress)
        with storage.together():
            words = write_arrays(storage, request.words, found.dictionary.arrays())
        rows = replace(request.rows(), batches=found.batches, origins=lambda: found.origins)
        rows = rows.told_to(progress)
        entry, files = _written(request, rows, max(found.dictionary.vocab_size, 1), storage)
    finally:
        storage.remove_folder(BUILD)
    return Written(entry, files, words, found.lexical)


class PartMessage(msgspec.Struct, frozen=True, array_like=True):
    """A part whose documents a request names."""

    entry: SegmentEntry
    files: dict[str, FileEntry]
    live: bytes | None  # one bit a document


class SegmentMessage(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A `SegmentRequest` for a process that reaches the same files."""

    root: bytes  # as the system has it: a path need not be UTF-8
    folder: str
    vocab_size: int
    precision: Precision
    columns: dict[str, ColumnType]
    first_word: int | None
    parts: list[PartMessage]
    logs: tuple[int, int] | None
    revision: RevisionMessage | None
    words: str


def message_of(request: SegmentRequest, storage: Storage) -> SegmentMessage:
    """A request for a process that reaches the same files."""
    return SegmentMessage(
        os.fsencode(storage.root.absolute()),
        request.folder,
        request.vocab_size,
        request.precision,
        dict(request.columns),
        request.first_word,
        [_part_message(part) for part in request.parts],
        None if request.pending is None else (request.logs.start, request.logs.stop),
        None if request.revision is None else RevisionMessage.of(request.revision),
        request.words,
    )


def _part_message(part: Part) -> PartMessage:
    live = None if part.live is None else np.packbits(part.live).tobytes()
    return PartMessage(part.entry, dict(part.stored.files), live)


def request_of(message: SegmentMessage, storage: Storage) -> SegmentRequest:
    """The request of a message, its files open and its logs read.

    Raises:
        CorruptionError: a file is missing, or a log is damaged.
    """
    logs = range(*message.logs) if message.logs is not None else range(0)
    return SegmentRequest(
        message.folder,
        message.vocab_size,
        message.precision,
        message.columns,
        message.first_word,
        [_part_of(part, storage, message.precision) for part in message.parts],
        _pending_of(storage, logs) if message.logs is not None else None,
        logs,
        message.revision.revision() if message.revision is not None else None,
        message.words,
    )


def _part_of(message: PartMessage, storage: Storage, precision: Precision) -> Part:
    stored, live = Stored.open(storage, message.entry, message.files, precision), None
    if message.live is not None:
        bits = np.frombuffer(message.live, np.uint8)
        live = np.unpackbits(bits, count=message.entry.documents).astype(np.bool_)
    return Part(stored, message.entry, 0, live)


def _pending_of(storage: Storage, logs: range) -> Pending:
    """The writes of logs that are whole on disk."""
    pending = Pending()
    for number in logs:
        contents = read_log(storage, number)
        if contents.torn_bytes:
            raise CorruptionError(
                f"{storage.path(log_name(number))}: expected a log that is whole, found it torn "
                f"after {contents.whole_bytes} bytes; {RESTORE}"
            )
        for payload in contents.payloads:
            pending.apply(Write.decoded(payload))
    return pending
