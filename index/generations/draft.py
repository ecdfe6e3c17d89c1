"""Draft: the next generation while it is made. Nothing of it counts until `publish`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.metadata import version
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.files.array_file import write_array, write_arrays
from tamis.index.files.wal import Log
from tamis.index.generations.manifest import (
    FORMAT,
    Manifest,
    SegmentEntry,
    now,
    parts_of,
    publish,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tamis.index.files.file_entry import FileEntry
    from tamis.index.files.storage import Storage
    from tamis.index.generations.settings import CollectionSettings
    from tamis.index.segment.quantize import Precision

SEGMENTS = "segments"
DICTIONARY = "dictionary"
DELETIONS = "deletions"
FREQUENCY = "document_frequency"
FIRST_LOG = 1


class Draft:
    """Changes to a generation, gathered into the one after it. One thread at a time."""

    def __init__(self, storage: Storage, manifest: Manifest) -> None:
        self._storage = storage
        self._manifest = manifest
        self._folders = {SEGMENTS}
        self.generation = manifest.generation + 1
        self.segments = list(manifest.segments)
        self.files = dict(manifest.files)

    @staticmethod
    def first(storage: Storage, precision: Precision) -> Draft:
        """That of a folder's first generation; `publish_first` ends it."""
        storage.make_folder(SEGMENTS)
        none = Manifest(0, "", "", 0, 1, (), 1, precision, identity=token_hex(8))
        return Draft(storage, none)

    def place_of(self, name: str) -> int:
        """Where a segment stands among the others."""
        return [entry.name for entry in self.segments].index(name)

    def insert(self, place: int, entry: SegmentEntry, files: Mapping[str, FileEntry]) -> None:
        """Add a segment that `write_part` wrote."""
        self.segments.insert(place, entry)
        self.files |= files

    def drop(self, name: str) -> None:
        """Leave a segment out."""
        entry = self.segments.pop(self.place_of(name))
        self.files = {
            file: found
            for file, found in self.files.items()
            if not file.startswith(f"{name}/") and file != entry.deletions
        }

    def set_live(self, name: str, live: NDArray[np.bool_], words_gone: int) -> None:
        """Say which documents of a segment are left; one without any is dropped.

        Args:
            name: of the segment.
            live: ``[documents]``, set for those that are left.
            words_gone: how many with words of the lexical channel are deleted now.
        """
        if not live.any():
            self.drop(name)
            return
        place = self.place_of(name)
        entry = self.segments[place]
        self.files.pop(entry.deletions or "", None)
        self._make_folder(DELETIONS)
        file = f"{DELETIONS}/{self.generation:06}-{name.rpartition('/')[2]}"
        self.files[file] = write_array(self._storage, file, np.packbits(~live))
        deleted = int(live.size - live.sum())
        told = entry.with_words
        with_words = None if told is None else told - words_gone
        self.segments[place] = replace(
            entry, deleted=deleted, deletions=file, with_words=with_words
        )

    def put_dictionary(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write some arrays of the dictionary again, in place of those of the same names."""
        self.take_dictionary(write_dictionary(self._storage, self.generation, arrays))

    def take_dictionary(self, files: Mapping[str, FileEntry]) -> None:
        """Have files of the dictionary's folder in place of those of the same arrays."""
        parts = {dictionary_part(name) for name in files}
        for name in [name for name in self.files if dictionary_part(name) in parts]:
            del self.files[name]
        self.take(files)

    def take(self, files: Mapping[str, FileEntry]) -> None:
        """Add files that belong to no segment."""
        self._folders |= {file.rpartition("/")[0] for file in files}
        self.files |= files

    def publish_first(self, vocab_size: int, settings: CollectionSettings) -> None:
        """Make this the current generation of a folder that has none, with an empty log."""
        Log.create(self._storage, FIRST_LOG).close()
        self.publish(vocab_size, FIRST_LOG, settings)

    def publish(self, vocab_size: int, log: int, settings: CollectionSettings) -> Manifest:
        """Make this the current generation."""
        for folder in sorted(self._folders):
            self._storage.sync_folder(folder)
        manifest = Manifest(
            generation=self.generation,
            created=now(),
            written_by=_version(),
            documents=sum(entry.live for entry in self.segments),
            vocab_size=vocab_size,
            segments=tuple(self.segments),
            log=log,
            precision=self._manifest.precision,
            settings=settings,
            files=self.files,
            identity=self._manifest.identity,
            format=FORMAT,
            parts=parts_of(self._manifest.parts, self.files),
        )
        publish(self._storage, manifest)
        return manifest

    def _make_folder(self, name: str) -> None:
        self._storage.make_folder(name)
        self._folders.add(name)


@cache
def _version() -> str:
    return version("tamis")  # looks through the whole of `sys.path`


def write_dictionary(
    storage: Storage, generation: int, arrays: Mapping[str, NDArray[Any]]
) -> dict[str, FileEntry]:
    """Write arrays of the dictionary for a generation; the files written."""
    storage.make_folder(DICTIONARY)
    return write_arrays(storage, dictionary_prefix(generation), arrays)


def dictionary_prefix(generation: int) -> str:
    """What the files of the dictionary arrays begin with that a generation writes."""
    return f"{DICTIONARY}/{generation:06}."


def dictionary_part(name: str) -> str | None:
    """Which array of the dictionary a file holds; None for any other file."""
    folder, _, file = name.partition("/")
    return file.rpartition(".")[2] if folder == DICTIONARY else None
