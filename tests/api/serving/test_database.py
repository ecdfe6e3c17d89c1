"""A catalogue on a disk that is full, only read, or damaged."""

import errno
import os
import shutil
import sqlite3

import pytest
from small_disk import fill, small_disk

from tamis.api.serving.catalog import CATALOG, Catalog
from tamis.index import FormatError


def left_by_a_kill(folder):
    """A catalogue with a log beside it, as a killed process leaves them."""
    with Catalog(folder / "alive") as catalog:
        catalog.point_aliases({"live": "birds"})
        assert (folder / "alive" / f"{CATALOG}-wal").stat().st_size > 0
        shutil.copytree(folder / "alive", folder / "left")
    return folder / "left"


@pytest.fixture
def disk():
    with small_disk(1) as place:
        (place / "alive").mkdir()
        yield place


def test_a_full_disk_leaves_all_to_be_read_and_names_itself(disk):
    left = left_by_a_kill(disk)
    fill(disk)
    with Catalog(left) as catalog:
        assert catalog.aliases() == {"live": "birds"}
        with pytest.raises(OSError, match="database or disk is full") as refused:
            catalog.change_settings({"x": "y" * 100_000})
        assert refused.value.errno == errno.ENOSPC
        assert catalog.settings() == {}
        (disk / "fill").unlink()
        catalog.change_settings({"x": 1})
        assert catalog.settings() == {"x": 1}


def test_a_disk_that_is_only_read_is_read_and_taken_up_again(disk):
    left = left_by_a_kill(disk)
    disk.remount("ro")
    with Catalog(left) as catalog:
        assert catalog.database.read_only
        assert catalog.aliases() == {"live": "birds"}
        with pytest.raises(OSError, match="Read-only") as refused:
            catalog.point_aliases({"live": "other"})
        assert refused.value.errno == errno.EROFS
        with pytest.raises(OSError, match="Read-only"):
            catalog.take_up()
        assert catalog.database.read_only
        disk.remount("rw")
        catalog.take_up()
        catalog.point_aliases({"live": "other"})
    with Catalog(left) as catalog:
        assert catalog.aliases() == {"live": "other"}


def test_only_one_process_has_a_catalogue(tmp_path, monkeypatch):
    monkeypatch.setattr("tamis.api.serving.database.BUSY_TIMEOUT_S", 0.1)
    with Catalog(tmp_path), pytest.raises(BlockingIOError):
        Catalog(tmp_path)
    with Catalog(tmp_path):
        pass


def test_damage_is_not_taken_for_a_refusal(tmp_path):
    with Catalog(tmp_path) as catalog:
        catalog.point_aliases({"live": "birds"})
    file = tmp_path / CATALOG
    held = bytearray(file.read_bytes())
    held[100:110] = b"\xff" * 10  # the first page's header, which SQLite does read
    file.write_bytes(held)
    with pytest.raises(FormatError, match="restore this folder from a copy"):
        Catalog(tmp_path)


def test_nothing_is_written_where_all_is_there(tmp_path):
    Catalog(tmp_path).close()
    before = os.stat(tmp_path / CATALOG).st_mtime_ns
    Catalog(tmp_path).close()
    assert os.stat(tmp_path / CATALOG).st_mtime_ns == before
    assert sqlite3.connect(tmp_path / CATALOG).execute("PRAGMA user_version").fetchone() == (1,)
