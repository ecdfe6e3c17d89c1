"""Seen: which documents earlier pages of a search have given, so that no later page gives them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.segment.identifiers import hashes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from tamis.retriever.types import Hit

_HASH = np.dtype("<u8")


@dataclass(frozen=True, slots=True)
class Seen:
    """What has been found so far; a page after it holds the best of the rest.

    Documents are known by their ids alone. So those that come, go, or change between two pages
    neither hide another document nor bring one back.

    Attributes:
        documents: the xxh3-64 of the ids of all documents, 8 bytes each, little-endian.
        hits: how many hits there were; groups have several documents each.
        generation: of the collection that the first of them were found in; 0 before there are any.
    """

    documents: bytes = b""
    hits: int = 0
    generation: int = 0

    def after(self, hits: Sequence[Hit], generation: int) -> Seen:
        """This and further hits, with the passages of their groups, found in a generation."""
        ids = [one.doc_id for hit in hits for one in (hit.passages or (hit,))]
        return replace(self.passing(ids, len(hits)), generation=self.generation or generation)

    def passing(self, ids: Iterable[str], hits: int) -> Seen:
        """This and further documents, which were so many hits."""
        more = hashes_of(ids).astype(_HASH).tobytes()
        return replace(self, documents=self.documents + more, hits=self.hits + hits)

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """``[documents]``, the hashes of the ids."""
        return np.frombuffer(self.documents, _HASH).astype(np.uint64)
