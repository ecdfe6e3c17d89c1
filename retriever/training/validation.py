"""How well a student ranks development collections, by exact search."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from tamis.retriever.training.device_rows import Ragged
from tamis.retriever.training.lexical_scores import LexicalScorer
from tamis.retriever.training.regularisers import keep_heaviest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tamis.retriever.training.data.stems import WordTable
    from tamis.retriever.training.data.training_data import DevSet
    from tamis.retriever.training.student import Student

BM25 = "bm25"  # what the words find alone, beside the student's points
CUT = 10  # of nDCG
CHUNK = 256  # passages encoded together


class Point(NamedTuple):
    """An operating point: terms kept of a document, weight of the lexical channel."""

    terms: int
    channel: float


class DevRanking:
    """A development collection on the training device."""

    def __init__(self, dev: DevSet, words: WordTable, device: torch.device) -> None:
        self.name = dev.name
        self.passages = Ragged.of(dev.passages, device)
        self.queries = Ragged.of(dev.queries, device)
        self._rows = torch.arange(self.queries.rows, device=device)
        columns = torch.arange(self.passages.rows, device=device)
        scorer = LexicalScorer(
            words.words(dev.passages), words.words(dev.queries), words.stem_count, device
        )
        self.bm25 = scorer.scores(self._rows, columns)
        gains = torch.zeros(self.queries.rows, self.passages.rows, device=device)
        queries = torch.from_numpy(dev.pairs.queries).long().to(device)
        passages = torch.from_numpy(dev.pairs.passages).long().to(device)
        gains[queries, passages] = torch.from_numpy(dev.grades).to(device)
        self.gains = gains

    @torch.no_grad()
    def learned_scores(self, student: Student, terms: list[int], longest: int) -> torch.Tensor:
        """Scores without words, for each number of terms kept, [points, Q, P] float32."""
        queries = student.queries(self.queries, self._rows)
        out = torch.zeros(len(terms), self.queries.rows, self.passages.rows, device=queries.device)
        for rows, width in self._chunks(student, longest):
            with torch.enable_grad():  # else a compiled model is compiled once more
                weights = student.encode(student.documents, self.passages, rows, width)
            weights = weights.detach()
            for i, most in enumerate(terms):
                with torch.autocast(queries.device.type, enabled=False):
                    out[i][:, rows] = queries @ keep_heaviest(weights, most).T
        return out

    def _chunks(self, student: Student, longest: int) -> Iterator[tuple[torch.Tensor, int]]:
        """Passages of like length, and the width that holds them."""
        rows = torch.arange(self.passages.rows, device=self._rows.device)
        lengths = self.passages.lengths(rows) + sum(map(len, student.around))
        order = lengths.argsort(stable=True)
        for some in torch.split(order, CHUNK):
            yield some, rounded_width(int(lengths[some[-1]]), longest)


def validate(
    student: Student, dev: list[DevRanking], points: list[Point], longest: int
) -> dict[str, dict[str, torch.Tensor]]:
    """nDCG@10 of each query of each collection at each operating point.

    Returns:
        Collection to point, spelled ``terms/channel``, to nDCG@10 of its queries that have a gain,
        [Q] float32; the point `BM25` is the words alone.
    """
    terms = sorted({point.terms for point in points})
    table = {}
    for one in dev:
        learned = one.learned_scores(student, terms, longest)
        row = {BM25: ndcg(one.bm25, one.gains)}
        for point in points:
            scores = learned[terms.index(point.terms)] + point.channel * one.bm25
            row[f"{point.terms}/{point.channel:g}"] = ndcg(scores, one.gains)
        table[one.name] = row
    return table


def means(table: dict[str, dict[str, torch.Tensor]]) -> dict[str, dict[str, float]]:
    """What `validate` gave, averaged over the queries; ``mean`` is that over the collections."""
    rows = {
        name: {point: float(values.mean()) for point, values in row.items()}
        for name, row in table.items()
    }
    points = next(iter(rows.values())) if rows else {}
    mean = {point: sum(row[point] for row in rows.values()) / len(rows) for point in points}
    return rows | {"mean": mean}


def best_point(row: dict[str, float]) -> tuple[str, float]:
    """The operating point at which the student is best, and its measure: BM25's is not its own."""
    points = {point: value for point, value in row.items() if point != BM25}
    return max(points.items(), key=lambda pair: pair[1])


def ndcg(scores: torch.Tensor, gains: torch.Tensor, cut: int = CUT) -> torch.Tensor:
    """Linear-gain nDCG of each query that has a gain, [Q] float32.

    Args:
        scores: [Q, P]; a passage that scores 0 or less is not retrieved.
        gains: [Q, P], 0 where not relevant.
        cut: ranks that count.
    """
    cut = min(cut, scores.shape[1])
    discount = 1 / torch.log2(torch.arange(cut, device=scores.device) + 2.0)
    best = scores.topk(cut, dim=1)
    found = gains.gather(1, best.indices) * (best.values > 0)
    ideal = (gains.topk(cut, dim=1).values * discount).sum(1)
    judged = ideal > 0
    return (found * discount).sum(1)[judged] / ideal[judged]


def rounded_width(length: int, longest: int) -> int:
    """Ids of a padded chunk: few distinct widths, so that few shapes are compiled."""
    return min(longest, -(-length // 32) * 32)
