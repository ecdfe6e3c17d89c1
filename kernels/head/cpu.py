"""The head in plain torch: the CPU path and the truth the Triton kernels are held to.

Rows are packed: `hidden [T, D]` holds the tokens of sequence b at `bounds[b] .. bounds[b + 1]`.
Everything is chunked over the vocabulary: memory never grows with T x V or, when encoding, B x V.
Knows nothing of masks, devices or argument checks (ops.py).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from tamis.kernels.product import product

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tamis.kernels.head.activation import Activation

LOGITS_ELEMENTS = 1 << 20  # logits alive at once, per thread of work: stays in a core's cache
GATHER_ELEMENTS = 1 << 22  # gathered hidden or weight elements alive at once in the backward
TOKEN_BLOCK = 512  # tokens multiplied together; longer sequences make longer blocks


class SparseRows(NamedTuple):
    """A batch of sparse rows in CSR form.

    offsets: [B + 1] int64, from 0 to nnz, never falling.
    terms:   [nnz] int32, rising within a row.
    weights: [nnz] float32, finite, > 0.
    """

    offsets: torch.Tensor
    terms: torch.Tensor
    weights: torch.Tensor


class Selection(NamedTuple):
    """Which weights become entries of a sparse row.

    threshold: only weights above it; at least 0.
    top_n:     at most this many a row, the heaviest, ties to the lower term; None for all.
    exclude:   [V] bool, terms never emitted; None for none.
    """

    threshold: float = 0.0
    top_n: int | None = None
    exclude: torch.Tensor | None = None


class _Head(NamedTuple):
    """What a head needs besides its weights: `bounds` are B + 1 row numbers."""

    bounds: Sequence[int]
    activation: Activation
    logit_scale: float


def head(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    bounds: Sequence[int],
    activation: Activation,
    logit_scale: float,
) -> torch.Tensor:
    """Return `activation(logit_scale * max_t(hidden_t . weight_v + bias_v))` as [B, V].

    Computed and returned in float32 (float64 for float64 inputs). A sequence without tokens is a
    row of zeros under every activation. NaN in a token makes its sequence's whole row NaN.
    """
    spec = _Head(bounds, activation, logit_scale)
    out: torch.Tensor = _MaxHead.apply(hidden, weight, bias, spec)
    return out


class _MaxHead(torch.autograd.Function):
    """Max pooling; saves the output and one row number per output entry."""

    @staticmethod
    def forward(ctx: Any, hidden, weight, bias, spec: _Head) -> torch.Tensor:  # noqa: ANN401
        shape = (len(spec.bounds) - 1, weight.shape[0])
        out = hidden.new_empty(shape, dtype=_wide(hidden.dtype))
        winner = torch.empty(shape, dtype=torch.int32, device=hidden.device)
        for cols in _columns(spec.bounds, weight.shape[0]):
            top, row = _pool(hidden, weight[cols], spec.bounds)
            winner[:, cols] = row
            out[:, cols] = _finish(top, bias, cols, spec)
        ctx.save_for_backward(hidden, weight, bias, out, winner)
        ctx.spec = spec
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        hidden, weight, bias, out, winner = ctx.saved_tensors
        spec: _Head = ctx.spec
        rows, wide = out.shape[0], out.dtype
        grad_hidden = torch.zeros(hidden.shape, dtype=wide, device=hidden.device)
        grad_weight = torch.zeros_like(weight)
        grad_bias = None if bias is None else torch.zeros_like(bias)
        step = max(1, GATHER_ELEMENTS // max(1, rows * hidden.shape[1]))
        for cols in _slices(weight.shape[0], step):
            g = grad[:, cols].to(wide) * spec.activation.slope(out[:, cols]) * spec.logit_scale
            g = torch.where(winner[:, cols] < 0, 0.0, g)  # empty rows have no winner
            picked = winner[:, cols].clamp(min=0).flatten()
            if picked.numel() and hidden.shape[0]:
                spread = g[:, :, None] * weight[cols].to(wide)  # [B, C, D]
                grad_hidden.index_add_(0, picked, spread.flatten(0, 1))
                tokens = hidden[picked].to(wide).view(*g.shape, -1)  # [B, C, D]
                grad_weight[cols] = torch.einsum("bc,bcd->cd", g, tokens).to(weight.dtype)
            if grad_bias is not None:
                grad_bias[cols] = g.sum(0).to(grad_bias.dtype)
        return grad_hidden.to(hidden.dtype), grad_weight, grad_bias, None


def head_sum(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    bounds: Sequence[int],
    activation: Activation,
    logit_scale: float,
) -> torch.Tensor:
    """Return `sum_t activation(logit_scale * (hidden_t . weight_v + bias_v))` as [B, V].

    SPLADE v1 pooling (arXiv 2107.05720, equation 4). The backward recomputes the logits by chunk.
    Same dtypes, empty rows and NaN as `head`.
    """
    spec = _Head(bounds, activation, logit_scale)
    out: torch.Tensor = _SumHead.apply(hidden, weight, bias, spec)
    return out


class _SumHead(torch.autograd.Function):
    """Sum pooling; saves nothing but its inputs."""

    @staticmethod
    def forward(ctx: Any, hidden, weight, bias, spec: _Head) -> torch.Tensor:  # noqa: ANN401
        ctx.save_for_backward(hidden, weight, bias)
        ctx.spec = spec
        out = hidden.new_zeros((len(spec.bounds) - 1, weight.shape[0]), dtype=_wide(hidden.dtype))
        for cols, first, block in _blocks(spec.bounds, weight.shape[0]):
            values = _activated(hidden, weight, bias, cols, block, spec)
            for b, (a, e) in enumerate(itertools.pairwise(block), start=first):
                torch.sum(values[a - block[0] : e - block[0]], 0, out=out[b, cols])
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        hidden, weight, bias = ctx.saved_tensors
        spec: _Head = ctx.spec
        wide = _wide(hidden.dtype)
        grad_hidden = torch.zeros(hidden.shape, dtype=wide, device=hidden.device)
        grad_weight = torch.zeros(weight.shape, dtype=wide, device=weight.device)
        grad_bias = torch.zeros(weight.shape[0], dtype=wide, device=weight.device)
        for cols, first, block in _blocks(spec.bounds, weight.shape[0]):
            rows = slice(block[0], block[-1])
            values = _activated(hidden, weight, bias, cols, block, spec)
            lengths = torch.tensor(block, device=grad.device).diff()
            upstream = grad[first : first + len(block) - 1, cols].to(wide)
            g = upstream.repeat_interleave(lengths, dim=0)
            g = g * spec.activation.slope(values) * spec.logit_scale  # [rows, C]
            grad_hidden[rows] += g @ weight[cols].to(wide)
            grad_weight[cols] += g.T @ hidden[rows].to(wide)
            grad_bias[cols] += g.sum(0)
        bias_out = None if bias is None else grad_bias.to(bias.dtype)
        return grad_hidden.to(hidden.dtype), grad_weight.to(weight.dtype), bias_out, None


@torch.no_grad()
def encode(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    bounds: Sequence[int],
    activation: Activation,
    logit_scale: float,
    keep: Selection,
) -> SparseRows:
    """Return the entries of `head` above `threshold` as CSR, never holding [B, V].

    Args:
        hidden: [T, D] packed tokens.
        weight: [V, D].
        bias: [V] or None.
        bounds: B + 1 row numbers.
        activation: applied to the pooled logit.
        logit_scale: positive factor of the logits.
        keep: which of the weights.

    Raises:
        ValueError: a weight is NaN or infinite.
    """
    spec = _Head(bounds, activation, logit_scale)
    pieces = []
    for cols in _columns(bounds, weight.shape[0]):
        logits = _shifted(_pool_values(hidden, weight[cols], bounds), bias, cols, spec).float()
        if keep.exclude is not None:
            logits.masked_fill_(keep.exclude[cols], 0.0)
        if not (logits < torch.inf).all():  # false for NaN too
            raise ValueError(NON_FINITE)
        row, term = (logits > 0).nonzero(as_tuple=True)  # no activation lifts a logit above 0
        values = activation.apply(logits[row, term])
        if keep.threshold > 0:
            heavy = values > keep.threshold
            row, term, values = row[heavy], term[heavy], values[heavy]
        pieces.append((row, term + cols.start, values))
    rows, terms, weights = (torch.cat(part) for part in zip(*pieces, strict=True))
    order = torch.argsort(rows, stable=True)  # pieces rise in term, so rows keep rising terms
    rows, terms, weights = rows[order], terms[order], weights[order]
    if keep.top_n is not None:
        kept = _heaviest(rows, weights, keep.top_n)
        rows, terms, weights = rows[kept], terms[kept], weights[kept]
    counts = torch.bincount(rows, minlength=len(bounds) - 1)
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    return SparseRows(offsets, terms.to(torch.int32), weights)


NON_FINITE = (
    "expected finite term weights, found NaN or infinity; "
    "the hidden states, weight or bias hold non-finite values: check the model and its dtype"
)


def _heaviest(rows: torch.Tensor, weights: torch.Tensor, top_n: int) -> torch.Tensor:
    """Return the positions, rising, of the `top_n` heaviest entries of each row."""
    by_weight = torch.argsort(weights, descending=True, stable=True)
    order = by_weight[torch.argsort(rows[by_weight], stable=True)]  # by row, then by falling weight
    counts = torch.bincount(rows)
    first = (counts.cumsum(0) - counts)[rows[order]]
    rank = torch.arange(len(order), device=rows.device) - first
    return order[rank < top_n].sort().values


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _finish(top: torch.Tensor, bias: torch.Tensor | None, cols: slice, spec: _Head) -> torch.Tensor:
    """Turn pooled raw logits [B, C] into weights: bias, scale, activation, zero for empty rows."""
    out = spec.activation.apply(_shifted(top, bias, cols, spec))
    empty = torch.tensor([a == e for a, e in itertools.pairwise(spec.bounds)], device=out.device)
    return out.masked_fill_(empty[:, None], 0.0)


def _shifted(
    top: torch.Tensor, bias: torch.Tensor | None, cols: slice, spec: _Head
) -> torch.Tensor:
    """Add bias and scale to pooled raw logits [B, C]; -inf for empty rows."""
    z = top if bias is None else top + bias[cols].to(top.dtype)
    return z * spec.logit_scale


def _pool(
    hidden: torch.Tensor, weight: torch.Tensor, bounds: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the maximal raw logits [B, C] and the row numbers [B, C] that reach them, or -1."""
    shape = (len(bounds) - 1, weight.shape[0])
    top = hidden.new_full(shape, -torch.inf, dtype=_wide(hidden.dtype))
    winner = torch.full(shape, -1, dtype=torch.int64, device=hidden.device)
    columns = weight.to(top.dtype).T
    for first, block in _token_blocks(bounds):
        logits = hidden[block[0] : block[-1]].to(top.dtype) @ columns
        for b, (a, e) in enumerate(itertools.pairwise(block), start=first):
            if e > a:
                torch.max(logits[a - block[0] : e - block[0]], 0, out=(top[b], winner[b]))
                winner[b] += a
    return top, winner


def _pool_values(hidden: torch.Tensor, weight: torch.Tensor, bounds: Sequence[int]) -> torch.Tensor:
    """Return the maximal raw logits [B, C] alone.

    Half-precision products run in half precision where the processor multiplies it natively
    (AVX512-BF16 or AMX); the rounding of each logit is then 2^-9.
    """
    wide = _wide(hidden.dtype)
    top = hidden.new_full((len(bounds) - 1, weight.shape[0]), -torch.inf, dtype=wide)
    native = hidden.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    work = hidden.dtype if native else wide
    columns = weight.to(work)
    for first, block in _token_blocks(bounds):
        logits = product(hidden[block[0] : block[-1]].to(work), columns)
        for b, (a, e) in enumerate(itertools.pairwise(block), start=first):
            if e > a:
                top[b] = torch.amax(logits[a - block[0] : e - block[0]], 0)
    return top


def _activated(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    cols: slice,
    block: Sequence[int],
    spec: _Head,
) -> torch.Tensor:
    """Return the activated logits [rows of the block, C] of one chunk."""
    wide = _wide(hidden.dtype)
    z = hidden[block[0] : block[-1]].to(wide) @ weight[cols].to(wide).T
    if bias is not None:
        z += bias[cols].to(wide)
    return spec.activation.apply(z * spec.logit_scale)


def _token_blocks(bounds: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield (first sequence, its bounds) for runs of whole sequences of about TOKEN_BLOCK rows."""
    first = 0
    for b in range(1, len(bounds)):
        if b == len(bounds) - 1 or bounds[b + 1] - bounds[first] > TOKEN_BLOCK:
            yield first, bounds[first : b + 1]
            first = b


def _columns(bounds: Sequence[int], vocab: int) -> Iterator[slice]:
    """Yield vocabulary slices whose logits over one token block fit LOGITS_ELEMENTS."""
    longest = max((block[-1] - block[0] for _, block in _token_blocks(bounds)), default=1)
    yield from _slices(vocab, max(16, LOGITS_ELEMENTS // max(1, longest)))


def _blocks(bounds: Sequence[int], vocab: int) -> Iterator[tuple[slice, int, Sequence[int]]]:
    for cols in _columns(bounds, vocab):
        for first, block in _token_blocks(bounds):
            yield cols, first, block


def _slices(size: int, step: int) -> Iterator[slice]:
    for start in range(0, size, step):
        yield slice(start, min(size, start + step))
