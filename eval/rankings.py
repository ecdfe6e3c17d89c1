"""Rankings of many query vectors over a collection, on a processor or a GPU; fetches nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from tamis.index.errors import InputError
from tamis.retriever.corpus.chunking import PARENT
from tamis.retriever.first_stage.retrieval import Found, Retrieval

if TYPE_CHECKING:
    from tamis.index.collection import Collection
    from tamis.index.vectors import SparseVectors
    from tamis.retriever.gpu_index import GpuIndex
    from tamis.retriever.search_options import SearchOptions


@dataclass(frozen=True)
class Rankings:
    """Ranks the documents of a collection; where it holds passages, by their best one (MaxP).

    Attributes:
        collection: as it was opened; newer generations are not looked for.
        device: ``cpu``, or a GPU, which searches exactly.
    """

    collection: Collection
    device: str = "cpu"

    @property
    def group_by(self) -> str | None:
        """What passages are grouped by; None where documents are whole."""
        return PARENT if self.collection.settings.chunk is not None else None

    def rank(self, vectors: SparseVectors, options: SearchOptions) -> list[dict[str, float]]:
        """Scores by document id, best first, of each query.

        Args:
            vectors: over the collection's terms.
            options: ``k``, ``filter``, ``threads`` and, on a processor, ``recall`` and ``exact``.

        Raises:
            InputError: an option is out of range, the device is no GPU of this machine, or a GPU
                is to rank the documents of passages.
        """
        options = replace(options, k=min(options.k, max(len(self.collection), 1)))
        if self.device != "cpu":
            return [self._named(one) for one in self._on_gpu(vectors, options)]
        options = replace(options, group_by=self.group_by, group_size=1)
        return [self._named(one) for one in Retrieval(self.collection, options).find(vectors)]

    def _on_gpu(self, vectors: SparseVectors, options: SearchOptions) -> list[Found]:
        if self.group_by is not None:
            raise InputError(
                "expected whole documents to rank on a GPU, found passages of them; leave out "
                "--device"
            )
        best = self._gpu.search(vectors, options.k, where=options.filter)
        return [Found.of(best.row(query)) for query in range(len(best))]

    @cached_property
    def _gpu(self) -> GpuIndex:
        from tamis.retriever.gpu_index import GpuIndex

        return GpuIndex.from_index(self.collection.index, [self.device])

    def _named(self, found: Found) -> dict[str, float]:
        ids = [self.collection.doc_id(doc) for doc in found.docs.tolist()]
        names = [
            str(value) if value is not None else doc_id
            for value, doc_id in zip(found.values, ids, strict=True)
        ]
        return dict(zip(names, found.scores.tolist(), strict=True))
