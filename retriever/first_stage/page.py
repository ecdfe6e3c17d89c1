"""Page: which of the documents that a search found are the hits that were asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tamis.retriever.types import NOTHING_SEEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tamis.index.collection import Collection
    from tamis.retriever.first_stage.grouping import Groups
    from tamis.retriever.first_stage.retrieval import Found
    from tamis.retriever.search_options import SearchOptions
    from tamis.retriever.types import SearchResult


@dataclass(frozen=True, slots=True)
class Page:
    """Which of the documents that were found are hits of the page that was asked for."""

    collection: Collection
    options: SearchOptions
    groups: Groups | None

    def of(self, results: Sequence[SearchResult], found: Sequence[Found]) -> list[SearchResult]:
        """The page of each result."""
        return [self._of(*each) for each in zip(results, found, strict=True)]

    def _of(self, result: SearchResult, found: Found) -> SearchResult:
        options, hits = self.options, result.hits
        if options.min_score is not None:
            hits = tuple(hit for hit in hits if hit.score >= options.min_score)
        if self.groups is not None:
            hits = self.groups.collect(hits)
        first = options.offset if options.rerank is not None else 0  # else passed over unfetched
        page = hits[first : first + options.k]
        before = options.seen or NOTHING_SEEN
        if options.offset:
            passed = map(self.collection.doc_id, found.passed.tolist())
            before = before.passing(passed, options.offset - first)
            before = before.after(hits[:first], result.generation)
        if before.hits:
            page = tuple(
                replace(hit, rank=rank) for rank, hit in enumerate(page, start=before.hits + 1)
            )
        if page is result.hits and before is NOTHING_SEEN:
            return result
        return replace(result, hits=page, seen_before=before)
