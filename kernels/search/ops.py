"""Exact search of a batch of sparse queries on a GPU; knows nothing of files or segments.

1. *Find.* A block of threads takes one tile of documents and one query, and adds up the query's
   postings in shared memory, as whole numbers: images times what one image step of the term adds.
   Documents whose sum is good enough are noted. Tiles are visited in phases, each some times as
   large as all before; the k-th largest sum of a phase says what is good enough in the next.
2. *Score.* What is left, little more than k documents, is scored in float64 from the documents' own
   vectors, in rising order of terms: the operations of `tamis.index.reference`, whose scores and
   order these are.

Why none is missed: a sum differs from its score, in units, by at most the *margin*: one image step
and the rounding of each term. If P is the k-th largest sum, k documents score at least P less the
margin's upper part, and so does each of the true k best; its sum is at least P less the margin.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from numba import cuda

from tamis.kernels.search import loops
from tamis.kernels.search.loops import IMAGE_MAX, SIMULATED, THREADS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from tamis.kernels.search.tiles import Tiles

UNITS = 0.99 * 2**31  # what a query's largest possible sum is scaled to
QUERIES = 512  # answered at a time
FOUND = 1 << 11 if SIMULATED else 1 << 17  # places for documents found, a query
FIRST_TILES = 8
MOST_GROWTH = 128
SPARE = 256  # places for candidates beyond k


class Queries(NamedTuple):
    """A batch in rows, on the device of the tiles.

    Attributes:
        starts: ``[Q + 1]`` int32.
        rows: ``[nnz]`` int32, rising within a query, -1 for a term that no document holds.
        weights: ``[nnz]`` float32.
    """

    starts: torch.Tensor
    rows: torch.Tensor
    weights: torch.Tensor


class Best(NamedTuple):
    """The best documents of each query.

    Attributes:
        docs: ``[Q, k]`` int64, -1 where fewer matched.
        scores: ``[Q, k]`` float32, falling, 0 there; equal scores by rising document.
        work: ``[Q]`` int64, documents scored in full.
    """

    docs: torch.Tensor
    scores: torch.Tensor
    work: torch.Tensor


def search(
    tiles: Tiles,
    starts: torch.Tensor,
    terms: torch.Tensor,
    weights: torch.Tensor,
    k: int,
    allowed: torch.Tensor | None = None,
) -> Best:
    """The k best documents of each query by dot product, precisely.

    Args:
        tiles: the documents.
        starts: ``[Q + 1]`` int64, where each query begins.
        terms: ``[nnz]`` int32 below V, rising within a query.
        weights: ``[nnz]`` float32, finite and above 0.
        k: at least 1.
        allowed: ``[documents]`` uint8, 0 for those that may not be found; None for none such.

    Raises:
        ValueError: the tiles lie on no GPU.
    """
    device = tiles.begins.device
    if device.type != "cuda" and not SIMULATED:
        raise ValueError(
            f"expected documents on a GPU, found them on {device}; "
            "bring them there with device='cuda', or search the index itself"
        )
    rows = tiles.rows[terms.to(device).long()]
    batch = Queries(starts.to(device, torch.int32), rows, weights.to(device))
    with _launching(device):
        parts = [
            _search(tiles, part, k, allowed, _Room(FOUND, k + SPARE))
            for part in _batches(batch, starts, QUERIES)
        ]
    if not parts:
        return Best(*(_nothing(device, 0, k)))
    return Best(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _batches(batch: Queries, starts: torch.Tensor, size: int) -> Iterator[Queries]:
    bounds = starts.tolist()
    for first in range(0, len(bounds) - 1, size):
        last = min(first + size, len(bounds) - 1)
        entries = slice(bounds[first], bounds[last])
        own = batch.starts[first : last + 1] - bounds[first]
        yield Queries(own, batch.rows[entries], batch.weights[entries])


class _Room(NamedTuple):
    """Places for documents of each query: those found, and those that are scored in full."""

    found: int
    scored: int


def _search(
    tiles: Tiles, queries: Queries, k: int, allowed: torch.Tensor | None, room: _Room
) -> Best:
    """Answer a batch; queries for which there was too little room are answered again."""
    device, count = tiles.begins.device, len(queries.starts) - 1
    if tiles.documents == 0 or len(queries.rows) == 0:
        return Best(*_nothing(device, count, k))
    sums = _Sums.of(tiles, queries, room.found)
    for phase in _phases(tiles.order, min(max(room.found // (8 * k), 2), MOST_GROWTH)):
        sums.find(tiles, phase, allowed)
        sums.raise_least(k)
    best = _scored(tiles, queries, sums, k, room.scored)
    full = (sums.counts > room.found) | (best.work > room.scored)
    for query in full.nonzero()[:, 0].tolist():  # many documents about as good as the k-th
        more = _Room(4 * room.found, max(room.scored, int(best.work[query])))
        again = _search(tiles, _one(queries, query), k, allowed, more)
        for whole, part in zip(best, again, strict=True):
            whole[query] = part[0]
    return best


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """What the phases of a batch share: units and margins, and the documents found so far."""

    queries: Queries
    units: torch.Tensor  # [nnz] float32, what an image step adds
    margins: torch.Tensor  # [Q] int32
    least: torch.Tensor  # [Q] int32, the least sum that is noted
    docs: torch.Tensor  # [Q, F] int32
    sums: torch.Tensor  # [Q, F] int32
    counts: torch.Tensor  # [Q] int32, may pass F

    @staticmethod
    def of(tiles: Tiles, queries: Queries, places: int) -> _Sums:
        device, count = tiles.begins.device, len(queries.starts) - 1
        occurs = queries.rows >= 0
        steps = torch.where(occurs, tiles.steps[queries.rows.clamp_min(0).long()], 0)
        shares = queries.weights.double() * steps  # of one image step
        lengths = queries.starts.diff().long()
        of = torch.repeat_interleave(torch.arange(count, device=device), lengths)
        largest = shares.new_zeros(count).index_add_(0, of, shares) * IMAGE_MAX
        scale = torch.where(largest > 0, UNITS / largest.clamp_min(1e-300), 0)
        units = shares * scale[of]
        errors = units * (1.01 + IMAGE_MAX * 2.0**-22) + 2
        margins = shares.new_zeros(count).index_add_(0, of, errors)
        return _Sums(
            queries,
            units.float(),
            margins.ceil().to(torch.int32),
            queries.starts.new_ones(count),
            torch.empty(count, places, dtype=torch.int32, device=device),
            torch.empty(count, places, dtype=torch.int32, device=device),
            queries.starts.new_zeros(count),
        )

    def find(self, tiles: Tiles, phase: torch.Tensor, allowed: torch.Tensor | None) -> None:
        """Note the documents of some tiles whose sums are good enough."""
        every = self.counts.new_empty(0, dtype=torch.uint8)
        _launch(
            loops.find,
            (len(self.counts), len(phase)),
            *(phase, tiles.postings, tiles.bases, tiles.slices),
            *(self.queries.starts, self.queries.rows, self.units, self.least),
            *(every if allowed is None else allowed, tiles.documents),
            *(self.docs, self.sums, self.counts),
        )

    def raise_least(self, k: int) -> None:
        """Ask of what follows what k documents have reached, less the margin."""
        grid = (len(self.counts), 1)
        _launch(loops.select, grid, self.sums, self.counts, k, self.margins, self.least)


def _scored(tiles: Tiles, queries: Queries, sums: _Sums, k: int, places: int) -> Best:
    """The best of the documents found whose sums reach the least; ``places`` of them at most."""
    device, count = tiles.begins.device, len(sums.counts)
    candidates = torch.zeros(count, places, dtype=torch.int32, device=device)
    chosen = torch.zeros(count, dtype=torch.int32, device=device)
    _launch(
        loops.gather, (count, 1), sums.docs, sums.sums, sums.counts, sums.least, candidates, chosen
    )
    scores = torch.zeros(candidates.shape, dtype=torch.float64, device=device)
    _launch(
        loops.score,
        (count, -(-candidates.shape[1] // THREADS)),
        *(tiles.begins, tiles.terms, tiles.weights),
        *queries,
        *(candidates, chosen, scores),
    )
    rounded = scores.float()
    # falling scores, then rising documents; a score above 0 has rising bits
    keys = (rounded.view(torch.int32).long() << 32) | (0xFFFFFFFF - candidates.long())
    order = torch.sort(keys, descending=True).indices[:, :k]
    best, top = candidates.gather(1, order).long(), rounded.gather(1, order)
    best = torch.where(top > 0, best, -1)
    return Best(best, top, chosen.long())


def _phases(order: torch.Tensor, growth: int) -> Iterator[torch.Tensor]:
    """The tiles in pieces, each ``growth`` times as large as all before; a short last one joins."""
    first, size = 0, FIRST_TILES
    while first < len(order):
        last = first + size
        last = len(order) if len(order) - last < size // 4 else min(last, len(order))
        yield order[first:last]
        first, size = last, growth * last


def _one(queries: Queries, query: int) -> Queries:
    first, last = queries.starts[query : query + 2].tolist()
    starts = queries.starts[query : query + 2] - first
    return Queries(starts, queries.rows[first:last], queries.weights[first:last])


def _nothing(device: torch.device, count: int, k: int) -> tuple[torch.Tensor, ...]:
    return (
        torch.full((count, k), -1, device=device),
        torch.zeros(count, k, device=device),
        torch.zeros(count, dtype=torch.int64, device=device),
    )


def _launch(kernel: Any, grid: tuple[int, int], *arguments: Any) -> None:  # noqa: ANN401
    """Launch on the stream that torch works on."""
    seen = [_seen(one) if isinstance(one, torch.Tensor) else one for one in arguments]
    stream = 0 if SIMULATED else cuda.external_stream(torch.cuda.current_stream().cuda_stream)
    kernel[grid, THREADS, stream](*seen)


def _seen(tensor: torch.Tensor) -> Any:  # noqa: ANN401  an array as Numba knows it
    return tensor.numpy() if SIMULATED else cuda.as_cuda_array(tensor, sync=False)


def _launching(device: torch.device) -> AbstractContextManager[object]:
    return contextlib.nullcontext() if SIMULATED else torch.cuda.device(device)
