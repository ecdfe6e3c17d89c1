"""Making a collection without documents, for a `CollectionWriter` to fill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamis.index.files.lock import FolderLock
from tamis.index.files.storage import Storage
from tamis.index.generations.draft import Draft
from tamis.index.generations.manifest import BUILD, refuse_existing
from tamis.index.generations.settings import CollectionSettings
from tamis.index.params import IndexConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tamis.index.files.file_entry import FileEntry
    from tamis.index.segment.dictionary import Dictionary


def create_collection(
    path: str | Path,
    *,
    vocab_size: int,
    settings: CollectionSettings = CollectionSettings(),  # noqa: B008  frozen
    dictionary: Dictionary | None = None,
    files: Mapping[str, FileEntry] = {},
    config: IndexConfig = IndexConfig(),  # noqa: B008  frozen
    storage: Storage | None = None,
) -> None:
    """Write a collection without documents.

    Args:
        path: a folder that does not hold an index yet.
        vocab_size: number of terms.
        settings: what the manifest records about the making.
        dictionary: the words to begin with; None without the lexical channel.
        files: what lies in the folder already and belongs to the collection.
        config: how to store the vectors.
        storage: how to reach the folder's files, when not in the plain way.

    Raises:
        InputError: the folder holds an index.
        LockedError: another process writes there.
    """
    storage = storage or Storage(path)
    refuse_existing(storage)
    storage.make_folder()
    with FolderLock(storage):
        draft = Draft.first(storage, config.precision)
        draft.take(files)
        if dictionary is not None:
            draft.put_dictionary(dictionary.arrays())
        draft.publish_first(vocab_size, settings)
        storage.remove_folder(BUILD)
