"""What the block attention kernels share: a program's work, the rows of a tile, what they see.

A tile's rows are tokens times the query heads that share a key head, side by side, so that keys are
loaded once for all of them. Keys and values come through the copy engine as whole tiles: at the end
of a range it also reads rows that follow, which a mask then leaves out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import triton
import triton.language as tl

from tamis.kernels.launch import (
    TMA_ALIGNMENT_BYTES,
    descriptor,
    next_power_of_2,
    processors,
    round_up,
)

if TYPE_CHECKING:
    from triton.tools.tensor_descriptor import TensorDescriptor

    from tamis.kernels.tuned import AttentionTile

LOG2E = 1.4426950408889634
PRECISION = tl.constexpr("ieee")


class HeadTiles(NamedTuple):
    """``[rows, heads, D]`` for the copy engine: row r of head h at (r + h * down, h * across)."""

    tiles: TensorDescriptor
    down: int
    across: int


def head_tiles(tensor: torch.Tensor, rows: int) -> HeadTiles:
    """Describe ``[keys, heads, D]`` in tiles of ``rows``; copied where strides do not allow it."""
    keys, heads, width = tensor.shape
    row, head, unit = tensor.stride()
    step = TMA_ALIGNMENT_BYTES // tensor.element_size()
    block = (rows, padded_width(width))
    if unit == 1 and tensor.data_ptr() % TMA_ALIGNMENT_BYTES == 0:
        if head == width and row % step == 0 and row >= heads * width:
            matrix = tensor.as_strided((keys, heads * width), (row, 1))
            return HeadTiles(descriptor(matrix, block), 0, width)
        if row == width and width % step == 0 and head == keys * width:
            matrix = tensor.as_strided((heads * keys, width), (width, 1))
            return HeadTiles(descriptor(matrix, block), keys, 0)
    wide = round_up(width, step)
    copy = torch.nn.functional.pad(tensor, (0, wide - width)).contiguous()
    return HeadTiles(descriptor(copy.view(keys, heads * wide), block), 0, wide)


class Launch(NamedTuple):
    """How the tiles of one launch look.

    Attributes:
        sizes: of a tile.
        tokens: of a tile of query rows.
        lanes: tiles that run at once.
        heads: what a kernel takes of heads and widths.
        tile: the same, and the sizes of its tiles.
        run: the same, and how a program runs.
    """

    sizes: AttentionTile
    tokens: int
    lanes: int
    heads: dict[str, int]
    tile: dict[str, int]
    run: dict[str, int | None]


def launch_of(q: torch.Tensor, k: torch.Tensor, sizes: AttentionTile) -> Launch:
    """The launch over ``q`` ``[queries, heads, D]`` and ``k`` ``[keys, key heads, D]``."""
    _, count, width = q.shape
    kv_heads = k.shape[1]
    heads = {"GROUP": count // kv_heads, "D": width, "D_PAD": padded_width(width)}
    tokens = sizes.rows // heads["GROUP"]
    lanes = processors(q.device) * sizes.per_processor // kv_heads
    tile = heads | {"BLOCK_M": sizes.rows, "BLOCK_N": sizes.keys, "TOKENS": tokens}
    run: dict[str, int | None] = {**tile, "num_warps": sizes.warps, "num_stages": sizes.stages}
    return Launch(sizes, tokens, lanes, heads, tile, run | {"maxnreg": sizes.registers})


def padded_width(width: int) -> int:
    """The columns of a tile: a power of two, at least what a matrix product takes."""
    return max(16, next_power_of_2(width))


def rows_last(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with its last axis contiguous."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


@triton.jit
def load_item(items, number):
    """Rows of a tile, the range they read in full, the range of their spans, and a slot."""
    item = items + number.to(tl.int64) * 8
    start, stop, a0, a1 = tl.load(item), tl.load(item + 1), tl.load(item + 2), tl.load(item + 3)
    return start, stop, a0, a1, tl.load(item + 4), tl.load(item + 5), tl.load(item + 6)


@triton.jit
def tile_rows(
    start, stop, kv_head, first, GROUP: tl.constexpr, TOKENS: tl.constexpr, ROWS: tl.constexpr
):  # fmt: skip
    """Token and query head of ROWS rows of a tile, from ``first``, and whether they exist."""
    r = first + tl.arange(0, ROWS)
    row = start + r // GROUP
    return row, kv_head * GROUP + r % GROUP, (row < stop) & (r // GROUP < TOKENS)


@triton.jit
def vectors(base, row, head, row_stride, head_stride, D_PAD: tl.constexpr):
    """Pointers ``[rows, D_PAD]`` to the vectors of rows and heads."""
    at = row.to(tl.int64)[:, None] * row_stride + head[:, None] * head_stride
    return base + at + tl.arange(0, D_PAD)[None, :]


@triton.jit
def filled(alive, D: tl.constexpr, D_PAD: tl.constexpr):
    """Which elements ``[rows, D_PAD]`` of existing rows exist."""
    return alive[:, None] & (tl.arange(0, D_PAD) < D)[None, :]


@triton.jit
def load_spans(spans, row, alive):
    """First position that each row sees of its own block, and the first after the last."""
    first = tl.load(spans + row * 2, mask=alive, other=0)
    return first, tl.load(spans + row * 2 + 1, mask=alive, other=0)


@triton.jit
def loop_steps(a0, a1, b0, b1, SIZE: tl.constexpr):
    """Steps over the full range, steps over both, and how many of the first need no mask."""
    full = tl.cdiv(a1 - a0, SIZE)
    return full, full + tl.cdiv(b1 - b0, SIZE), (a1 - a0) // SIZE


@triton.jit
def step_start(i, full, a0, b0, SIZE: tl.constexpr):
    """Where step i starts; those of the full range come first."""
    return tl.where(i < full, a0 + i * SIZE, b0 + (i - full) * SIZE)


@triton.jit
def seen(at, in_full, a1, first, last):
    """Which positions a row sees: up to a1 in the full range, otherwise those of its span."""
    return (at >= tl.where(in_full, 0, first)) & (at < tl.where(in_full, a1, last))
