"""Block sizes as data, by card, element type, width and length. Measured offline, never at run time.

Timing candidates at run time would let two processes choose different sizes and so differ in bits.
scripts/bench_head.py measures the candidates; README.md says what was seen.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class PoolTile(NamedTuple):
    """Sizes of the pooling kernel: BLOCK_V terms x BLOCK_T tokens, BLOCK_D columns at a time."""

    block_v: int
    block_t: int
    block_d: int
    group: int  # term tiles that share a pass over the tokens, for the L2 cache
    warps: int
    stages: int
    per_processor: int  # persistent programs on one multiprocessor


class GradTile(NamedTuple):
    """Sizes of the two gradient kernels."""

    weight_v: int  # terms a program
    weight_d: int  # columns a program
    weight_warps: int
    hidden_d: int  # columns a program
    hidden_k: int  # terms a step
    hidden_warps: int
    stages: int


# A sequence is padded to whole granules of packed rows, by repeating its last token.
GRANULE = 16
SHORT_GRANULE = 8  # where sequences are so short that 16 would waste much
SHORT = 32  # tokens
ONE_HOT = 64  # longest sequence whose gradients are one-hot matrix products


def granule(max_len: int) -> int:
    """Return the rows a sequence is padded to a multiple of."""
    return SHORT_GRANULE if max_len <= SHORT else GRANULE


def pool_tile(card: str, dtype: torch.dtype, width: int, max_len: int, *, index: bool) -> PoolTile:
    """Return the sizes of the pooling kernel.

    Args:
        card: the card's name, or "interpreter".
        dtype: of the operands.
        width: columns D of hidden and weight.
        max_len: longest sequence.
        index: whether the kernel also carries the winner's position.
    """
    if card == "interpreter":
        return PoolTile(32, 32, 16, 2, 4, 1, 1)
    if dtype == torch.float32:
        return PoolTile(64, 64, 32, 16, 4, 3, 2)
    return PoolTile(128, 256, 64, 16, 8, 3, 1)


def grad_tile(card: str, dtype: torch.dtype, width: int, max_len: int) -> GradTile:
    """Return the sizes of the gradient kernels; arguments as `pool_tile`."""
    if card == "interpreter":
        return GradTile(32, 16, 4, 16, 32, 4, 1)
    if dtype == torch.float32:
        return GradTile(32, 128, 4, 64, 32, 4, 2)
    return GradTile(32, 256, 4, 256, 64, 4, 3)
