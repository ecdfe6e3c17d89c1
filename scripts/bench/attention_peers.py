"""The same block-sparse attention through PyTorch's own kernels, to compare with; CUDA.

`flex_attention` takes the mask as a function and skips whole tiles of it. Variable-length
attention (FlashAttention-2) runs once for blocks reading themselves, once for documents reading the
prefix and once for the query reading documents; the outputs are joined by their log-sum-exp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.attention.flex_attention import flex_attention as torch_flex_attention

from tamis.kernels.launch import cdiv

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tamis.kernels.blocks.ranges import Ranges

TILE = 128  # rows and keys of flex_attention's tiles


def flex_mask(ranges: Ranges, device: torch.device) -> BlockMask:
    """The mask of one packed batch: which tiles are read in part and in full, and the rule within.

    Counted here: `create_block_mask` makes a dense mask, and compiled it took 191 s on one H200.
    """
    rows = torch.from_numpy(ranges.rows).to(device)
    own = torch.repeat_interleave(rows, (rows[:, 1] - rows[:, 0]).long(), 0)  # [queries, 6]
    a0, a1, b0, b1 = (own[:, i].contiguous() for i in (2, 3, 4, 5))
    start = own[:, 0].contiguous()
    causal = ranges.causal

    def seen(batch: Any, head: Any, q: Any, key: Any) -> Any:  # noqa: ANN401  traced tensors
        inside = (key >= b0[q]) & (key < b1[q])
        if causal:
            inside = inside & (key - b0[q] <= q - start[q])
        return inside | ((key >= a0[q]) & (key < a1[q]))

    pairs = tile_pairs(ranges)
    full = pairs == TILE * TILE
    some, whole = _ordered((pairs > 0) & ~full, device), _ordered(full, device)
    return BlockMask.from_kv_blocks(
        *some, *whole, TILE, seen, seq_lengths=(ranges.queries, ranges.keys)
    )


def tile_pairs(ranges: Ranges) -> NDArray[np.int64]:
    """How many pairs of a row and a key each tile ``[query tiles, key tiles]`` holds."""
    pairs = np.zeros((cdiv(ranges.queries, TILE), cdiv(ranges.keys, TILE)), np.int64)
    for q0, q1, a0, a1, b0, b1 in ranges.rows.tolist():
        rows = np.arange(q0, q1)
        own = b0 + rows - q0 + 1 if ranges.causal else np.full(len(rows), b1)
        _add_rows(pairs, rows, a0, np.full(len(rows), a1))
        _add_rows(pairs, rows, b0, own)
    return pairs


def _add_rows(
    pairs: NDArray[np.int64], rows: NDArray[np.int64], low: int, high: NDArray[np.int64]
) -> None:
    """Count keys ``low`` to ``high`` of each row in the tiles that hold them."""
    first, last = low // TILE, cdiv(int(high.max()), TILE)
    edges = np.arange(first, last) * TILE
    inside = np.minimum(high[:, None], edges + TILE) - np.maximum(low, edges)
    np.add.at(pairs[:, first:last], rows // TILE, np.maximum(inside, 0))


def _ordered(mask: NDArray[np.bool_], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """How many tiles each row of tiles reads, and which, those first."""
    which = np.argsort(~mask, 1, kind="stable").astype(np.int32)
    both = (mask.sum(1).astype(np.int32), which)
    count, order = (torch.from_numpy(t)[None, None].to(device) for t in both)
    return count, order


def flex_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: BlockMask,
    scale: float,
    run: Callable[..., Any] = torch_flex_attention,
) -> torch.Tensor:
    """`block_attention` by flex_attention; ``run`` may be a compiled version of it."""
    heads_first = (t.transpose(0, 1)[None] for t in (q, k, v))
    out = run(*heads_first, block_mask=mask, scale=scale, enable_gqa=q.shape[1] != k.shape[1])
    return out[0].transpose(0, 1)


def variable_length_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, ranges: Ranges, scale: float
) -> torch.Tensor:
    """`block_attention` of one list, forward, by three calls and a merge."""
    rows = ranges.rows
    bounds = torch.from_numpy(rows[:, [0]].ravel().copy()).to(q.device)
    bounds = torch.nn.functional.pad(bounds, (0, 1), value=ranges.queries)
    longest = int((rows[:, 1] - rows[:, 0]).max())
    out, log = _flash(q, k, v, bounds, bounds, longest, longest, scale, ranges.causal)
    prefix, start = int(rows[0, 1]), int(rows[-1, 0])
    parts = [(slice(prefix, start), slice(0, prefix)), (slice(start, len(q)), slice(0, start))]
    for reader, read in parts:
        if reader.start == reader.stop:
            continue
        count, keys = reader.stop - reader.start, read.stop - read.start
        row_ends, key_ends = (torch.tensor([0, n], device=q.device) for n in (count, keys))
        more, more_log = _flash(
            q[reader], k[read], v[read], row_ends, key_ends, count, keys, scale, False
        )
        both = torch.logaddexp(log[:, reader], more_log)
        weigh = [(part - both).exp().t()[:, :, None] for part in (log[:, reader], more_log)]
        out[reader] = (out[reader] * weigh[0] + more * weigh[1]).to(out.dtype)
    return out


def _flash(q, k, v, q_bounds, k_bounds, q_most, k_most, scale, causal):
    """Output, and log-sum-exp [heads, rows]."""
    found = torch.ops.aten._flash_attention_forward(
        q, k, v, q_bounds.int(), k_bounds.int(), q_most, k_most, 0.0, causal, False, scale=scale
    )
    return found[0], found[1]
