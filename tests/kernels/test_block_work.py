"""The lists of work: every key of every row once, in pieces none of which is empty."""

from collections import defaultdict

import numpy as np
import pytest
import torch

from tamis.kernels.blocks.ops import block_ranges, cached_ranges
from tamis.kernels.blocks.work import key_work, query_work

CPU = torch.device("cpu")
LISTS = block_ranges(
    np.array([0, 9, 140, 141, 400, 433], np.int32), np.array([0, 5], np.int32), causal=False
)
CASES = {
    "queries of a list": (query_work, LISTS, 26),
    "keys of a list": (key_work, LISTS, 26),
    "a query over held keys": (query_work, cached_ranges(7, 100_000, 200, causal=True), 1024),
}


@pytest.mark.parametrize("lanes", [1, 5, 21, 396])
@pytest.mark.parametrize("case", CASES)
def test_a_range_is_cut_into_pieces_that_join_without_an_empty_one(case, lanes):
    make, ranges, least = CASES[case]
    work, whole = (make(ranges, 16, size, lanes, CPU) for size in (least, 10**9))
    pieces = defaultdict(list)
    for start, stop, a0, a1 in work.items[:, :4].tolist():
        pieces[start, stop].append((a0, a1))
    for start, stop, a0, a1 in whole.items[:, :4].tolist():
        found = sorted(pieces.pop((start, stop)))
        assert [a for a, _ in found] + [a1] == [a0] + [a for _, a in found]
        assert len(found) == 1 or all(low < high for low, high in found)
    assert not pieces
    assert work.slots == int(work.merges[:, 3].sum())
