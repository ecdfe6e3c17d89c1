"""Work lists of the block attention kernels: one int32 row a program, made on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from tamis.kernels.launch import cdiv

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tamis.kernels.blocks.ranges import Ranges

DIRECT = -1  # a program that writes its result; others write partial sums into a slot
COARSE = 1024  # programs whose lengths differ by less keep the order of memory
SHARE = 4  # a piece is at most this part of what each lane has to do


class Work(NamedTuple):
    """What the programs of one launch do, and what is merged afterwards.

    Attributes:
        items: ``[programs, 8]`` int32, longest first: start, stop, a0, a1, b0, b1, slot, 0. Rows
            start to stop read a0 to a1 in full, and of b0 to b1 each row its span; b0 = b1 where
            another piece of the same tile reads it.
        spans: ``[rows, 2]`` int32: what each row sees of its own block.
        merges: ``[tiles, 8]`` int32: start, stop, first slot, slots, and zeros.
        slots: partial results, each as large as a tile.
    """

    items: torch.Tensor
    spans: torch.Tensor
    merges: torch.Tensor
    slots: int


def query_work(ranges: Ranges, tile: int, least: int, lanes: int, device: torch.device) -> Work:
    """Tiles of query rows, which read keys.

    Args:
        ranges: what is read.
        tile: rows of a tile.
        least: ranges of fewer keys are not cut.
        lanes: tiles that run at once; longer ranges are cut so that these finish together.
        device: where the lists go.
    """
    blocks = ranges.rows.astype(np.int64)
    ahead = 0 if ranges.causal else ranges.window

    def make() -> _Lists:
        return _lists(blocks, _spans(blocks, ranges.window, ahead), tile, least, lanes)

    return _on_device(ranges, ("queries", tile, least, lanes, str(device)), make, device)


def key_work(ranges: Ranges, tile: int, least: int, lanes: int, device: torch.device) -> Work:
    """Tiles of keys, which are read by query rows; arguments as `query_work`."""
    own = ranges.rows.astype(np.int64)
    blocks = np.concatenate([own[:, 4:6], ranges.readers, own[:, 0:2]], 1)
    behind = 0 if ranges.causal else ranges.window

    def make() -> _Lists:
        return _lists(blocks, _spans(blocks, behind, ranges.window), tile, least, lanes)

    return _on_device(ranges, ("keys", tile, least, lanes, str(device)), make, device)


class _Lists(NamedTuple):
    """`Work` on the host."""

    items: NDArray[np.int64]
    spans: NDArray[np.int64]
    merges: NDArray[np.int64]
    slots: int


def _on_device(ranges: Ranges, key: object, make: Callable[[], _Lists], device) -> Work:
    """The lists of one key, made and sent once: three tables in one tensor."""

    def send() -> Work:
        lists = make()
        tables = [np.ascontiguousarray(t, np.int32) for t in lists[:3]]
        joined = torch.from_numpy(np.concatenate([t.ravel() for t in tables]))
        if device.type == "cuda":
            joined = joined.pin_memory().to(device, non_blocking=True)
        parts = joined.split([t.size for t in tables])
        views = [part.view(t.shape) for part, t in zip(parts, tables, strict=True)]
        return Work(views[0], views[1], views[2], lists.slots)

    return ranges.cached(key, send)


def _spans(blocks: NDArray[np.int64], behind: int | None, ahead: int | None) -> NDArray[np.int64]:
    """What each row sees of its own block: so many positions behind it and ahead; None for all.

    Args:
        blocks: ``[blocks, 6]``: rows of the block, and last the positions that go with them.
        behind: positions before a row's own that it sees.
        ahead: positions after it.
    """
    length = blocks[:, 1] - blocks[:, 0]
    b0, b1 = np.repeat(blocks[:, 4], length), np.repeat(blocks[:, 5], length)
    own = b0 + np.arange(len(b0)) - np.repeat(length.cumsum() - length, length)
    low = b0 if behind is None else np.maximum(b0, own - behind)
    high = b1 if ahead is None else np.minimum(b1, own + ahead + 1)
    return np.stack([low, high], 1)


def _lists(
    blocks: NDArray[np.int64], spans: NDArray[np.int64], tile: int, least: int, lanes: int
) -> _Lists:
    """Cut runs of blocks into tiles, and long full ranges into pieces; see `Work`."""
    runs = _runs(blocks)
    tiles = cdiv(runs[:, 1] - runs[:, 0], tile)
    run = np.repeat(np.arange(len(runs)), tiles)
    nth = np.arange(len(run)) - np.repeat(tiles.cumsum() - tiles, tiles)
    start = runs[run, 0] + nth * tile
    stop = np.minimum(start + tile, runs[run, 1])
    a0, full = runs[run, 2], runs[run, 3] - runs[run, 2]
    b0 = np.minimum.reduceat(spans[:, 0], start)
    b1 = np.maximum.reduceat(spans[:, 1], start)
    share = int((full + b1 - b0).sum()) // (SHARE * max(lanes, 1))
    step = cdiv(cdiv(full, np.maximum(1, cdiv(full, max(least, share)))), 64) * 64
    pieces = np.maximum(1, cdiv(full, np.maximum(step, 1)))  # of like length, none of them empty
    of = np.repeat(np.arange(len(start)), pieces)
    piece = np.arange(len(of)) - np.repeat(pieces.cumsum() - pieces, pieces)
    from_, end = a0[of] + piece * step[of], a0[of] + full[of]
    low, high = from_, np.minimum(from_ + step[of], end)
    slot = np.where(pieces[of] > 1, np.cumsum(pieces[of] > 1) - 1, DIRECT)
    until = np.where(piece == pieces[of] - 1, b1[of], b0[of])
    items = np.stack([start[of], stop[of], low, high, b0[of], until, slot, 0 * slot], 1)
    size = (high - low + until - b0[of]) // COARSE
    cut = np.flatnonzero(pieces > 1)
    first = slot[(pieces.cumsum() - pieces)[cut]]
    merges = np.stack([start[cut], stop[cut], first, pieces[cut]], 1)
    merges = np.pad(merges, ((0, 0), (0, 4)))
    return _Lists(items[np.lexsort((of, piece, -size))], spans, merges, int((slot >= 0).sum()))


def _runs(blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Join neighbours that read one range in full, so that tiles may cross from one to the next."""
    full = np.where((blocks[:, 2] < blocks[:, 3])[:, None], blocks[:, 2:4], 0)
    joined = (full[1:] == full[:-1]).all(1) & (blocks[1:, 4] == blocks[:-1, 5])
    joined &= blocks[1:, 0] == blocks[:-1, 1]
    first = np.flatnonzero(np.concatenate([[True], ~joined]))
    last = np.append(first[1:], len(blocks)) - 1
    return np.concatenate([blocks[first, :1], blocks[last, 1:2], full[first]], 1)
