"""Work lists of the block attention kernels: one int32 row a program, made on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tamis.kernels.ranges import Ranges

DIRECT = -1  # a program that writes its result; others write partial sums into a slot


class Work(NamedTuple):
    """What the programs of one launch do, and what is merged afterwards.

    Attributes:
        items: ``[programs, 8]`` int32, longest first: start, stop, two ranges, offset, slot. Start
            to stop are the rows of the tile, offset their place in their own block.
        merges: ``[tiles, 4]`` int32: start, stop, first slot, slots.
        slots: partial results, each as large as a tile.
    """

    items: torch.Tensor
    merges: torch.Tensor
    slots: int


def query_work(ranges: Ranges, tile: int, split: int, device: torch.device) -> Work:
    """Tiles of query rows; the full range is cut into pieces of ``split`` keys.

    An item's ranges are a0, a1 (read in full) and b0, b1 (the whole own block; b0 = b1 where
    another piece of the same tile reads it).
    """

    def make() -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
        rows = ranges.rows[:, [0, 1, 2, 3, 4, 5]].astype(np.int64)
        return _tiles(rows, tile, split)

    return _on_device(ranges, ("queries", tile, split, str(device)), make, device)


def key_work(ranges: Ranges, tile: int, split: int, device: torch.device) -> Work:
    """Tiles of keys; an item's ranges are the query rows that read it in full and its own rows."""

    def make() -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
        own = ranges.rows.astype(np.int64)
        rows = np.concatenate([own[:, 4:6], ranges.readers, own[:, 0:2]], 1)
        return _tiles(rows, tile, split)

    return _on_device(ranges, ("keys", tile, split, str(device)), make, device)


def _on_device(ranges, key, make, device) -> Work:
    held: list[int] = []

    def items() -> torch.Tensor:
        rows, merges, slots = make()
        packed = np.concatenate([np.pad(merges, ((0, 0), (0, 4))), rows]).astype(np.int32)
        sizes = np.array([[len(merges), slots, 0, 0, 0, 0, 0, 0]], np.int32)
        held.extend((len(merges), slots))
        table = torch.from_numpy(np.concatenate([sizes, packed]))
        ranges.cached((*key, "sizes"), lambda: torch.tensor(held))
        return table.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else table

    table = ranges.cached(key, items)
    merged, slots = ranges.cached((*key, "sizes"), lambda: torch.tensor(held)).tolist()
    return Work(table[1 + merged :], table[1 : 1 + merged, :4], slots)


def _tiles(
    rows: NDArray[np.int64], tile: int, split: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """Cut blocks into tiles and long full ranges into pieces; see `Work`."""
    length = rows[:, 1] - rows[:, 0]
    tiles = -(-length // tile)
    block = np.repeat(np.arange(len(rows)), tiles)
    nth = np.arange(len(block)) - np.repeat(tiles.cumsum() - tiles, tiles)
    full = rows[block, 3] - rows[block, 2]
    pieces = np.maximum(1, -(-full // split))
    of = np.repeat(np.arange(len(block)), pieces)
    piece = np.arange(len(of)) - np.repeat(pieces.cumsum() - pieces, pieces)
    cut = pieces[of] > 1
    slot = np.where(cut, np.cumsum(cut) - 1, DIRECT)
    step = -(-full // pieces)[of]  # pieces of like length
    step = -(-step // 64) * 64
    parent = block[of]
    start = rows[parent, 0] + nth[of] * tile
    stop = np.minimum(start + tile, rows[parent, 1])
    a0 = np.minimum(rows[parent, 2] + piece * step, rows[parent, 3])
    a1 = np.minimum(a0 + step, rows[parent, 3])
    last = piece == pieces[of] - 1
    b0, b1 = rows[parent, 4], np.where(last, rows[parent, 5], rows[parent, 4])
    items = np.stack([start, stop, a0, a1, b0, b1, nth[of] * tile, slot], 1)
    order = np.argsort(-(a1 - a0) - (b1 - b0), kind="stable")
    split_tiles = np.flatnonzero(pieces > 1)
    first_of = (pieces.cumsum() - pieces)[split_tiles]
    merges = np.stack(
        [start[first_of], stop[first_of], slot[first_of], pieces[split_tiles]], 1
    ).astype(np.int32)
    return items[order].astype(np.int32), merges, int(cut.sum())
