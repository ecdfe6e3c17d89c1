"""Exact search of sparse queries on a GPU; knows nothing of files or segments.

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

from contextlib import ExitStack
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numba import cuda

from tamis.kernels.search import loops
from tamis.kernels.search.loops import IMAGE_MAX, SIMULATED, THREADS, TILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from tamis.kernels.search.tiles import Tiles

UNITS = 0.99 * 2**31  # what a query's largest possible sum is scaled to
QUERIES = 512  # answered at a time
FOUND = 1 << 11 if SIMULATED else 1 << 17  # places for documents found, a query
SAMPLE = 64  # documents of the first phase to each that is asked for
SPARE = 256  # places for candidates beyond k
FEW_KEYS = 1 << 14  # are sorted sooner by the processor
PLACES = 0xFFFFFFFF  # the lower half of a key
RECORDING = Lock()  # torch records one graph at a time, whatever the device


class Queries(NamedTuple):
    """A batch of sparse queries.

    Attributes:
        starts: ``[Q + 1]`` int64, where each begins.
        terms: ``[nnz]`` int32, rising within a query.
        weights: ``[nnz]`` float32, finite and above 0.
    """

    starts: NDArray[np.int64]
    terms: NDArray[np.int32]
    weights: NDArray[np.float32]

    def rows(self, first: int, last: int) -> Queries:
        """Some of the queries."""
        entries = slice(self.starts[first], self.starts[last])
        starts = self.starts[first : last + 1] - self.starts[first]
        return Queries(starts, self.terms[entries], self.weights[entries])


class Best(NamedTuple):
    """The best documents of each query.

    Attributes:
        docs: ``[Q, k]`` int32, -1 where fewer matched.
        scores: ``[Q, k]`` float32, falling, 0 there; equal scores by rising document.
        work: ``[Q]`` int64, documents scored in full.
    """

    docs: NDArray[np.int32]
    scores: NDArray[np.float32]
    work: NDArray[np.int64]


class TileSearch:
    """Searches documents on one device; safe to use from many threads, one after the other."""

    def __init__(self, tiles: Tiles) -> None:
        """Make room on the tiles' device.

        Raises:
            ValueError: they lie on no GPU.
        """
        device = tiles.begins.device
        if device.type != "cuda" and not SIMULATED:
            raise ValueError(
                f"expected documents on a GPU, found them on {device}; "
                "bring them there with device='cuda', or search the index itself"
            )
        self._tiles = tiles
        with _launching(device):
            self._seen = {name: _seen(getattr(tiles, name)) for name in tiles.__slots__}
            self._all = _seen(torch.empty(0, dtype=torch.uint8, device=device))
        self._rows, self._steps = tiles.rows.cpu().numpy(), tiles.steps.cpu().numpy()
        self._room: dict[tuple[int, int, int], _Room] = {}  # the last, and one for a query alone
        self._turn = Lock()

    def search(self, queries: Queries, k: int, allowed: NDArray[np.bool_] | None = None) -> Best:
        """The k best documents of each query by dot product, precisely.

        Args:
            queries: over the vocabulary of the tiles.
            k: at least 1.
            allowed: ``[documents]``, which may be found; None for all.
        """
        device, count = self._tiles.begins.device, len(queries.starts) - 1
        with self._turn, _launching(device):
            bits = self._all
            if allowed is not None:
                bits = _seen(torch.from_numpy(np.array(allowed).view(np.uint8)).to(device))
            parts = [
                self._batch(queries.rows(first, min(first + QUERIES, count)), k, bits)
                for first in range(0, count, QUERIES)
            ]
        if len(parts) == 1:
            return parts[0]
        return Best(*map(np.concatenate, zip(_nothing(0, k), *parts, strict=True)))

    def _batch(
        self,
        queries: Queries,
        k: int,
        allowed: Any,  # noqa: ANN401  as Numba knows it
        found: int = 0,
        scored: int = 0,
    ) -> Best:
        """Answer a batch, with room for so many documents found and scored of each query."""
        count = len(queries.starts) - 1
        known = _scaled(queries, self._rows, self._steps)
        if self._tiles.documents == 0 or len(known.rows) == 0:
            return _nothing(count, k)
        found, scored = found or FOUND, scored or k + SPARE
        room = self._roomy(count, len(known.rows), found, scored)
        room.take(known)

        def work() -> torch.Tensor:
            for phase in _phases(len(self._tiles.order), k, found):
                room.find(self._seen, self._tiles.documents, phase, allowed)
                room.raise_least(k)
            return room.keyed(self._seen, scored)

        replays = count == 1 and allowed is self._all and not SIMULATED
        best, counts = room.best(room.replayed(k, work) if replays else work(), k)
        full = (counts > found) | (best.work > scored)
        for query in np.flatnonzero(full).tolist():  # many documents about as good as the k-th
            one = queries.rows(query, query + 1)
            again = self._batch(one, k, allowed, 4 * found, max(scored, int(best.work[query])))
            best.docs[query], best.scores[query] = again.docs[0], again.scores[0]
            best.work[query] = again.work[0]
        return best

    def _roomy(self, count: int, entries: int, found: int, scored: int) -> _Room:
        """Arrays of the device for a batch of this size, those of an earlier one if they do."""
        wanted = (_power(count), found, scored)
        room = self._room.get(wanted)
        if room is None or len(room.rows) < entries:
            if len(self._room) > 1:
                self._room.clear()
            device = self._tiles.begins.device
            room = self._room[wanted] = _Room(wanted, _power(entries), device)
        return room


class _Scaled(NamedTuple):
    """Queries in rows, with what one image step of each term adds to a sum."""

    starts: NDArray[np.int32]  # [Q + 1]
    rows: NDArray[np.int32]  # [nnz], rising within a query
    weights: NDArray[np.float32]
    units: NDArray[np.float32]
    margins: NDArray[np.int32]  # [Q]


def _scaled(queries: Queries, rows: NDArray[np.int32], steps: NDArray[np.float32]) -> _Scaled:
    """Leave out terms that no document holds; scale so that the largest sum is `UNITS`."""
    held = rows[queries.terms]
    occurs = held >= 0
    starts = np.concatenate([[0], np.cumsum(occurs)])[queries.starts]
    held, weights = held[occurs], queries.weights[occurs]
    shares = weights.astype(np.float64) * steps[held]  # of one image step
    lengths = np.diff(starts)
    of = np.repeat(np.arange(len(lengths)), lengths)
    largest = np.bincount(of, shares, len(lengths)) * IMAGE_MAX
    units = shares * (UNITS / largest[of])
    errors = units * (1.01 + IMAGE_MAX * 2.0**-22) + 2  # of a sum, from each term
    margins = np.ceil(np.bincount(of, errors, len(lengths)))
    return _Scaled(
        starts.astype(np.int32),
        held,
        weights,
        units.astype(np.float32),
        margins.astype(np.int32),
    )


class _Room:
    """Arrays of a device that one batch after the other works in, and what is done in them."""

    def __init__(self, size: tuple[int, int, int], entries: int, device: torch.device) -> None:
        count, found, scored = size

        def array(*shape: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
            return torch.empty(*shape, dtype=dtype, device=device)

        self.count = 0
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, torch.Tensor] | None] = {}
        self.starts, self.rows = array(count + 1), array(entries)
        self.units, self.weights = (array(entries, dtype=torch.float32) for _ in range(2))
        self.numbers = array(4, count)  # margins, least sums, documents found, chosen
        self.docs, self.sums = array(count, found), array(count, found)
        self.candidates = array(count, scored)
        self.scores = array(count, scored, dtype=torch.float64)
        names = ("starts", "rows", "units", "weights", "docs", "sums", "candidates", "scores")
        self._seen = {name: _seen(getattr(self, name)) for name in names}
        self._margins, self._least, self._counts, self._chosen = map(_seen, self.numbers)

    def take(self, queries: _Scaled) -> None:
        """Begin a batch."""
        self.count = len(queries.margins)
        zeros = np.zeros_like(queries.margins)
        numbers = np.stack([queries.margins, zeros + 1, zeros, zeros])
        self.numbers[:, : self.count].copy_(torch.from_numpy(numbers))
        for name in ("starts", "rows", "units", "weights"):
            values = torch.from_numpy(getattr(queries, name))
            getattr(self, name)[: len(values)].copy_(values)

    def replayed(self, k: int, work: Callable[[], torch.Tensor]) -> torch.Tensor:
        """What ``work`` returns; its launches are recorded the second time, and replayed then.

        A query alone is answered sooner by the card than its launches are made one by one.
        """
        if k not in self._graphs:
            self._graphs[k] = None
            return work()
        recorded = self._graphs[k]
        if recorded is None:
            graph, stream = torch.cuda.CUDAGraph(), _new_stream()
            with (
                RECORDING,
                torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
            ):
                keys = work()
            recorded = self._graphs[k] = (graph, keys)
        recorded[0].replay()
        return recorded[1]

    def find(self, tiles: Mapping[str, Any], documents: int, phase: range, allowed: Any) -> None:  # noqa: ANN401
        """Note the documents of some tiles whose sums are good enough."""
        seen = self._seen
        loops.find[(self.count, len(phase)), THREADS, _stream()](
            *(tiles["order"], phase.start, tiles["postings"], tiles["bases"], tiles["slices"]),
            *(seen["starts"], seen["rows"], seen["units"], self._least),
            *(allowed, documents),
            *(seen["docs"], seen["sums"], self._counts),
        )

    def raise_least(self, k: int) -> None:
        """Ask of what follows what k documents have reached, less the margin."""
        loops.select[self.count, THREADS, _stream()](
            self._seen["sums"], self._counts, k, self._margins, self._least
        )

    def keyed(self, tiles: Mapping[str, Any], places: int) -> torch.Tensor:
        """Score the documents whose sums reach the least: ``[Q, places]`` int64.

        A key holds a score's bits, which rise with it, above what falls with the document's number.
        """
        seen, count = self._seen, self.count
        found = (seen["docs"], seen["sums"], self._counts, self._least)
        chosen = (places, seen["candidates"], self._chosen)
        loops.gather[count, THREADS, _stream()](*found, *chosen)
        scores = self.scores[:count].zero_()
        loops.score[(count, -(-places // THREADS)), THREADS, _stream()](
            *(tiles["begins"], tiles["terms"], tiles["weights"]),
            *(seen["starts"], seen["rows"], seen["weights"]),
            *(*chosen, seen["scores"]),
        )
        below = ~self.candidates[:count].long() & PLACES
        return scores.float().view(torch.int32).long() << 32 | below

    def best(self, keys: torch.Tensor, k: int) -> tuple[Best, NDArray[np.int32]]:
        """The k best by their keys, and how many documents were found."""
        numbers = self.numbers[:, : self.count].cpu().numpy()
        if keys.numel() <= FEW_KEYS:
            keys = keys.cpu()
        keys = torch.sort(keys, descending=True).values[:, :k]
        scores = (keys >> 32).int().view(torch.float32)
        docs = torch.where(scores > 0, ~keys & PLACES, -1).int()
        found = Best(docs.cpu().numpy(), scores.cpu().numpy(), numbers[3].astype(np.int64))
        return found, numbers[2]


def _phases(tiles: int, k: int, found: int) -> Iterator[range]:
    """The tiles in pieces, each some times as large as all before; a short last one joins."""
    growth = max(found // (8 * k), 2)  # so that what a phase finds takes an eighth of the room
    first, size = 0, max(-(-SAMPLE * k // TILE), 1)
    while first < tiles:
        last = tiles if tiles - first < size + size // 4 else first + size
        yield range(first, last)
        first, size = last, growth * last


def _nothing(count: int, k: int) -> Best:
    docs, scores = np.full((count, k), -1, np.int32), np.zeros((count, k), np.float32)
    return Best(docs, scores, np.zeros(count, np.int64))


def _power(number: int) -> int:
    """The least power of two that is at least a number above 0."""
    return 1 << (number - 1).bit_length()


def _seen(tensor: torch.Tensor) -> Any:  # noqa: ANN401  an array as Numba knows it
    return tensor.numpy() if SIMULATED else cuda.as_cuda_array(tensor, sync=False)


def _new_stream() -> torch.cuda.Stream:
    """A stream of the device in use; torch records on one of its own, of the first device."""
    kind: Any = torch.cuda.Stream  # untyped
    stream: torch.cuda.Stream = kind()
    return stream


def _stream() -> Any:  # noqa: ANN401  Numba's name for the stream that torch works on
    number = 0 if SIMULATED else torch.cuda.current_stream().cuda_stream
    return cuda.external_stream(number) if number else 0


def _launching(device: torch.device) -> ExitStack:
    """Launches go to the device, as torch and as Numba see it."""
    stack = ExitStack()
    if not SIMULATED:
        from numba.cuda.core import config

        config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a query alone has few blocks
        number = torch.cuda.current_device() if device.index is None else device.index
        stack.enter_context(torch.cuda.device(number))
        stack.enter_context(cuda.gpus[number])
    return stack
