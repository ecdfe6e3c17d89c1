"""Block-sparse attention in plain torch: the path of the processor, and the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tamis.kernels.blocks.ranges import Ranges


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, ranges: Ranges, scale: float
) -> torch.Tensor:
    """Block by block; see `tamis.kernels.blocks.ops.block_attention`."""
    grouped = q.shape[1] != k.shape[1]
    parts = []
    for q0, q1, a0, a1, b0, b1 in ranges.rows.tolist():
        keys, values = k[b0:b1], v[b0:b1]
        if a1 > a0:
            keys, values = torch.cat([k[a0:a1], keys]), torch.cat([v[a0:a1], values])
        out = functional.scaled_dot_product_attention(
            q[q0:q1].transpose(0, 1)[None],
            keys.transpose(0, 1)[None],
            values.transpose(0, 1)[None],
            attn_mask=_mask(q1 - q0, a1 - a0, ranges, q.device),
            scale=scale,
            enable_gqa=grouped,
        )
        parts.append(out[0].transpose(0, 1))
    return torch.cat(parts)


def _mask(rows: int, full: int, ranges: Ranges, device: torch.device) -> torch.Tensor | None:
    """``[rows, full + rows]`` bool, True where a row reads; None where it reads everything."""
    if not ranges.causal and ranges.window is None:
        return None
    at = torch.arange(rows, device=device)
    away = at[:, None] - at[None, :]  # [rows, rows], above 0 for earlier keys
    own = away >= 0 if ranges.causal else torch.ones_like(away, dtype=torch.bool)
    if ranges.window is not None:
        own &= away.abs() <= ranges.window
    return functional.pad(own, (full, 0), value=True)


def segment_scores(
    q: torch.Tensor,
    k: torch.Tensor,
    segments: NDArray[np.int32],
    scale: float,
) -> torch.Tensor:
    """List by list; see `tamis.kernels.blocks.ops.segment_scores`."""
    group = q.shape[1] // k.shape[1]
    most = int((segments[:, 1] - segments[:, 0]).max())
    parts = []
    for start, stop in runs_of(segments).tolist():
        s0, s1 = segments[start, :2].tolist()
        low, high = int(segments[start:stop, 2].min()), int(segments[start:stop, 3].max())
        keys = k[low:high].repeat_interleave(group, 1) if group > 1 else k[low:high]
        logits = torch.einsum("shd,thd->hst", _single(q[s0:s1]), _single(keys)) * scale
        lse = _segment_log_sum(logits, segments[start:stop, 2:] - low)  # [heads, signals, segments]
        parts.append(functional.pad(lse.permute(2, 1, 0), (0, 0, 0, most - (s1 - s0))))
    return torch.cat(parts)


def _single(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def runs_of(segments: NDArray[np.int32]) -> NDArray[np.int64]:
    """``[runs, 2]``: first and end of neighbouring segments that the same signals read."""
    other = (segments[1:, :2] != segments[:-1, :2]).any(1)
    starts = np.concatenate([[0], np.flatnonzero(other) + 1])
    return np.stack([starts, np.append(starts[1:], len(segments))], 1)


def _segment_log_sum(logits: torch.Tensor, spans: NDArray[np.int32]) -> torch.Tensor:
    """Log of the sum of exponentials over each span of the last axis."""
    spread = torch.from_numpy(spans).to(logits.device).long()
    lengths = spread[:, 1] - spread[:, 0]
    owner = torch.repeat_interleave(torch.arange(len(spans), device=logits.device), lengths)
    inner = torch.arange(len(owner), device=logits.device) - (lengths.cumsum(0) - lengths)[owner]
    held = logits.index_select(2, spread[:, 0][owner] + inner)  # [heads, signals, tokens]
    shape = (*held.shape[:2], len(spans))
    where = owner.expand_as(held)
    top = held.detach().new_full(shape, -torch.inf).scatter_reduce(2, where, held.detach(), "amax")
    # A constant within a span: the derivative of the whole does not depend on it.
    weights = torch.exp(held - top.gather(2, where))
    return top + torch.log(weights.new_zeros(shape).scatter_add(2, where, weights))
