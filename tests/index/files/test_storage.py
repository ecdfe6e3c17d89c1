"""Every way a stored index can be damaged must be noticed before it answers."""

import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from small_disk import fill, small_disk
from vectors_of import random_vectors

from tamis.index import (
    Collection,
    CollectionWriter,
    CorruptionError,
    FormatError,
    Index,
    LockedError,
    SparseVectors,
    TamisError,
)
from tamis.index.files.array_file import map_array, write_array, write_arrays
from tamis.index.files.lock import FolderLock, refuse_locked
from tamis.index.files.storage import SYNCS_AT_ONCE, Storage
from tamis.index.generations.settings import CollectionSettings
from tamis.index.writing.creation import create_collection


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    path = tmp_path_factory.mktemp("built") / "index"
    Index.build(path, random_vectors(23, 17, seed=1))
    return path


@pytest.fixture
def copy(built, tmp_path):
    return shutil.copytree(built, tmp_path / "index")


def test_arrays_of_any_size_are_read_only(tmp_path):
    storage = Storage(tmp_path)
    for size in (0, 3, 5000):  # an empty file, one of a page, one that is mapped
        entry = write_array(storage, f"a{size}", np.arange(size, dtype=np.int64))
        found = map_array(storage, f"a{size}", entry)
        assert not found.flags.writeable
        assert found.tolist() == list(range(size))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="open files are not listed here")
def test_mapped_files_need_no_open_file_and_are_unmapped_with_their_arrays(tmp_path):
    def held():
        maps = Path("/proc/self/maps").read_text()
        return len(os.listdir("/proc/self/fd")), maps.count(str(tmp_path))

    storage = Storage(tmp_path)
    entries = [write_array(storage, f"a{size}", np.arange(size)) for size in (600, 5000)]
    before = held()
    arrays = [map_array(storage, f"a{entry.shape[0]}", entry) for entry in entries]
    views = [array[1:] for array in arrays]
    assert held() == (before[0], before[1] + 2)
    del arrays
    assert [view.tolist()[0] for view in views] == [1, 1]
    with pytest.raises(ValueError, match="WRITEABLE"):
        views[0].setflags(write=True)
    del views
    assert held() == before


def test_generations_leave_no_names_with_the_interpreter(tmp_path, monkeypatch):
    """The table of what it interns only grows, and `Path` interns its parts."""
    create_collection(tmp_path, vocab_size=5, settings=CollectionSettings())
    kept = []
    with CollectionWriter.open(tmp_path, merge=False) as writer, Collection.open(tmp_path) as first:
        monkeypatch.setattr(sys, "intern", lambda text: kept.append(text) or text)
        reader = first
        for turn in range(3):
            vectors = SparseVectors.from_dicts([{turn: 1.0}, {4: 2.0}], 5)
            writer.put([{"_id": "a"}, {"_id": f"b{turn}"}], vectors, wait="searchable")
            reader = reader.refresh()
        assert len(reader) == 4
        writer.merge()
        reader.refresh().close()
    assert not [text for text in kept if re.search(r"\d{6}", text)]


def stored_files(path):
    return [file for file in sorted(path.rglob("*")) if file.is_file() and file.name != "LOCK"]


def test_every_flipped_byte_is_detected_on_open(copy):
    """Flip one bit of every 7th byte of every file; the flipped bit moves along."""
    flips = 0
    for file in stored_files(copy):
        whole = file.read_bytes()
        for at in range(0, len(whole), 7):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << at % 8
            file.write_bytes(damaged)
            with pytest.raises(FormatError):
                Index.open(copy)
            flips += 1
        file.write_bytes(whole)
    assert flips > 400
    assert len(Index.open(copy)) == 23


def test_truncated_extended_and_missing_files_are_detected(copy):
    for file in stored_files(copy):
        whole = file.read_bytes()
        for damaged in {whole[:-1], whole + b"\0", None} - {whole}:  # some lists are empty
            if damaged is None:
                file.unlink()
            else:
                file.write_bytes(damaged)
            if file.name.startswith("log-") and damaged and len(damaged) > len(whole):
                Index.open(copy)  # a stop leaves such a tail, which holds nothing
            else:
                with pytest.raises(FormatError):
                    Index.open(copy)
            file.write_bytes(whole)
    assert len(Index.open(copy)) == 23


def test_swapped_files_are_detected(copy):
    rows = copy / "segments/000001/lists.rows"
    steps = copy / "segments/000001/terms.steps"
    a, b = rows.read_bytes(), steps.read_bytes()
    assert len(a) == len(b)
    assert a != b
    rows.write_bytes(b)
    steps.write_bytes(a)
    with pytest.raises(CorruptionError, match="expected checksum"):
        Index.open(copy)


def test_another_format_version_is_refused_with_both_numbers(copy):
    current = copy / "CURRENT"
    current.write_text(current.read_text().replace("tamis 3 ", "tamis 4 "))
    with pytest.raises(FormatError, match="has format 4, this version reads 2 and 3; use the ver"):
        Index.open(copy)


def test_a_folder_that_is_no_index_says_what_to_do(tmp_path):
    with pytest.raises(FormatError, match="found nothing; check the path"):
        Index.open(tmp_path / "missing")
    with pytest.raises(FormatError, match="build one with `tamis index"):
        Index.open(tmp_path)


def test_a_second_writer_is_refused_with_the_holder_s_process_id(tmp_path):
    holder = (
        "import sys, time\n"
        "from tamis.index.files.lock import FolderLock\n"
        "from tamis.index.files.storage import Storage\n"
        "with FolderLock(Storage(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=f"found process {process.pid} writing"):
            Index.build(tmp_path, random_vectors(3, 5, seed=1))
    finally:
        process.kill()
        process.communicate()
    with FolderLock(Storage(tmp_path)):  # the system lets go of a killed process's lock
        assert (tmp_path / "LOCK").read_text() == f"{os.getpid()}\n"


def other_process(folder, what):
    """What another process says that tries something with a folder's lock."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tamis.index.files.lock import FolderLock, refuse_kept, refuse_locked\n"
        "from tamis.index.files.storage import Storage\n"
        "folder = Path(sys.argv[1])\n"
        f"{what}\n"
        "print('free')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr.splitlines()[-1]


TAKE = "with FolderLock(Storage(folder)): pass"


@pytest.mark.long
def test_a_lock_covers_the_folders_in_its_folder(tmp_path):
    inside = tmp_path / "indexes" / "birds"
    (inside / "deeper").mkdir(parents=True)
    with FolderLock(Storage(tmp_path)):
        assert f"found process {os.getpid()} writing" in other_process(inside, TAKE)
        assert other_process(inside / "deeper", TAKE) == "free"  # three levels down
        with FolderLock(Storage(inside)):  # its own process goes on
            pass
        assert other_process(inside, "refuse_locked(Storage(folder))") == "free"
    assert other_process(inside, TAKE) == "free"
    with FolderLock(Storage(inside)):
        assert other_process(tmp_path, TAKE) == "free"
        told = other_process(inside, "refuse_locked(Storage(folder))")
        assert f"found process {os.getpid()} writing" in told


def test_a_look_at_a_lock_keeps_nobody_out(tmp_path):
    with FolderLock(Storage(tmp_path)):
        pass
    ended = threading.Event()

    def look():
        while not ended.is_set():
            with suppress(LockedError):  # as it is, again and again
                refuse_locked(Storage(tmp_path))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(200):
            with FolderLock(Storage(tmp_path)):
                pass
    finally:
        ended.set()
        looking.join()


def test_a_lock_is_held_on_a_disk_that_is_full_or_only_read():
    with small_disk(1) as disk:
        with FolderLock(Storage(disk)):
            pass
        fill(disk)
        with FolderLock(Storage(disk)):
            assert "LockedError" in other_process(disk, TAKE)
        (disk / "fill").unlink()
        disk.remount("ro")
        with FolderLock(Storage(disk)):
            assert "LockedError" in other_process(disk, TAKE)


def test_errors_a_caller_can_tell_apart_share_one_base():
    assert issubclass(CorruptionError, FormatError)
    assert issubclass(FormatError, TamisError)
    assert issubclass(LockedError, TamisError)


def test_what_is_handed_is_not_read_and_serves_once(tmp_path):
    writer, reader = Storage(tmp_path), Storage(tmp_path)
    arrays = {"a": np.arange(7), "empty": np.zeros(0, np.int32), "large": np.arange(5000)}
    files = write_arrays(writer, "x.", arrays)
    contents = writer.small(files)
    assert contents.keys() == {"x.a", "x.empty"}
    reader.hand(contents)
    moved = (tmp_path / "x.a").rename(tmp_path / "aside")
    for name, array in arrays.items():
        assert (map_array(reader, f"x.{name}", files[f"x.{name}"]) == array).all()
    with pytest.raises(CorruptionError, match="found no file"):
        map_array(reader, "x.a", files["x.a"])
    moved.rename(tmp_path / "x.a")
    reader.hand({"x.a": contents["x.a"][:-1]})
    assert (map_array(reader, "x.a", files["x.a"]) == arrays["a"]).all()
    reader.hand(contents)
    reader.hand({})
    assert reader._handed == {}


def test_many_writers_at_once_share_the_threads_that_sync(tmp_path):
    synced, helping, most = [], set(), []

    class Watched(Storage):
        def sync_name(self, name):
            thread = threading.current_thread()
            if thread.name.startswith("tamis-sync"):
                helping.add(thread)
                most.append(sum(one.is_alive() for one in list(helping)))
            super().sync_name(name)
            synced.append(f"{self.root.name}/{name}")

    def write(number):
        storage = Watched(tmp_path / str(number))
        storage.make_folder()
        with storage.together():
            for file in range(20):
                storage.write(f"f{file}", b"x")

    with ThreadPoolExecutor(12) as writers:
        list(writers.map(write, range(12)))
    assert sorted(synced) == sorted(f"{n}/f{file}" for n in range(12) for file in range(20))
    assert max(most) <= SYNCS_AT_ONCE


def test_files_are_synced_where_the_system_gives_no_threads(tmp_path, monkeypatch):
    synced = []

    class Watched(Storage):
        def sync_name(self, name):
            super().sync_name(name)
            synced.append(name)

    def refuse(self):
        raise RuntimeError("can't start new thread")

    storage = Watched(tmp_path)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with storage.together():
        for file in range(20):
            storage.write(f"f{file}", b"x")
    monkeypatch.undo()
    assert sorted(synced) == sorted(f"f{file}" for file in range(20))
