"""Rows of numbers as whole ones of 8 or 4 bits, with one float16 scale for each of their groups.

A number is at most half a step off: the largest of its group over 254, or over 14, and float16's
rounding of the step. Knows nothing of what the numbers are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Shape = tuple[int, int, int]  # of a row: parts, groups of each, numbers of a group


def rounded_bytes(shape: Shape, bits: int) -> int:
    """Bytes of a row."""
    parts, groups, width = shape
    return (parts * groups * width * bits + 7) // 8 + 2 * parts * groups


def rounded(rows: torch.Tensor, bits: int) -> NDArray[np.uint8]:
    """``[rows, parts, groups, width]`` as ``[rows, bytes]``: all numbers, then all scales."""
    rows, most = rows.float().cpu(), (1 << (bits - 1)) - 1
    scales = (rows.abs().amax(3) / most).half().clamp_min(torch.finfo(torch.float16).tiny)
    levels = (rows / scales.float()[..., None]).round().clamp(-most, most).to(torch.int8).flatten(1)
    flat = [_nibbles(levels) if bits == 4 else levels, scales.flatten(1).view(torch.int8)]
    found: NDArray[np.uint8] = torch.cat(flat, 1).view(torch.uint8).numpy()
    return found


def restored(
    rows: torch.Tensor, shape: Shape, bits: int, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """``[rows, parts, groups, width]`` in ``dtype`` of what `rounded` gave."""
    parts, groups, width = shape
    count = rounded_bytes(shape, bits) - 2 * parts * groups
    levels, scales = rows[:, :count].view(torch.int8), rows[:, count:]
    if bits == 4:
        levels = _from_nibbles(levels)[:, : parts * groups * width]
    factors = scales.contiguous().view(torch.float16).view(-1, parts, groups, 1)
    found: torch.Tensor = levels.reshape(-1, *shape).to(dtype) * factors.to(dtype)
    return found


def _nibbles(levels: torch.Tensor) -> torch.Tensor:
    """``[rows, n]`` from -7 to 7, raised by 8, two a byte, the first in the low bits."""
    raised = torch.nn.functional.pad(levels + 8, (0, levels.shape[1] % 2)).view(torch.uint8)
    return (raised[:, ::2] | (raised[:, 1::2] << 4)).view(torch.int8)


def _from_nibbles(packed: torch.Tensor) -> torch.Tensor:
    """What `_nibbles` was given, with one more column where ``n`` is odd."""
    raw = packed.contiguous().view(torch.uint8)
    return torch.stack([raw & 15, raw >> 4], 2).flatten(1).view(torch.int8) - 8
