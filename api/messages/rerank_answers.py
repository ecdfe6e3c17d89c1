"""What the service answers to a rerank request. Knows nothing of HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from tamis.retriever.rerank.reranker import Reranker


@dataclass(frozen=True, slots=True)
class RerankResult:
    """One document of a rerank request.

    Attributes:
        index: its position among the documents sent.
        relevance_score: higher for better; comparable within one query only.
        document: its text, where ``return_documents`` was asked for.
    """

    index: int
    relevance_score: float
    document: str | None


@dataclass(frozen=True, slots=True)
class RerankAnswer:
    """Documents in the reranker's order."""

    took_ms: float
    results: tuple[RerankResult, ...]


def rerank_answer(
    reranker: Reranker,
    query: str,
    documents: Sequence[str],
    top_n: int | None,
    return_documents: bool,
) -> RerankAnswer:
    """Documents best first; equal scores keep the order they were sent in."""
    began = perf_counter()
    scores = reranker.score(query, documents)
    order = sorted(range(len(documents)), key=lambda at: (-float(scores[at]), at))[:top_n]
    results = tuple(
        RerankResult(at, float(scores[at]), documents[at] if return_documents else None)
        for at in order
    )
    return RerankAnswer((perf_counter() - began) * 1000, results)
