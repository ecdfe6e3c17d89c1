"""How the system brings in the pages of mapped files, as Linux itself tells."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tamis.index import Index, SparseVectors
from tamis.index.files import maps

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SMAPS = Path("/proc/self/smaps")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is told in /proc")


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how much may be mapped before pages come one by one, for maps of this test alone."""
    monkeypatch.setattr(maps, "_paging", maps._Paging())
    return lambda size: monkeypatch.setattr(maps, "room_for_maps", lambda: size)


def a_map(folder: Path, name: str, size_bytes: int) -> NDArray[np.uint8]:
    file = folder / name
    file.write_bytes(bytes(np.arange(size_bytes, dtype=np.uint32).astype(np.uint8)))
    handle = os.open(file, os.O_RDONLY)
    try:
        return np.frombuffer(maps.mapped(handle, size_bytes), np.uint8)
    finally:
        os.close(handle)


def is_random(mapped: NDArray[np.uint8]) -> bool:
    """Whether the system reads the pages of a map one by one: flag ``rr`` of proc(5)."""
    address, inside = mapped.__array_interface__["data"][0], False
    for line in SMAPS.read_text().splitlines():
        bounds = line.split()[0].split("-")
        if len(bounds) == 2:
            inside = int(bounds[0], 16) <= address < int(bounds[1], 16)
        elif inside and line.startswith("VmFlags:"):
            return "rr" in line.split()
    raise AssertionError("the system does not know the map")


def test_pages_come_with_their_neighbours_while_all_fits(
    tmp_path: Path, room: Callable[[float], None]
) -> None:
    room(100_000)
    assert not is_random(a_map(tmp_path, "a", 100_000))


def test_all_maps_are_read_page_by_page_once_they_are_too_large_together(
    tmp_path: Path, room: Callable[[float], None]
) -> None:
    room(100_000)
    first = a_map(tmp_path, "a", 60_000)
    assert not is_random(first)
    second = a_map(tmp_path, "b", 60_000)
    third = a_map(tmp_path, "c", 60_000)
    assert [is_random(each) for each in (first, second, third)] == [True, True, True]


def test_maps_that_are_gone_do_not_count(tmp_path: Path, room: Callable[[float], None]) -> None:
    room(100_000)
    for name in ("a", "b", "c"):
        mapped = a_map(tmp_path, name, 60_000)
        assert not is_random(mapped)
        del mapped
        gc.collect()


@pytest.mark.parametrize("most", [0, 1 << 40])
def test_an_index_reads_the_same_either_way(
    tmp_path: Path, room: Callable[[float], None], most: float
) -> None:
    room(most)
    rng = np.random.default_rng(3)
    rows = [
        {int(term): float(rng.integers(1, 9)) for term in rng.choice(500, 40, replace=False)}
        for _ in range(5000)
    ]
    documents = SparseVectors.from_dicts(rows, vocab_size=500)
    index = Index.build(tmp_path / "index", documents)
    (part,) = index.parts
    found = part.rows(np.arange(5000), 500)
    assert [dict(zip(*found.row(at), strict=True)) for at in range(0, 5000, 97)] == rows[::97]


def test_reading_ahead_asks_for_each_byte_once_in_pieces_that_the_system_takes(
    tmp_path: Path, room: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    room(0)
    mapped = a_map(tmp_path, "a", 1_000_000)
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(maps, "_advise", lambda at, size, how: asked.append((at, size)))
    maps.read_ahead(mapped[5_000:700_000])
    begin = mapped.__array_interface__["data"][0] + 5_000
    covered = np.concatenate([np.arange(at - begin, at - begin + size) for at, size in asked])
    assert np.array_equal(covered, np.arange(695_000))
    assert max(size for _, size in asked) <= 131_072  # Linux reads no more for one call
