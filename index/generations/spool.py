"""Spooling: vectors that come in batches are kept on disk until all are there.

A build reads its batches twice. Those of a `Source` outlast a build that is stopped, and the next
one goes on after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tamis.index.errors import InputError
from tamis.index.generations.build_plan import begin_or_go_on
from tamis.index.generations.manifest import BUILD
from tamis.index.vectors import SparseVectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tamis.index.files.storage import Storage

    Replayable = tuple[Callable[[], Iterable[SparseVectors]], int, int]
    _Shape = tuple[int, int]  # rows and vocabulary size of a batch


@dataclass(frozen=True, slots=True)
class Source:
    """Vectors that can be read from any row on, so that a stopped build can go on.

    Attributes:
        batches: gives them from a row on, in batches that depend on that row alone.
        plan: what they are and how they are read, as JSON; a build goes on with the same alone.
        resume: go on with an unfinished build; one is refused otherwise.
    """

    batches: Callable[[int], Iterable[SparseVectors]]
    plan: Mapping[str, Any]
    resume: bool = False


class Batches:
    """Batches of vectors in the build folder, by number; one that is there is whole."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._name = name

    def __contains__(self, number: int) -> bool:
        return self._storage.exists(self._file(number))

    def __getitem__(self, number: int) -> SparseVectors:
        return SparseVectors.load(self._storage.path(self._file(number)))

    def put(self, number: int, vectors: SparseVectors) -> None:
        """Keep a batch: written aside and renamed."""
        self._storage.replace(self._file(number), vectors.to_bytes())

    def _file(self, number: int) -> str:
        return f"{BUILD}/{self._name}-{number:06}.safetensors"


def spooled(
    storage: Storage, vectors: SparseVectors | Iterable[SparseVectors] | Source
) -> Replayable:
    """Batches that can be read twice, their number of rows, and their vocabulary size.

    Raises:
        InputError: batches differ in vocabulary, or the folder holds an unfinished build of a
            `Source` that is not to be resumed.
        MismatchError: the unfinished build was begun with another plan.
    """
    if isinstance(vectors, SparseVectors):
        _empty_folder(storage)
        return (lambda: [vectors]), len(vectors), vectors.vocab_size
    batches = Batches(storage, "batch")
    if not isinstance(vectors, Source):
        _empty_folder(storage)
        return _replayable(batches, _written(batches, vectors, []))
    begin_or_go_on(storage, vectors.plan, vectors.resume)
    kept: list[_Shape] = []
    while len(kept) in batches:
        kept.append(_shape_of(batches[len(kept)]))
    rows = sum(rows for rows, _ in kept)
    return _replayable(batches, _written(batches, vectors.batches(rows), kept))


def _empty_folder(storage: Storage) -> None:
    storage.remove_folder(BUILD)
    storage.make_folder(BUILD)


def _written(
    batches: Batches, vectors: Iterable[SparseVectors], kept: list[_Shape]
) -> list[_Shape]:
    """Write each batch in one step, after those that are there; the shapes of all."""
    shapes = list(kept)
    for batch in vectors:
        batches.put(len(shapes), batch)
        shapes.append(_shape_of(batch))
    return shapes


def _replayable(batches: Batches, shapes: list[_Shape]) -> Replayable:
    sizes = {vocab_size for _, vocab_size in shapes}
    if len(sizes) != 1:
        raise InputError(
            f"expected batches over one vocabulary, found vocabulary sizes {sorted(sizes)}; "
            "encode all documents with one encoder"
        )
    numbers, rows = range(len(shapes)), sum(rows for rows, _ in shapes)
    return (lambda: map(batches.__getitem__, numbers)), rows, sizes.pop()


def _shape_of(batch: SparseVectors) -> _Shape:
    return len(batch), batch.vocab_size
