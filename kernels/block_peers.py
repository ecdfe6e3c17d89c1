"""The same block-sparse attention through PyTorch's own kernels, to compare with; CUDA.

`flex_attention` takes the mask as a function and skips whole tiles of it. Variable-length
attention (FlashAttention-2) runs once for blocks reading themselves, once for documents reading the
prefix and once for the query reading documents; the outputs are joined by their log-sum-exp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from torch.nn.attention.flex_attention import flex_attention as torch_flex_attention

if TYPE_CHECKING:
    from collections.abc import Callable

    from tamis.kernels.ranges import Ranges


def flex_mask(ranges: Ranges, device: torch.device) -> BlockMask:
    """The mask of one packed batch; made anew for every batch, as flex_attention needs it."""
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

    return create_block_mask(
        seen, None, None, ranges.queries, ranges.keys, device=str(device), _compile=True
    )


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
