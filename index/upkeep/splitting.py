"""Splitting: a collection becomes several, each with some of its documents, as they are.

Nothing is encoded or weighed again. So all have the average length that words were weighed by, and
a document scores as it did, where words count the documents of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamis.index.files.progress import Progress, silent
from tamis.index.files.storage import Storage
from tamis.index.upkeep.snapshot import SNAPSHOT, write_snapshot
from tamis.index.writing.writer import CollectionWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

DELETED_AT_ONCE = 10_000


def split_collection(
    source: str | Path,
    folders: Sequence[Path],
    share_of: Callable[[str], int],
    progress: Progress = silent,
) -> list[int]:
    """Write a collection of each share of the documents; how many each holds.

    Files are linked where they lie on one disk, until what is deleted is merged away.

    Args:
        source: the collection, which stays as it is.
        folders: of the shares; each does not exist, or is empty.
        share_of: the number of the folder that the document of an id goes to.
        progress: told of each share, and how many there are in all; see `Progress`.

    Raises:
        InputError: a folder holds something, or lies in the collection.
        CorruptionError: a file of the collection is damaged.
    """
    counts = []
    for number, folder in enumerate(folders):
        write_snapshot(source, folder)
        with CollectionWriter.open(folder, merge=False) as writer:
            counts.append(_keep(writer, share_of, number))
            progress("split", number + 1, len(folders))
            while writer.merge():
                pass
        Storage(folder).remove(SNAPSHOT)
    return counts


def _keep(writer: CollectionWriter, share_of: Callable[[str], int], share: int) -> int:
    """Delete the documents of other shares; how many are left."""
    ids = map(writer.index.doc_id, writer.index.live_docs().tolist())
    others = [doc_id for doc_id in ids if share_of(doc_id) != share]
    for first in range(0, len(others), DELETED_AT_ONCE):
        writer.delete(others[first : first + DELETED_AT_ONCE], wait="none")
    writer.commit()
    return len(writer.index)
