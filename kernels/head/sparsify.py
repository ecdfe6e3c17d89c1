"""Dense rows -> CSR tensors on the device, by threshold and top-n."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from tamis.kernels.head.cpu import NON_FINITE, Selection, SparseRows
from tamis.kernels.launch import cdiv, on

_BLOCK = 1024


def sparsify(dense: torch.Tensor, keep: Selection) -> SparseRows:
    """Return the kept entries of `dense [B, V]` float32, row-major, as CSR.

    The number of entries is read back once: the one moment the host waits.

    Raises:
        ValueError: an entry is NaN or infinite.
    """
    batch, vocab = dense.shape
    device = dense.device
    chunks = cdiv(vocab, _BLOCK)
    exclude = None if keep.exclude is None else keep.exclude.view(torch.uint8)
    limit = torch.full((batch,), keep.threshold, device=device)
    room = torch.full((batch,), vocab, dtype=torch.int32, device=device)
    if keep.top_n is not None and keep.top_n < vocab:
        limit, room = _nth_weight(dense, keep, limit)
    above, level = torch.empty((2, batch, chunks), dtype=torch.int32, device=device)
    broken = torch.zeros(1, dtype=torch.int32, device=device)
    with on(device):
        if batch and vocab:
            _count_kernel[(batch, chunks)](
                dense, exclude, limit, above, level, broken, vocab, keep.threshold,
                chunks, BLOCK=_BLOCK,
            )  # fmt: skip
        ties = (level.cumsum(1) - level).clamp_(max=room[:, None])  # ties kept before each chunk
        kept = above + torch.minimum(level, room[:, None] - ties)
        ends = kept.view(-1).cumsum(0)
        offsets = torch.nn.functional.pad(ends.view(batch, chunks)[:, -1:].flatten(), (1, 0))
        total, bad = torch.stack((offsets[-1], broken[0].long())).tolist()
        if bad:
            raise ValueError(NON_FINITE)
        terms = torch.empty(total, dtype=torch.int32, device=device)
        weights = torch.empty(total, dtype=torch.float32, device=device)
        if total:
            _write_kernel[(batch, chunks)](
                dense, exclude, limit, room, ties.int(), ends - kept.view(-1), terms, weights,
                vocab, keep.threshold, chunks, BLOCK=_BLOCK,
            )  # fmt: skip
    return SparseRows(offsets, terms, weights)


def _nth_weight(
    dense: torch.Tensor, keep: Selection, limit: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each row's top_n-th weight, and how many of its ties fit beside the heavier ones."""
    values = dense if keep.exclude is None else dense.masked_fill(keep.exclude, 0.0)
    heaviest = torch.topk(values, int(keep.top_n or 0), dim=1, sorted=False).values
    nth = torch.maximum(heaviest.amin(1), limit)
    room = (heaviest <= nth[:, None]).sum(1, dtype=torch.int32)
    return nth, room


@triton.jit
def _candidates(dense_ptr, exclude_ptr, b, v, V, threshold):
    """Return one chunk's weights, 0 where they are excluded or not above the threshold."""
    weight = tl.load(dense_ptr + b.to(tl.int64) * V + v, mask=v < V, other=0.0)
    if exclude_ptr is not None:
        out = tl.load(exclude_ptr + v, mask=v < V, other=1) != 0
        weight = tl.where(out, 0.0, weight)
    return tl.where(weight <= threshold, 0.0, weight)  # NaN stays


@triton.jit(do_not_specialize=["threshold", "chunks"])
def _count_kernel(
    dense_ptr, exclude_ptr, limit_ptr, above_ptr, level_ptr, broken_ptr, V, threshold, chunks,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Count a chunk's entries above and at its row's limit."""
    b, chunk = tl.program_id(0), tl.program_id(1)
    v = chunk * BLOCK + tl.arange(0, BLOCK)
    weight = _candidates(dense_ptr, exclude_ptr, b, v, V, threshold)
    limit = tl.load(limit_ptr + b)
    kept = weight > 0.0
    cell = b * chunks + chunk
    tl.store(above_ptr + cell, tl.sum((kept & (weight > limit)).to(tl.int32), 0))
    tl.store(level_ptr + cell, tl.sum((kept & (weight == limit)).to(tl.int32), 0))
    finite = (weight < float("inf")) & (weight > float("-inf"))
    if tl.sum((~finite).to(tl.int32), 0) > 0:
        tl.store(broken_ptr, 1)


@triton.jit(do_not_specialize=["threshold", "chunks"])
def _write_kernel(
    dense_ptr, exclude_ptr, limit_ptr, room_ptr, ties_ptr, begin_ptr, terms_ptr, weights_ptr,
    V, threshold, chunks,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write a chunk's entries in rising term order; of its ties, the first there is room for."""
    b, chunk = tl.program_id(0), tl.program_id(1)
    v = chunk * BLOCK + tl.arange(0, BLOCK)
    weight = _candidates(dense_ptr, exclude_ptr, b, v, V, threshold)
    limit = tl.load(limit_ptr + b)
    cell = b * chunks + chunk
    tie = (weight > 0.0) & (weight == limit)
    rank = tl.load(ties_ptr + cell) + tl.cumsum(tie.to(tl.int32), 0)
    kept = (weight > limit) | (tie & (rank <= tl.load(room_ptr + b)))
    place = tl.load(begin_ptr + cell) + tl.cumsum(kept.to(tl.int32), 0) - 1
    tl.store(terms_ptr + place, v, mask=kept)
    tl.store(weights_ptr + place, weight, mask=kept)
