"""Which segments are merged: eight neighbours of one size, never a large one for a few small."""

import pytest

from tamis.index.generations.manifest import SegmentEntry
from tamis.index.writing.merging import choose


def chosen(*sizes, deleted=0):
    """The range of segments to merge next, of so many documents each."""
    entries = [SegmentEntry(f"s{at}", size + deleted, deleted) for at, size in enumerate(sizes)]
    found = choose(entries)
    return None if found is None else (found.start, found.stop)


def test_seven_small_ones_do_not_have_a_large_neighbour_written_anew():
    assert chosen(100_000, *[20] * 7) is None


def test_eight_neighbours_of_one_size_become_one():
    assert chosen(100_000, *[20] * 8) == (1, 9)
    assert chosen(*[5000] * 8, 20) == (0, 9)
    assert chosen(*[5000] * 7, 20) is None


@pytest.mark.parametrize("between", [0, 3])
def test_smaller_ones_between_come_along(between):
    sizes = [5000, *[10] * between] * 8
    assert chosen(*sizes) == (0, len(sizes))


def test_sizes_that_few_writes_leave_stay_few_and_large_ones_are_seldom_written():
    sizes, written = [], 0
    for _ in range(5000):
        sizes.append(20)
        while (found := chosen(*sizes)) is not None:
            first, last = found
            written += sum(sizes[first:last])
            sizes[first:last] = [sum(sizes[first:last])]
        assert len(sizes) <= 7 * 4
    assert sum(sizes) == 5000 * 20
    assert written <= 7 * sum(sizes)


def test_a_segment_is_written_anew_when_a_third_is_deleted():
    assert chosen(100, deleted=49) is None
    assert chosen(100, deleted=51) == (0, 1)
