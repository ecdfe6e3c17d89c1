"""The second stage of a search, as the rest of the package sees it. Knows nothing of models."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from tamis.index.errors import InputError
from tamis.retriever.types import Reranked, content_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.retriever.types import ScorePart, SearchResult

INVISIBLE = {"Zs", "Zl", "Zp", "Cc", "Cf"}  # Unicode's spaces, controls and joiners


class Reranker(Protocol):
    """Scores the documents that a first stage found for a query; those without text come last."""

    def score(
        self, query: str, documents: Sequence[str], *, first_stage: Sequence[float] | None = None
    ) -> NDArray[np.float32]:
        """The scores ``[documents]``, higher for better.

        Args:
            query: its text.
            documents: their texts.
            first_stage: the scores they were found with, which a reranker may take into account.
        """


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a reranker finds of a list of documents.

    Attributes:
        scores: ``[documents]``, see `Reranker.score`.
        not_stored: documents that had to be read, as what is stored beside the collection has
            nothing of their texts: they are new, or have changed.
        parts: what each score is the sum of; empty where that was not asked for, or is not known.
    """

    scores: NDArray[np.float32]
    not_stored: int = 0
    parts: Sequence[tuple[ScorePart, ...]] = ()


@runtime_checkable
class AssessingReranker(Reranker, Protocol):
    """A reranker that says more of documents than their scores."""

    def assess(
        self,
        query: str,
        documents: Sequence[str],
        *,
        first_stage: Sequence[float] | None = None,
        explain: bool = False,
    ) -> Assessment:
        """As `Reranker.score`; ``explain`` asks for the parts of scores."""


@runtime_checkable
class StoringReranker(Reranker, Protocol):
    """A reranker that may have stored something beside a collection."""

    def over(self, folder: Path) -> Reranker:
        """This reranker for the documents of one collection; uses what is stored in its folder."""


def bind(reranker: Reranker, folder: Path) -> Reranker:
    """A reranker for the documents of the collection in ``folder``, with what it stored there."""
    return reranker.over(folder) if isinstance(reranker, StoringReranker) else reranker


def with_others_below(best: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Scores of a list of which only the first documents were scored.

    The others stand below them in the order they came in, each one lower than the one before.

    Args:
        best: ``[documents]``, scores of the first ones, in any order.
        count: how many documents the list has.

    Returns:
        ``[count]``.
    """
    lowest = best.min() if best.size else np.float32(0)
    below = lowest - np.arange(1, count - best.size + 1, dtype=np.float32)
    return np.concatenate([best, below])


def with_text(documents: Sequence[str]) -> tuple[list[int], list[int]]:
    """The places of the documents that have a visible character, and of those that have none.

    Raises:
        InputError: one is no text, or one string is given in place of a list.
    """
    if isinstance(documents, str):
        raise InputError("expected a list of documents, found one string; put it in a list")
    places: tuple[list[int], list[int]] = [], []
    for place, text in enumerate(documents):
        check_text(text, f"document {place}")
        places[all(map(_is_invisible, text))].append(place)
    return places


def check_text(text: object, name: str) -> None:
    """Refuse what is no text.

    Raises:
        InputError: ``text``, which ``name`` stands for, is no string, or not of whole characters.
    """
    if not isinstance(text, str):
        raise InputError(f"expected a text as {name}, found {type(text).__name__}; give strings")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"expected {name} to be Unicode, found half a surrogate pair; decode it again"
        ) from error


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in INVISIBLE


def check_first_stage(scores: Sequence[float], documents: int) -> None:
    """Refuse scores that no order of so many documents follows from.

    Raises:
        InputError: one is NaN or infinite, or there are not as many.
    """
    if len(scores) != documents:
        raise InputError(
            f"expected {documents} first-stage scores, found {len(scores)}; give one a document"
        )
    finite = np.isfinite(np.asarray(scores, np.float64))
    if not finite.all():
        bad = int(np.flatnonzero(~finite)[0])
        raise InputError(
            f"expected finite first-stage scores, found NaN or infinity ({scores[bad]} for "
            f"document {bad}); leave first_stage out, or correct it"
        )


def reranked(
    reranker: Reranker,
    query: str,
    found: SearchResult,
    depth: int,
    fields: Sequence[str] = (),
    *,
    explain: bool = False,
) -> SearchResult:
    """A result with its first ``depth`` hits in the reranker's order, the others below them.

    Scores become the reranker's; matched terms stay those of the first stage, and sum to its score.

    Args:
        reranker: scores the hits.
        query: the text that was searched for.
        found: the first stage's hits.
        depth: how many to score; see `with_others_below` for the others.
        fields: that are searched, see `content_of`.
        explain: fill `Hit.score_parts`, where the reranker can.
    """
    began = perf_counter()
    head = found.hits[:depth]
    first_stage = [hit.score for hit in head]
    texts = [content_of(hit.document, fields) for hit in head]
    assessed = _assessed(reranker, query, texts, first_stage, explain=explain)
    scores = with_others_below(assessed.scores, len(found.hits))
    order = np.argsort(-scores, kind="stable").tolist()
    parts = dict(enumerate(assessed.parts))
    hits = tuple(
        replace(found.hits[at], score=float(scores[at]), rank=rank, score_parts=parts.get(at, ()))
        for rank, at in enumerate(order, start=1)
    )
    times = replace(found.times, rerank_ms=(perf_counter() - began) * 1000)
    told = Reranked(len(head), assessed.not_stored)
    return replace(found, hits=hits, times=times, reranked=told)


def _assessed(
    reranker: Reranker,
    query: str,
    texts: Sequence[str],
    first_stage: Sequence[float],
    *,
    explain: bool,
) -> Assessment:
    if isinstance(reranker, AssessingReranker):
        return reranker.assess(query, texts, first_stage=first_stage, explain=explain)
    return Assessment(reranker.score(query, texts, first_stage=first_stage))
