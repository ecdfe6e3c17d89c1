"""Calibration: which knobs reach which recall, measured on the index itself.

For short and for long queries, each number of results and each recall, the table names the cheapest
knobs that reached it: the mean over the sample, less its sampling error, is at least the recall
asked for. Where none did, or none is cheaper than reading everything, the search is exact.

The sample is real queries where the caller has some, or titles and sentences of documents. Else
documents stand in for them: their most
telling terms, weighted by rarity as an inference-free query is, and for long queries also their
strongest terms as they are, as a neural encoder expands a query. Knobs must do for each of these
samples. A document is not counted as its own answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Literal

import numpy as np

from tamis.index.segment.loops.arrays import BLOCK, WINDOW, Knobs
from tamis.index.segment.segment import EXACT
from tamis.index.vectors import SparseVectors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tamis.index.segment.segment import Segment

RECALLS = (0.90, 0.95, 0.97, 0.99)
SAMPLES = {10: 200, 100: 100, 1000: 50}  # queries of a sample, by results; for more, all is read
SMALL = 20_000  # documents below which a search is exact: reading all takes microseconds
LONG = 16  # a query of more terms is long
POSTINGS_A_DOCUMENT = 200  # scoring one document in full takes as long as reading so many
CUTS = (0.02, 0.03, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3)
SLACKS = (0.975, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65)
WINDOW_COST, SLICE_COST = 600, 65  # postings that take as long as a window, and a term in it
_ONE_SIDED_95 = 1.645  # standard errors taken from a mean for its lower 95 % bound
_TIED = 100  # documents scored for each wanted one, as a rule: ties, which knobs cannot thin out
_WORTH = 0.8  # of the cost of an exact search: what saves less is not worth a miss
FEWEST = 50  # queries of one class below which it is not calibrated
_SHORT_TERMS, _LONG_TERMS = 8, 32


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        long: whether it holds for queries of more than `LONG` terms, or for the others.
        k: number of results it was measured for.
        recall: the recall it reaches at least.
        cut: see `SearchParams`.
        slack: see `SearchParams`.
        measured: mean recall on the sample; the lowest of several samples.
        cost: postings that take as long, a query; reading everything has a cost too.
    """

    long: bool
    k: int
    recall: float
    cut: float
    slack: float
    measured: float
    cost: float

    @property
    def knobs(self) -> Knobs:
        """What a search takes."""
        return Knobs(self.cut, self.slack)


@dataclass(frozen=True, slots=True)
class ExactCost:
    """What an exact search costs, by windows.

    Attributes:
        long: for queries of more than `LONG` terms, else for those with at most as many.
        k: documents asked for.
        cost: as `Row.cost`.
    """

    long: bool
    k: int
    cost: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The table of one index.

    Attributes:
        source: what the sample was made of ("sentences" with titles among them); "none" for an
            index that is searched exactly.
        queries: how many stood in the samples.
        rows: short queries first, then by k and by recall, both rising.
        blocks: where exact search is cheaper by blocks: rows of recall 1.
        exact: what the rows are to be compared with; none in tables of earlier versions.
    """

    source: Literal["queries", "sentences", "documents", "none"] = "none"
    queries: int = 0
    rows: tuple[Row, ...] = ()
    blocks: tuple[Row, ...] = ()
    exact: tuple[ExactCost, ...] = ()

    def knobs(self, recall: float, k: int, long: bool, blocks: bool = True) -> Knobs:
        """The knobs of the next row that covers this recall of the best k.

        Args:
            recall: at most 1.
            k: at least 1.
            long: whether the query has more than `LONG` terms.
            blocks: whether it may be searched by blocks.

        Returns:
            `EXACT` where no row covers it.
        """
        covering = [
            (row.k, row.recall, not by_blocks, row)
            for by_blocks, rows in ((True, self.blocks if blocks else ()), (False, self.rows))
            for row in rows
            if row.long == long and row.k >= k and row.recall >= recall
        ]
        if not covering:
            return EXACT
        _, _, by_windows, row = min(covering, key=itemgetter(0, 1, 2))
        return row.knobs if by_windows else row.knobs._replace(blocks=True)


@dataclass(frozen=True, slots=True)
class Sample:
    """Queries to measure with.

    Attributes:
        queries: over the segment's terms.
        own: ``[queries]`` int64, the document each was made of, which does not count as an
            answer to it; None for queries of their own.
    """

    queries: SparseVectors
    own: NDArray[np.int64] | None = None

    def take(self, places: NDArray[np.int64]) -> Sample:
        """The queries at these places."""
        rows = [self.queries.rows(at, at + 1) for at in places.tolist()]
        queries = SparseVectors.concatenate(rows) if rows else self.queries.rows(0, 0)
        return Sample(queries, None if self.own is None else self.own[places])


def calibrate(segment: Segment, sample: Sample | None = None) -> Calibration:
    """Measure a segment.

    Args:
        segment: what will be searched.
        sample: real queries, or the likeliest stand-ins; None lets documents stand in.

    Returns:
        The table; an empty one for a small segment.
    """
    if segment.documents < SMALL or (sample is not None and len(sample.queries) == 0):
        return Calibration()
    rows, blocks, exact, counted = list[Row](), list[Row](), list[ExactCost](), 0
    for long in (False, True):
        samples = _documents(segment, long) if sample is None else _of_length(sample, long)
        counted += sum(len(each.queries) for each in samples)
        for k in SAMPLES if samples else ():
            measured = _measured(segment, samples, k)
            rows += _rows_for(measured, k, long)
            exact.append(ExactCost(long, k, round(measured.exact_cost)))
            if segment.has_blocks:
                blocks += _block_rows(measured, k, long)
    return Calibration(_source(sample), counted, tuple(rows), tuple(blocks), tuple(exact))


def _source(sample: Sample | None) -> Literal["queries", "sentences", "documents"]:
    if sample is None:
        return "documents"
    return "queries" if sample.own is None else "sentences"


@dataclass(frozen=True, slots=True)
class _Trial:
    knobs: Knobs
    cost: float
    recall: float  # the lowest of the samples
    bound: float  # and of their lower bounds


@dataclass(frozen=True, slots=True)
class _Measured:
    """What is measured with: samples of queries and their best documents."""

    segment: Segment
    samples: Sequence[Sample]
    truths: Sequence[_Best]

    @property
    def exact_cost(self) -> float:
        """Of the sample that costs most."""
        return max(truth.cost for truth in self.truths)

    @property
    def terms(self) -> float:
        """Of a query of the sample with the longest ones."""
        return max(each.queries.nnz / len(each.queries) for each in self.samples)


def _measured(segment: Segment, samples: Sequence[Sample], k: int) -> _Measured:
    samples = [sample.take(np.arange(min(SAMPLES[k], len(sample.queries)))) for sample in samples]
    return _Measured(segment, samples, [_best(segment, sample, k, EXACT) for sample in samples])


def _rows_for(measured: _Measured, k: int, long: bool) -> list[Row]:
    if max(truth.work for truth in measured.truths) > _TIED * k:
        return []
    trials = list(_trials(measured))
    rows = []
    for recall in RECALLS:
        good = [trial for trial in trials if trial.bound >= recall]
        if good:
            best = min(good, key=lambda trial: trial.cost)
            cut, slack, _ = best.knobs
            rows.append(Row(long, k, recall, cut, slack, round(best.recall, 4), round(best.cost)))
    return rows


def _block_rows(measured: _Measured, k: int, long: bool) -> list[Row]:
    """The row of exact search by blocks, if it costs less than by windows."""
    trial = _try(measured, Knobs(0.0, 1.0, blocks=True))
    windows = -(-measured.segment.documents // WINDOW)
    spared = (windows - windows / BLOCK) * (WINDOW_COST + SLICE_COST * measured.terms)
    if trial.cost >= _WORTH * (measured.exact_cost + spared):
        return []
    return [Row(long, k, 1.0, 0.0, 1.0, 1.0, round(trial.cost))]


def _trials(measured: _Measured) -> Iterator[_Trial]:
    """Measure the grid, but for what costs more than knobs that reach every recall."""
    limit = _WORTH * measured.exact_cost
    for cut in CUTS:
        for slack in SLACKS:
            trial = _try(measured, Knobs(cut, slack))
            if trial.cost >= limit:
                break
            yield trial
            if trial.bound >= max(RECALLS):
                limit = trial.cost
                break


@dataclass(frozen=True, slots=True)
class _Best:
    scores: NDArray[np.float32]  # [queries, k], the own documents left out
    cost: float
    work: float  # documents scored in full for half of the queries, at most


def _best(segment: Segment, sample: Sample, k: int, knobs: Knobs) -> _Best:
    """The k best documents but the query's own."""
    top, postings = segment.search(sample.queries, k + (sample.own is not None), knobs)
    scores = top.scores
    if sample.own is not None:
        foreign = top.docs != sample.own[:, None]
        foreign[foreign.all(axis=1), -1] = False  # its own is not there: the last is too many
        scores = scores[foreign].reshape(len(top), k)
    cost = float((postings + POSTINGS_A_DOCUMENT * top.work).mean())
    return _Best(scores, cost, float(np.median(top.work)))


def _try(measured: _Measured, knobs: Knobs) -> _Trial:
    recalls, bounds, costs = [], [], []
    for sample, truth in zip(measured.samples, measured.truths, strict=True):
        found = _best(measured.segment, sample, truth.scores.shape[1], knobs)
        recall = recall_by_score(found.scores, truth.scores)
        error = recall.std() / np.sqrt(recall.size)
        recalls.append(float(recall.mean()))
        bounds.append(float(recall.mean() - _ONE_SIDED_95 * error))
        costs.append(found.cost)
    return _Trial(knobs, max(costs), min(recalls), min(bounds))


def recall_by_score(found: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float64]:
    """The share of each row's true scores that were found, so that ties are neutral.

    Args:
        found: ``[queries, k]`` falling, 0 where a document is missing.
        truth: ``[queries, k]`` of an exact search.

    Returns:
        ``[queries]``; 1 where there is nothing to find.
    """
    wanted = (truth > 0).sum(axis=1)
    least = np.where(truth > 0, truth, np.inf).min(axis=1, initial=np.inf)
    reached = (found >= least[:, None]).sum(axis=1)
    share: NDArray[np.float64] = np.where(wanted > 0, reached / np.maximum(wanted, 1), 1.0)
    return share


def _of_length(sample: Sample, long: bool) -> list[Sample]:
    """The caller's long or short queries, if they are enough to measure with."""
    places = np.flatnonzero((np.diff(sample.queries.offsets) > LONG) == long)
    if places.size < FEWEST:
        return []
    return [sample.take(places[: max(SAMPLES.values())])]


def _documents(segment: Segment, long: bool) -> list[Sample]:
    """Documents at equal distances as queries."""
    count = min(max(SAMPLES.values()), segment.documents)
    own = np.linspace(0, segment.documents - 1, count).astype(np.int64)
    rows = [segment.row(doc) for doc in own.tolist()]
    rarities = [_rarity(segment, terms) for terms, _ in rows]
    told = [(terms, r, r * w) for (terms, w), r in zip(rows, rarities, strict=True)]
    if not long:
        return [Sample(_strongest(told, _SHORT_TERMS, segment.vocab_size), own)]
    plain = [(terms, weights, weights) for terms, weights in rows]
    return [
        Sample(_strongest(shape, _LONG_TERMS, segment.vocab_size), own) for shape in (told, plain)
    ]


def _rarity(segment: Segment, terms: NDArray[np.int32]) -> NDArray[np.float32]:
    """A weight for each term that falls with its number of documents."""
    rarity: NDArray[np.float64] = np.log1p(segment.documents / segment.document_frequency(terms))
    return rarity.astype(np.float32)


def _strongest(
    rows: Sequence[tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]],
    most: int,
    vocab_size: int,
) -> SparseVectors:
    """Rows of (terms, weights, strengths), each cut to its ``most`` strongest terms."""
    kept = [np.sort(np.argsort(-strength, kind="stable")[:most]) for _, _, strength in rows]
    return SparseVectors(
        np.cumsum([0, *(places.size for places in kept)], dtype=np.int64),
        np.concatenate([terms[at] for (terms, _, _), at in zip(rows, kept, strict=True)]),
        np.concatenate([weights[at] for (_, weights, _), at in zip(rows, kept, strict=True)]),
        vocab_size,
    )
