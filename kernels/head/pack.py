"""Ragged rows for the pooling kernel: counted tokens only, every sequence in whole granules.

A granule is 8 or 16 packed rows that belong to one sequence; a sequence's last granule is filled by
repeating its last counted token, which changes no maximum. So the pooling kernel needs no mask at
all, and masked positions cost nothing but this copy. Lengths stay on the device: nothing waits.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from tamis.kernels.launch import cdiv, next_power_of_2, on, round_up


class Packed(NamedTuple):
    """Granule-aligned rows. Rows from `used` on are neither written nor counted.

    rows:    [capacity, width] the tokens, width a multiple of 16 bytes.
    source:  [capacity] int32, the flat input's row behind a packed row that is no repeat.
    segment: [capacity / granule] int32, the sequence of each granule, never falling.
    start:   [B] int32, first packed row of each sequence.
    length:  [B] int32, counted tokens of each sequence.
    used:    [1] int32, packed rows in use.
    """

    rows: torch.Tensor
    source: torch.Tensor
    segment: torch.Tensor
    start: torch.Tensor
    length: torch.Tensor
    used: torch.Tensor
    granule: int
    max_len: int


def pack_padded(
    hidden: torch.Tensor, mask: torch.Tensor | None, granule: int, *, clean: bool = False
) -> Packed:
    """Pack the counted tokens of [B, S, D]; `mask [B, S]` bool, None counts all.

    With `clean`, rows past those in use are zeros and `source` is -1 where it means nothing.
    """
    batch, max_len, width = hidden.shape
    flat = hidden.reshape(batch * max_len, width)
    capacity = batch * round_up(max_len, granule)
    bits = None if mask is None else mask.view(torch.uint8)
    return _pack(flat, batch, bits, None, capacity, granule, max_len, clean=clean)


def pack_offsets(
    hidden: torch.Tensor,
    offsets: torch.Tensor,
    max_len: int,
    granule: int,
    *,
    clean: bool = False,
) -> Packed:
    """Pack [T, D] whose sequence b owns rows `offsets[b] .. offsets[b + 1]`; cut at `max_len`."""
    batch = len(offsets) - 1
    capacity = round_up(hidden.shape[0], granule) + batch * granule
    return _pack(hidden, batch, None, offsets, capacity, granule, max_len, clean=clean)


def _pack(
    flat: torch.Tensor,
    batch: int,
    mask: torch.Tensor | None,
    offsets: torch.Tensor | None,
    capacity: int,
    granule: int,
    max_len: int,
    *,
    clean: bool,
) -> Packed:
    width = flat.shape[1]
    step = 16 // flat.element_size()
    shape = (capacity, round_up(width, step))
    rows = flat.new_zeros(shape) if clean else flat.new_empty(shape)
    source, segment, start, length, used = (
        torch.empty(size, dtype=torch.int32, device=flat.device)
        for size in (capacity, cdiv(capacity, granule), batch, batch, 1)
    )
    if clean:
        source.fill_(-1)
    packed = Packed(rows, source, segment, start, length, used, granule, max_len)
    chunk = min(32, max(16, next_power_of_2(max_len)))
    with on(flat.device):
        _starts_kernel[(1,)](
            mask, offsets, length, start, used, batch, max_len, granule,
            *(mask.stride() if mask is not None else (0, 0)), BLOCK=64, BLOCK_S=128,
        )  # fmt: skip
        if batch and max_len:
            _copy_kernel[(batch, cdiv(max_len, chunk))](
                flat, mask, offsets, rows, source, segment, start, length,
                flat.shape[0], max_len, width, rows.shape[1],
                *flat.stride(), *(mask.stride() if mask is not None else (0, 0)),
                CHUNK=chunk, GRANULE=granule, 
                BLOCK_D=min(512 // flat.element_size(), next_power_of_2(rows.shape[1])),
            )  # fmt: skip
    return packed


@triton.jit(do_not_specialize=["batch", "max_len"])
def _starts_kernel(
    mask_ptr, offsets_ptr, length_ptr, start_ptr, used_ptr, batch, max_len, granule,
    stride_mask_b, stride_mask_s, BLOCK: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    """Lengths by mask, by offsets or all alike, and the sum of those before in whole granules."""
    base = tl.zeros([], tl.int32)
    for b0 in range(0, batch, BLOCK):
        b = b0 + tl.arange(0, BLOCK)
        inside = b < batch
        length = tl.where(inside, max_len, 0)
        if offsets_ptr is not None:
            begin = tl.load(offsets_ptr + b, mask=inside, other=0)
            end = tl.load(offsets_ptr + b + 1, mask=inside, other=0)
            length = tl.minimum((end - begin).to(tl.int32), length)
        if mask_ptr is not None:
            length = tl.zeros([BLOCK], tl.int32)
            lines = mask_ptr + b.to(tl.int64) * stride_mask_b
            for s0 in range(0, max_len, BLOCK_S):
                s = s0 + tl.arange(0, BLOCK_S)
                there = inside[:, None] & (s < max_len)[None, :]
                counts = tl.load(lines[:, None] + s[None, :] * stride_mask_s, mask=there, other=0)
                length += tl.sum(counts.to(tl.int32), 1)
        padded = (length + granule - 1) // granule * granule
        tl.store(length_ptr + b, length, mask=inside)
        tl.store(start_ptr + b, base + tl.cumsum(padded, 0) - padded, mask=inside)
        base += tl.sum(padded, 0)
    tl.store(used_ptr, base)


@triton.jit(do_not_specialize=["rows", "max_len"])
def _copy_kernel(
    flat_ptr, mask_ptr, offsets_ptr, packed_ptr, source_ptr, segment_ptr, start_ptr, length_ptr,
    rows, max_len, width, packed_width,
    stride_row, stride_column, stride_mask_b, stride_mask_s,
    CHUNK: tl.constexpr, GRANULE: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Copy CHUNK positions of one sequence; the program that holds its last token pads the end."""
    b = tl.program_id(0)
    position = tl.program_id(1) * CHUNK + tl.arange(0, CHUNK)
    start = tl.load(start_ptr + b)
    length = tl.load(length_ptr + b)
    if mask_ptr is not None:
        line = mask_ptr + b.to(tl.int64) * stride_mask_b
        before = tl.zeros([CHUNK], tl.int32)
        for s0 in range(tl.program_id(1)):
            earlier = s0 * CHUNK + tl.arange(0, CHUNK)
            before += tl.load(line + earlier * stride_mask_s).to(tl.int32)
        counts = tl.load(line + position * stride_mask_s, mask=position < max_len, other=0)
        counts = counts.to(tl.int32)
        rank = tl.sum(before, 0) + tl.cumsum(counts, 0) - 1
        counted = counts != 0
        base = b.to(tl.int64) * max_len
    else:
        rank = position
        counted = position < length
        base = b.to(tl.int64) * max_len
        if offsets_ptr is not None:
            base = tl.load(offsets_ptr + b).to(tl.int64)
    from_row = base + position
    to_row = start + rank
    tl.store(source_ptr + to_row, from_row.to(tl.int32), mask=counted)
    granules = (length + GRANULE - 1) // GRANULE
    mine = counted & (rank % GRANULE == 0)
    tl.store(segment_ptr + to_row // GRANULE, b, mask=mine)
    last = tl.max(tl.where(counted & (rank == length - 1), position, -1), 0)
    pad = length + tl.arange(0, GRANULE)
    pad_here = pad < granules * GRANULE
    for d0 in range(0, packed_width, BLOCK_D):
        d = d0 + tl.arange(0, BLOCK_D)
        columns = d.to(tl.int64) * stride_column
        inside = d < packed_width
        values = tl.load(
            flat_ptr + from_row[:, None] * stride_row + columns[None, :],
            mask=counted[:, None] & (d < width)[None, :], other=0.0,
        )  # fmt: skip
        target = packed_ptr + to_row.to(tl.int64)[:, None] * packed_width + d[None, :]
        tl.store(target, values, mask=counted[:, None] & inside[None, :])
        if last >= 0:
            repeated = tl.load(
                flat_ptr + (base + last) * stride_row + columns, mask=d < width, other=0.0
            )
            tail = packed_ptr + (start + pad).to(tl.int64)[:, None] * packed_width + d[None, :]
            tl.store(tail, repeated[None, :], mask=pad_here[:, None] & inside[None, :])
