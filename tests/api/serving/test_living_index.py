"""An index of a data folder: open only while it is written, and whole after whatever fails."""

import errno
import gc
import os
import threading
import time
import weakref
from contextlib import contextmanager, suppress

import pytest
from refusals import Disk

from tamis.api.messages.write_requests import CreateRequest
from tamis.api.serving.data_folder import DataFolder
from tamis.api.serving.faults import BusyError
from tamis.index import LockedError, StoppedError
from tamis.index.files.lock import FolderLock
from tamis.index.files.storage import Storage
from tamis.index.writing import background
from tamis.index.writing.writer import CollectionWriter
from tamis.retriever import Passage

WORDS = CreateRequest(encoder=None)
MANY = sorted(map(str, range(400)))  # files of more than a page are mapped


@contextmanager
def opened(path, **options):
    folder = DataFolder(path, **options)
    try:
        yield folder
    finally:
        folder.close()


@contextmanager
def collector_off():
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def optimized(index):
    index.optimize(lambda *told: None)


def write(index, *ids, wait="searchable"):
    with index.writes() as writes:
        writes.put([Passage(doc_id, f"an owl {doc_id}") for doc_id in ids])
        writes.settle(wait)


def found(index):
    (result,) = index.searcher.search(["owl"], 1000)
    return sorted(hit.doc_id for hit in result.hits)


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def open_files(path):
    """How many files of indexes below a folder this process has open."""
    found = 0
    for handle in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the listing itself
            found += os.readlink(f"/proc/self/fd/{handle}").startswith(f"{path}/indexes/")
    return found


def test_an_index_that_nobody_writes_holds_no_file_open(tmp_path):
    with opened(tmp_path) as folder:
        for number in range(5):
            write(folder.create(f"i{number}", WORDS), *MANY)
        until(lambda: open_files(tmp_path) == 3 * 5)  # a look at what to merge takes one more
        for index in folder.indexes.values():
            assert index.doze()
            assert found(index) == MANY
        assert open_files(tmp_path) == 0
        write(folder.indexes["i3"], "b")
        assert found(folder.indexes["i3"]) == [*MANY, "b"]
    with opened(tmp_path) as folder:
        assert found(folder.indexes["i3"]) == [*MANY, "b"]
        assert open_files(tmp_path) == 0


def test_a_writer_that_ends_is_not_kept_until_the_collector_comes(tmp_path):
    """Its maps would keep the room of files that are removed."""
    disk = Disk()
    with opened(tmp_path, storage_of=disk.storage) as folder, collector_off():
        index = folder.create("i", WORDS)
        write(index, "a")
        rested = weakref.ref(index._editor.writer)
        assert index.doze()
        assert rested() is None
        write(index, "b", wait="none")
        failed = weakref.ref(index._editor.writer)
        with disk.refuses(errno.EIO):
            task = folder.tasks.start("optimize", "i", lambda progress: optimized(index)).task
            until(lambda: folder.tasks.get(task).status == "failed")
        until(lambda: not index.faults() or folder.look_after())
        until(lambda: failed() is None)


def test_an_index_at_rest_is_searched_in_its_newest_generation(tmp_path, monkeypatch):
    """Though the disk refuses to open what a merge has left, when the writer is closed."""
    with opened(tmp_path) as folder:
        index = folder.create("i", WORDS)
        write(index, "a")
        writer = index._editor.writer
        writer.change_settings(writer.settings)
        newest = writer.index.manifest.generation

        def refuse(editor=None):
            monkeypatch.undo()
            raise OSError(errno.EIO, "injected")

        monkeypatch.setattr(index, "refresh", refuse)
        with pytest.raises(OSError, match="injected"):
            index.doze()
        until(lambda: index.searcher.collection.generation >= newest or folder.look_after())


def test_few_are_open_for_writing_at_once(tmp_path):
    with opened(tmp_path, most_awake=2) as folder:
        indexes = [folder.create(f"i{number}", WORDS) for number in range(4)]
        for turn in range(3):
            for index in indexes:
                write(index, f"d{turn}", wait="durable")
                assert sum(one.is_awake for one in indexes) <= 2
        for index in indexes:
            index.publish()
            assert found(index) == ["d0", "d1", "d2"]


def test_what_a_search_reads_outlasts_the_writer_that_comes(tmp_path):
    """The generation of a search that has begun stays, though nothing kept it open before."""
    with opened(tmp_path) as folder:
        index = folder.create("i", WORDS)
        write(index, *map(str, range(20)))
        index.doze()
        before = index.searcher
        for number in range(5):
            write(index, "0", f"new{number}")
        assert len(before.search(["owl"], 100)[0].hits) == 20
        with FolderLock(Storage(index.path)):  # of this very process
            pass


def test_others_may_not_write_it_meanwhile(tmp_path):
    with opened(tmp_path) as folder:
        index = folder.create("i", WORDS)
        with CollectionWriter.open(index.path), pytest.raises(LockedError):
            write(index, "a")
        until(lambda: index.faults() == [] or folder.look_after())
        write(index, "a")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_writer_that_fails_comes_back_with_what_was_acknowledged(tmp_path, number):
    disk = Disk()
    with opened(tmp_path, storage_of=disk.storage) as folder:
        index = folder.create("i", WORDS)
        write(index, "a", wait="durable")
        with disk.refuses(number):
            with pytest.raises(OSError, match="injected"):
                write(index, "b")
            with pytest.raises(StoppedError) as refused:
                write(index, "c")
            assert refused.value.__cause__.errno == number
            assert index.faults()
            assert found(index) == []  # what was durable before is not searchable yet
            refused_before = disk.refused
            for _ in range(20):
                with pytest.raises(StoppedError):
                    write(index, "c")
            assert disk.refused == refused_before  # who writes now does not trouble the disk
        until(lambda: not index.faults() or folder.look_after(), seconds=5.0)
        assert {"a"} <= set(found(index)) <= {"a", "b"}
        write(index, "d")
        assert "d" in found(index)
    with opened(tmp_path) as folder:
        assert {"a", "d"} <= set(found(folder.indexes["i"]))


def test_nothing_is_acknowledged_over_a_failure_in_between(tmp_path):
    disk = Disk()
    with opened(tmp_path, storage_of=disk.storage) as folder:
        index = folder.create("i", WORDS)
        writes = index.writes()
        with writes:
            writes.put([Passage("a", "an owl")])
        with disk.refuses(errno.EIO), pytest.raises(OSError, match="injected"):
            write(index, "b", wait="durable")
        until(lambda: not index.faults() or folder.look_after())
        with pytest.raises(StoppedError), writes:  # another writer is open by now
            writes.settle("durable")
        write(index, "c")


def test_the_first_error_is_told_by_all_who_write_with_the_same_writer(tmp_path):
    disk = Disk()
    with opened(tmp_path, storage_of=disk.storage) as folder:
        index = folder.create("i", WORDS)
        write(index, "a")
        one, other = index.writes(), index.writes()
        with one:
            one.put([Passage("b", "an owl")])
            with disk.refuses(errno.EIO), pytest.raises(OSError, match="injected"), other:
                other.put([Passage("c", "an owl")])
            with pytest.raises(StoppedError):
                one.settle("durable")
        until(lambda: not index.faults() or folder.look_after())
        write(index, "d")


def test_a_writer_that_has_failed_is_closed_before_another_one_is_opened(tmp_path, monkeypatch):
    """Else it could publish, by a merge under way, over what the other one has published."""
    disk, closed, open_writer = Disk(), [], CollectionWriter.open
    with opened(tmp_path, storage_of=disk.storage) as folder:
        index = folder.create("i", WORDS)
        write(index, "a")
        lost = index.writes()
        with lost:
            failed = lost.editor.writer
            monkeypatch.setattr(failed, "abandon", lambda: closed.append(failed))
            with disk.refuses(errno.EIO), pytest.raises(OSError, match="injected"):
                write(index, "b", wait="durable")

            def open_after(*arguments, **options):
                assert closed == [failed]
                return open_writer(*arguments, **options)

            monkeypatch.setattr(CollectionWriter, "open", open_after)
            optimizing = threading.Thread(target=index.optimize, args=(lambda *told: None,))
            optimizing.start()
            until(lambda: index._held_for)
        optimizing.join()
        assert closed == [failed]
        assert "a" in found(index)


def test_who_comes_second_writes_with_the_writer_of_who_was_faster(tmp_path, monkeypatch):
    with opened(tmp_path) as folder:
        index, other = folder.create("i", WORDS), []
        alone = index._alone

        def alone_later(what, **options):
            monkeypatch.setattr(index, "_alone", alone)
            write(index, "a")
            other.append(index._editor)
            return alone(what, **options)

        monkeypatch.setattr(index, "_alone", alone_later)
        write(index, "b")
        assert [index._editor] == other
        assert found(index) == ["a", "b"]


def test_a_publication_may_wait_for_who_has_the_index_to_itself(tmp_path):
    with opened(tmp_path) as folder:
        index = folder.create("i", WORDS)
        write(index, "a", wait="durable")
        with index._alone("kept"):
            with pytest.raises(BusyError, match="kept"):
                index.publish()
            publishing = threading.Thread(target=index.publish, kwargs={"waits": True})
            publishing.start()
            publishing.join(0.05)
            assert publishing.is_alive()
        publishing.join()
        assert found(index) == ["a"]


def test_while_one_has_an_index_to_itself_others_are_told_at_once(tmp_path, monkeypatch):
    began, go_on = threading.Event(), threading.Event()
    with opened(tmp_path) as folder:
        index, other = (folder.create(name, WORDS) for name in ("i", "other"))
        write(index, *map(str, range(50)))
        write(index, "0")

        def held(*told):
            began.set()
            assert go_on.wait(10)

        optimizing = threading.Thread(target=index.optimize, args=(held,))
        optimizing.start()
        assert began.wait(10)
        with pytest.raises(BusyError, match="optimized"):
            write(index, "late")
        index.publish()  # is put off, and is no fault
        assert index.doze() is False
        assert index.faults() == []
        write(other, "a")
        assert found(other) == ["a"]
        go_on.set()
        optimizing.join()
        write(index, "late")
        assert len(found(index)) == 51


def test_removing_an_index_ends_its_optimization(tmp_path):
    began = threading.Event()
    with opened(tmp_path) as folder:
        index = folder.create("i", WORDS)
        write(index, *map(str, range(50)))
        write(index, "0")
        told = []

        def endless():
            def progress(*steps):
                began.set()
                time.sleep(0.01)

            try:
                while True:
                    index.optimize(progress)
                    write(index, "0")
            except Exception as error:  # noqa: BLE001  compared below
                told.append(error)

        optimizing = threading.Thread(target=endless)
        optimizing.start()
        assert began.wait(10)
        with folder.claimed("i", waits=True):
            folder.remove("i")
        optimizing.join(10)
        assert "being removed" in told[0].detail
        assert folder.indexes == {}
        until(lambda: not list((tmp_path / "removed").iterdir()))


def test_an_index_that_cannot_be_removed_goes_on(tmp_path):
    disk = Disk()
    with opened(tmp_path, storage_of=disk.storage) as folder:
        write(folder.create("i", WORDS), "a")
        with disk.refuses(errno.EROFS, ("rename",)), pytest.raises(OSError, match="injected"):
            folder.remove("i")
        write(folder.indexes["i"], "b")
        assert found(folder.indexes["i"]) == ["a", "b"]


@pytest.mark.parametrize("step", ["rename", "sync_folder", "open_to_read"])
def test_an_index_that_cannot_be_made_leaves_its_name_free(tmp_path, step):
    disk = Disk()
    with opened(tmp_path, storage_of=disk.storage) as folder:
        with disk.refuses(errno.ENOSPC, (step,)), pytest.raises(OSError, match="injected"):
            folder.create("i", WORDS)
        assert folder.indexes == {}
        write(folder.create("i", WORDS), "a")


def test_an_index_that_cannot_be_read_for_a_while_is_opened_when_it_can(tmp_path):
    with opened(tmp_path) as folder:
        write(folder.create("i", WORDS), "a")
        write(folder.create("other", WORDS), "b")
    disk = Disk()
    with disk.refuses(errno.EIO, ("open_to_read",), below="indexes/i"):
        folder = DataFolder(tmp_path, storage_of=disk.storage)
        assert set(folder.indexes) == {"other"}
        assert folder.faults()["i"].code == "disk_failing"
    until(lambda: "i" in folder.indexes or folder.look_after())
    assert found(folder.indexes["i"]) == ["a"]
    assert folder.faults() == {}
    folder.close()


def test_what_is_no_index_is_passed_over(tmp_path, caplog):
    with opened(tmp_path) as folder:
        write(folder.create("i", WORDS), "a")
    for name in (".DS_Store", "notes.txt", "x"):
        (tmp_path / "indexes" / name).write_text("stray")
    for name in ("lost+found", "empty"):
        (tmp_path / "indexes" / name).mkdir()
    with opened(tmp_path) as folder:
        assert set(folder.indexes) == {"i"}
        assert folder.faults() == {}
        assert caplog.text.count("it is passed over") == 5
        write(folder.create("empty", WORDS), "a")
        (tmp_path / "removed" / "stray").write_text("left")
        folder.look_after()
        until(lambda: not list((tmp_path / "removed").iterdir()))


def test_a_merge_that_fails_is_told_and_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr("tamis.index.writing.merging.FAN", 2)
    monkeypatch.setattr("tamis.index.writing.merging.GATHERED", 0)
    monkeypatch.setattr(background, "FIRST_PAUSE_S", 0.05)
    disk = Disk()
    with opened(tmp_path, storage_of=disk.storage) as folder:
        index = folder.create("i", WORDS)
        free_bytes = "tamis.index.files.system.free_bytes"
        with monkeypatch.context() as full:
            full.setattr(free_bytes, lambda folder: 10)
            for number in range(3):
                write(index, str(number))
            until(lambda: index.faults())
            assert [fault.code for fault in index.faults()] == ["out_of_room"]
            assert len(index.searcher.collection.index.parts) == 3
            write(index, "3")  # is not troubled
        until(lambda: not index.faults(), seconds=5.0)
        until(lambda: len(index.searcher.collection.index.parts) == 1 or index.publish())
        assert len(found(index)) == 4


def test_a_writer_that_a_merge_has_stopped_is_opened_again_without_a_write(tmp_path, monkeypatch):
    monkeypatch.setattr("tamis.index.writing.merging.FAN", 2)
    monkeypatch.setattr("tamis.index.writing.merging.GATHERED", 0)
    disk = Disk()
    with opened(tmp_path, storage_of=disk.storage) as folder:
        index = folder.create("i", WORDS)
        write(index, "0")
        with disk.refuses(errno.EIO, ("rename",), threads="tamis-merge"):
            write(index, "1")
            until(index.faults)
        until(lambda: not index.faults() or folder.look_after())
        until(lambda: len(index.searcher.collection.index.parts) == 1 or folder.look_after())
        assert found(index) == ["0", "1"]
