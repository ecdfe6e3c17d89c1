"""Recovery: what a writer begins with, the newest generation and the writes after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tamis.index.collection import Collection
from tamis.index.files.wal import Log, log_name, read_logs
from tamis.index.generations.manifest import refuse_unwritable
from tamis.index.writing.collection_build import refuse_unfinished
from tamis.index.writing.pending import Pending, Write

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.index.files.storage import Storage
    from tamis.index.writing.logged_words import LoggedWords


def newest(
    path: str | Path, verify: Literal["full", "lazy"], storage: Storage, known: Collection | None
) -> Collection:
    """The newest generation, as a collection of its own; of a known one nothing is read again.

    Raises:
        FormatError: it holds what a writer of this version would lose.
        InputError: its learned vectors are still to come, from a build that can go on.
    """
    if known is None:
        found = Collection.open(path, verify, storage=storage)
    else:
        found = known.refresh(verify)
        found = known.again() if found is known else found
    try:
        refuse_unwritable(found.storage, found.index.manifest)
        if found.index.awaiting:
            refuse_unfinished(found.storage)
    except BaseException:
        found.close()
        raise
    return found


def recover(storage: Storage, first: int, words: LoggedWords, pending: Pending) -> Log:
    """Take up the writes of the logs, and go on with the last one.

    Args:
        storage: the folder, whose only writer is the caller.
        first: the first log whose writes are not in the generation.
        words: those of the generation; the logs' are added.
        pending: the writes are added.

    Raises:
        CorruptionError: a log is damaged.
    """
    logs = read_logs(storage, first)
    last = max(logs)
    if not logs[last].whole_bytes:  # a stop came before it was begun
        storage.remove(log_name(last))
        del logs[last]
        last -= 1
    for contents in logs.values():
        for payload in contents.payloads:
            write = Write.decoded(payload)
            words.replay(write.words)
            pending.apply(write)
    return Log.resume(storage, last, logs[last])
