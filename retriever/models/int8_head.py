"""The vocabulary head of a BERT of int8 rows: what cannot win is not multiplied.

Of a text's 30,522 terms some 200 are kept. Three steps, each for fewer terms, find those 200 and
their exact weights:

1. An upper bound of every term's logit, from a product over a few numbers a token. Hidden states
   lie close to a space of few directions. Along those a logit is a short product; what lies across
   adds at most the token's distance from the space times the term's (Cauchy and Schwarz). The
   distances stand in the product as further numbers, so that the bound is one product itself.
2. A product of full width in 8 bits, for the terms whose bound reaches the 200th.
3. A sum in float32, for the pairs of token and term that 8 bits leave open.

Every bound holds for any directions: they decide how much is multiplied, never what comes out.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from tamis.kernels.head.cpu import NON_FINITE, Selection, SparseRows
from tamis.kernels.int8 import (
    ZERO,
    Int8Matrix,
    int8_product_rounded,
    int8_sums,
    pack_int8,
)
from tamis.kernels.product import product
from tamis.retriever.models import head_loops as loops
from tamis.retriever.models.row_loops import round_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tamis.kernels.head.activation import Activation

    Floats = NDArray[np.float32]
    Terms = NDArray[np.int32]

RANK = 156  # directions
SPREAD = 4  # numbers that a distance is spread over: one alone would take all of the 8 bits
FITTED_TOKENS = 2048  # that directions are found from
MOST_BOUNDED = 4096  # terms a text whose bounds reach: with more, directions are found anew
COLUMNS = 4096  # terms bounded together: their bounds stay near a core's cache
BLOCK = 256  # terms multiplied together in full
FIRST = BLOCK  # terms, beyond those that are kept, whose logits give the first bar
ROWS = 64  # a text's tokens, in multiples of so many: one shape of a product for many texts
STEPS_OF_ERROR = 14  # of a rounded bound's 256, that rounding may move the largest row's
FLOOR = STEPS_OF_ERROR + 2  # stands for a logit of 0; what is rounded to 0 is surely below it
MOST_STEPS = 256  # of a bar: beyond what a byte holds it bounds no more
NEVER = -512  # steps of error of a term that is not wanted
ROUNDING = 1.51  # steps: a half, what a cut to whole numbers takes, and what float32 may


class VocabularyMatrix(NamedTuple):
    """A vocabulary matrix of int8 rows.

    rows:   [V, D] int8.
    scales: [V] float32.
    bias:   [V] float32.
    norms:  [V] float32, of the rows times their scales.
    """

    rows: NDArray[np.int8]
    scales: Floats
    bias: Floats
    norms: Floats

    @staticmethod
    def of(rows: NDArray[np.int8], scales: Floats, bias: Floats) -> VocabularyMatrix:
        """Take rows [V, D] with scales [V] and bias [V]."""
        made = VocabularyMatrix(rows, scales, bias, np.empty_like(scales))
        for some in made.parts():
            made.norms[some] = made.matrix(some).norm(dim=1).numpy()
        return made

    def parts(self) -> Iterator[slice]:
        """Its terms, some at a time: in float32 all of them would be large."""
        for start in range(0, len(self.rows), COLUMNS):
            yield slice(start, start + COLUMNS)

    def matrix(self, some: slice) -> torch.Tensor:
        """[N, D] float32, some of its rows times their scales."""
        return torch.from_numpy(self.rows[some]) * torch.from_numpy(self.scales[some])[:, None]


class Bound(NamedTuple):
    """An upper bound of every logit, as a product of 8-bit numbers.

    space:  None where tokens are multiplied as they are.
    chunks: of the terms, packed, with their bias.
    norms:  [V] float32, of the terms' numbers.
    lost:   [V] float32, lengths of what rounding took from them.
    """

    space: Space | None
    chunks: Sequence[tuple[Int8Matrix, torch.Tensor]]
    norms: Floats
    lost: Floats

    @staticmethod
    def whole(terms: VocabularyMatrix) -> Bound:
        """The product of full width."""
        rows, scales, bias = map(torch.from_numpy, terms[:3])
        return Bound(None, list(_chunks(rows, scales, bias)), terms.norms, np.zeros_like(terms[1]))

    @staticmethod
    def along(space: Space, terms: VocabularyMatrix) -> Bound:
        """The product along a space's directions, and of the distances from it."""
        width, nowhere = len(space.directions) + SPREAD, np.zeros(len(space.mean), np.float32)
        signed = np.empty((len(terms.rows), width), np.int8)
        scales, bias, norms, lost = (np.empty_like(terms.scales) for _ in range(4))
        for some in terms.parts():
            matrix = terms.matrix(some)
            numbers = np.empty((len(matrix), width), np.float32)
            images = product(matrix, space.directions).numpy()
            loops.add_distances(matrix.numpy(), nowhere, images, numbers)
            numbers[:, len(space.directions) :] /= SPREAD
            rounded = np.empty(numbers.shape, np.uint8)
            round_rows(numbers, rounded, scales[some])
            loops.rounding_errors(numbers, rounded, scales[some], lost[some])
            signed[some] = (rounded ^ np.uint8(ZERO)).view(np.int8)
            norms[some] = np.linalg.norm(numbers, axis=1)
            bias[some] = terms.bias[some] + (matrix @ space.mean).numpy()
        packed = _chunks(*map(torch.from_numpy, (signed, scales, bias)))
        return Bound(space, list(packed), norms, lost)

    def pooled(
        self, hidden: torch.Tensor, bounds: Sequence[int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int16], float]:
        """The bounds of each text's terms.

        Returns:
            [B, V or more] uint8 in steps from `FLOOR`, the steps [V] that each may be too low, and
            what a step is worth.
        """
        numbers = hidden.numpy() if self.space is None else self.space.numbers(hidden)
        rounded = np.empty(numbers.shape, np.uint8)
        scale, lost, left = loops.round_together(numbers, rounded)
        moved = lost * self.norms + left * self.lost
        step = max(float(moved.max()), float(scale)) / STEPS_OF_ERROR
        rows, texts = torch.from_numpy(rounded), list(itertools.pairwise(bounds))
        size = len(self.chunks[0][1])
        top = torch.zeros((len(texts), len(self.chunks) * size), dtype=torch.uint8)
        for place, (matrix, bias) in enumerate(self.chunks):
            found = int8_product_rounded(rows, float(scale), matrix, bias, step, FLOOR)
            columns = slice(place * size, (place + 1) * size)
            for b, (a, e) in enumerate(texts):
                if e > a:
                    torch.amax(found[a:e], 0, out=top[b, columns])
        return top.numpy(), (moved / step + ROUNDING).astype(np.int16), step


class Space(NamedTuple):
    """Directions near which hidden states lie.

    directions: [r, D] float32, each of length 1 and across the others.
    mean:       [D] float32, where they start.
    """

    directions: torch.Tensor
    mean: torch.Tensor

    @staticmethod
    def near(hidden: torch.Tensor, rank: int) -> Space:
        """Those of most variance among tokens [T, D].

        They are turned, so that no number of a token is much larger than the others: all share one
        scale.
        """
        mean = hidden.mean(0)
        away = hidden - mean
        _, vectors = torch.linalg.eigh(away.T @ away)
        generator = torch.Generator().manual_seed(0)
        turn, _ = torch.linalg.qr(torch.randn(rank, rank, generator=generator))
        return Space((vectors[:, -rank:] @ turn).T.contiguous(), mean)

    def numbers(self, hidden: torch.Tensor) -> Floats:
        """What a bound multiplies of tokens [T, D]: images, and distances `SPREAD` times."""
        images = product(hidden, self.directions, -(self.directions @ self.mean))
        out = np.empty((len(hidden), len(self.directions) + SPREAD), np.float32)
        loops.add_distances(hidden.numpy(), self.mean.numpy(), images.numpy(), out)
        return out


class Int8Head:
    """Term weights of hidden states: those of `cpu.encode` in float32, but for the order of sums.

    The first `FITTED_TOKENS` tokens are bounded in full width, then along directions found from
    them. Safe to call from several threads.
    """

    def __init__(self, terms: VocabularyMatrix, rank: int = RANK) -> None:
        """Serve a vocabulary, with bounds along so many directions where that is fewer numbers."""
        self.terms = terms
        self.bound = self._whole = Bound.whole(terms)
        self._rank = rank
        self._pays = rank + SPREAD < terms.rows.shape[1]
        self._seen: list[torch.Tensor] = []
        self._finding = False
        self._lock = threading.Lock()

    def encode(
        self,
        hidden: torch.Tensor,
        bounds: Sequence[int],
        activation: Activation,
        logit_scale: float,
        keep: Selection,
    ) -> SparseRows:
        """The sparse rows of texts.

        Args:
            hidden: [T, D] float32, packed tokens; T may be more than the last of ``bounds``.
            bounds: B + 1 row numbers.
            activation: applied to the pooled logit.
            logit_scale: positive factor of the logits.
            keep: which of the weights.

        Raises:
            ValueError: a hidden state is NaN or infinite.
        """
        if not torch.isfinite(hidden).all():
            raise ValueError(NON_FINITE)
        bound = self.bound
        upper, error, step = bound.pooled(hidden, bounds)
        if keep.exclude is not None:
            error[keep.exclude.numpy()] = NEVER
        tokens, bounded, texts = _Tokens.of(hidden), 0, []
        for row, (a, e) in zip(upper, itertools.pairwise(bounds), strict=True):
            terms, logits = self._logits(tokens, a, e, (row[: error.size], error, step), keep.top_n)
            bounded += len(terms)
            texts.append(_weights(terms, logits, activation, logit_scale, keep))
        self._learn(bound, hidden[: bounds[-1]], bounded / max(1, len(texts)))
        counts = torch.tensor([0, *(len(terms) for terms, _ in texts)])
        return SparseRows(
            counts.cumsum(0),
            torch.cat([terms for terms, _ in texts]).to(torch.int32),
            torch.cat([weights for _, weights in texts]),
        )

    def _logits(
        self,
        tokens: _Tokens,
        start: int,
        end: int,
        bounded: tuple[NDArray[np.uint8], NDArray[np.int16], float],
        top_n: int | None,
    ) -> tuple[Terms, Floats]:
        """A text's terms that may be kept, and their logits; -inf for one that is not."""
        upper, error, step = bounded
        out = np.empty(len(error), np.int32)
        if end == start:
            return out[:0], np.empty(0, np.float32)
        if top_n is None:
            terms = out[: loops.pick_reaching(upper, error, FLOOR, out[:0], out)]
            return terms, self._multiplied(tokens, start, end, terms, 0.0)
        count = min(len(error), FIRST + top_n)
        first = np.empty(count, np.int32)
        first = first[: loops.pick_highest(upper, error, FLOOR, count, first)]
        logits = self._multiplied(tokens, start, end, first, 0.0)
        bar = max(0.0, float(np.partition(logits, -top_n)[-top_n])) if len(first) > top_n else 0.0
        least = FLOOR + int(np.ceil(min(bar / step - 0.01, MOST_STEPS)))
        rest = out[: loops.pick_reaching(upper, error, least, first, out)]
        more = self._multiplied(tokens, start, end, rest, bar)
        return np.concatenate([first, rest]), np.concatenate([logits, more])

    def _multiplied(
        self, tokens: _Tokens, start: int, end: int, terms: Terms, bar: float
    ) -> Floats:
        """The largest logits [N] of terms over a text, -inf for one below the bar."""
        inputs = tokens.rounded[start : start + -(-(end - start) // ROWS) * ROWS]
        text = (tokens.hidden[start:end], tokens.scales[start:end], tokens.lost[start:end])
        logits = np.empty(len(terms), np.float32)
        for first in range(0, len(terms), BLOCK):
            some = terms[first : first + BLOCK]
            rows = torch.from_numpy(self.terms.rows[np.resize(some, BLOCK)])
            products = int8_sums(inputs, rows).numpy()
            out = logits[first : first + BLOCK]
            loops.exact_maxima(products, text, some, tuple(self.terms), np.float32(bar), out)
        return logits

    def _learn(self, bound: Bound, hidden: torch.Tensor, bounded: float) -> None:
        """Find directions once enough tokens were seen, and anew where they do not serve."""
        found = bound.space is not None
        if not self._pays or (found and bounded <= MOST_BOUNDED):
            return
        with self._lock:
            if bound is not self.bound or self._finding:
                return
            if found:
                self.bound = self._whole
                return
            self._seen.append(hidden.clone())
            if sum(map(len, self._seen)) < FITTED_TOKENS:
                return
            seen, self._seen, self._finding = torch.cat(self._seen), [], True
        self.bound = Bound.along(Space.near(seen, self._rank), self.terms)
        self._finding = False


class _Tokens(NamedTuple):
    """Hidden states [T, D], and the same in 8 bits, each with a scale.

    hidden:  float32.
    rounded: [T + ROWS, D] int8; what the last give is never read.
    scales:  [T] float32.
    lost:    [T] float32, lengths of what rounding took away.
    """

    hidden: Floats
    rounded: torch.Tensor
    scales: Floats
    lost: Floats

    @staticmethod
    def of(hidden: torch.Tensor) -> _Tokens:
        states = hidden.numpy()
        rounded = np.zeros((len(states) + ROWS, states.shape[1]), np.uint8)
        scales, lost = np.empty(len(states), np.float32), np.empty(len(states), np.float32)
        round_rows(states, rounded, scales)
        loops.rounding_errors(states, rounded, scales, lost)
        signed = torch.from_numpy(rounded ^ np.uint8(ZERO)).view(torch.int8)
        return _Tokens(states, signed, scales, lost)


def _weights(
    terms: Terms,
    logits: Floats,
    activation: Activation,
    logit_scale: float,
    keep: Selection,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The terms that are kept, rising, and their weights."""
    above = np.flatnonzero(logits > 0)
    order = above[np.argsort(terms[above])]
    kept = torch.from_numpy(terms[order])
    weights = activation.apply(torch.from_numpy(logits[order]) * logit_scale)
    heavy = weights > keep.threshold
    kept, weights = kept[heavy], weights[heavy]
    if keep.top_n is not None and len(kept) > keep.top_n:
        best = torch.argsort(weights, descending=True, stable=True)[: keep.top_n].sort().values
        kept, weights = kept[best], weights[best]
    return kept, weights


def _chunks(
    rows: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor
) -> Iterator[tuple[Int8Matrix, torch.Tensor]]:
    """Terms packed some `COLUMNS` at a time, all alike: added terms are never reached."""
    count = -(-len(rows) // COLUMNS)
    size = -(-len(rows) // count)
    added = count * size - len(rows)
    rows = torch.nn.functional.pad(rows, (0, 0, 0, added))
    scales = torch.nn.functional.pad(scales, (0, added), value=1.0)
    bias = torch.nn.functional.pad(bias, (0, added), value=torch.finfo(torch.float32).min / 2)
    for cols in (slice(i * size, (i + 1) * size) for i in range(count)):
        yield pack_int8(rows[cols], scales[cols]), bias[cols].contiguous()
