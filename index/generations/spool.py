"""Spooling: vectors that come in batches are kept on disk until all are there.

A build reads its batches twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamis.index.errors import InputError
from tamis.index.generations.manifest import BUILD
from tamis.index.vectors import SparseVectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tamis.index.files.storage import Storage

    Replayable = tuple[Callable[[], Iterable[SparseVectors]], int, int]
    _Shape = tuple[int, int]  # rows and vocabulary size of a batch


LEARNED = "learned"  # the batches of learned vectors


class Batches:
    """Batches of vectors in the build folder, by number; one that is there is whole."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._name = name

    def __contains__(self, number: int) -> bool:
        return self._storage.exists(self._file(number))

    def __getitem__(self, number: int) -> SparseVectors:
        return SparseVectors.load(self._storage.path(self._file(number)))

    @property
    def rows(self) -> int:
        """Rows of all batches, which are put one after the other; all but the last are alike."""
        count = sum(name.startswith(f"{self._name}-") for name in self._storage.names(BUILD))
        return (count - 1) * len(self[0]) + len(self[count - 1]) if count else 0

    def put(self, number: int, vectors: SparseVectors) -> None:
        """Keep a batch: written aside and renamed."""
        self._storage.replace(self._file(number), vectors.to_bytes())

    def _file(self, number: int) -> str:
        return f"{BUILD}/{self._name}-{number:06}.safetensors"


def spooled(storage: Storage, vectors: SparseVectors | Iterable[SparseVectors]) -> Replayable:
    """Batches that can be read twice, their number of rows, and their vocabulary size.

    Raises:
        InputError: batches differ in vocabulary.
    """
    storage.remove_folder(BUILD)
    storage.make_folder(BUILD)
    if isinstance(vectors, SparseVectors):
        return (lambda: [vectors]), len(vectors), vectors.vocab_size
    batches = Batches(storage, "batch")
    shapes: list[_Shape] = []
    for batch in vectors:
        batches.put(len(shapes), batch)
        shapes.append((len(batch), batch.vocab_size))
    return _replayable(batches, shapes)


def _replayable(batches: Batches, shapes: list[_Shape]) -> Replayable:
    sizes = {vocab_size for _, vocab_size in shapes}
    if len(sizes) != 1:
        raise InputError(
            f"expected batches over one vocabulary, found vocabulary sizes {sorted(sizes)}; "
            "encode all documents with one encoder"
        )
    numbers, rows = range(len(shapes)), sum(rows for rows, _ in shapes)
    return (lambda: map(batches.__getitem__, numbers)), rows, sizes.pop()
