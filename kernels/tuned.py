"""Block sizes as data, by element type, width and length; measured offline on one H200.

Timing candidates at run time would let two processes choose different sizes and so differ in bits.
scripts/bench/head.py measures the candidates; README.md says what was seen.
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
    """Sizes of the two gather kernels of the backward."""

    weight_v: int  # terms a program
    weight_k: int  # gathered rows of each a step
    weight_d: int  # columns a program
    weight_warps: int
    hidden_bin: int  # tokens a bin: rows of a one-hot product
    hidden_k: int  # gathered rows a step
    hidden_d: int  # columns a program
    hidden_warps: int
    hidden_stages: int


# A sequence is padded to whole granules of packed rows, by repeating its last token.
GRANULE = 16
SHORT_GRANULE = 8  # where sequences are so short that 16 would waste much
SHORT = 32  # tokens
ONE_HOT = 32  # longest sequence whose gradients are products with a one-hot matrix


def granule(max_len: int) -> int:
    """Return the rows a sequence is padded to a multiple of."""
    return SHORT_GRANULE if max_len <= SHORT else GRANULE


def pool_tile(weight: torch.Tensor, max_len: int, *, index: bool) -> PoolTile:
    """Return the sizes of the pooling kernel.

    Args:
        weight: [V, D], an operand; on the CPU the kernel runs under Triton's interpreter.
        max_len: longest sequence.
        index: whether the kernel also carries the winner's position.
    """
    if not weight.is_cuda:
        return PoolTile(32, 32, 16, 2, 4, 1, 1)
    if weight.dtype == torch.float32:
        return PoolTile(64, 64, 32, 16, 8, 3, 2)
    if max_len <= SHORT:
        return PoolTile(256, 128, 64, 8, 8, 4, 1)
    if weight.shape[1] <= 512:
        return PoolTile(128, 128, 64, 16, 4, 3, 2)
    return PoolTile(128, 256, 64, 16, 8, 4 if index else 3, 1)


def grad_tile(weight: torch.Tensor, max_len: int) -> GradTile:
    """Return the sizes of the gather kernels of the backward; arguments as `pool_tile`.

    Small bins waste no arithmetic on zeros, but sorting walks the bins: long sequences take large.
    """
    if not weight.is_cuda:
        return GradTile(32, 4, 16, 1, 16, 32, 16, 4, 1)
    if weight.dtype == torch.float32:
        return GradTile(1, 8, 128, 1, 64, 32, 64, 4, 2)
    hidden = (16, 128, 128, 4, 2) if max_len <= 512 else (64, 128, 128, 4, 2)
    width = weight.shape[1]
    if width % 256:
        return GradTile(1, 16, 128, 1, *hidden)
    if width >= 2048:
        return GradTile(1, 8, 512, 2, *hidden)
    return GradTile(1, 8, 256, 1, *hidden)


class AttentionTile(NamedTuple):
    """Sizes of a block attention kernel."""

    rows: int  # query rows of a tile: tokens times the query heads of a key head
    keys: int  # keys a step
    split: int  # ranges of fewer keys are not cut into pieces
    warps: int
    stages: int
    per_processor: int  # programs that a multiprocessor holds at once
    registers: int | None = None  # most a thread may use, where that lets more programs in


def attention_tile(q: torch.Tensor) -> AttentionTile:
    """Return the sizes of the attention kernel.

    Args:
        q: an operand; on the CPU the kernel runs under Triton's interpreter.
    """
    if not q.is_cuda:
        return AttentionTile(16, 16, 64, 4, 1, 64)
    if q.dtype == torch.float32:
        return AttentionTile(64, 32, 1024, 4, 2, 1)
    return AttentionTile(64, 32, 1024, 4, 2, 4, registers=128)


def attention_gradient_tile(q: torch.Tensor) -> AttentionTile:
    """Return the sizes of the attention gradients; arguments as `attention_tile`."""
    if not q.is_cuda:
        return AttentionTile(16, 16, 64, 4, 1, 64)
    if q.dtype == torch.float32:
        return AttentionTile(32, 32, 512, 4, 1, 1)
    return AttentionTile(64, 64, 512, 4, 2, 1)
