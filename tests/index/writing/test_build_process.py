"""Segments written by a process of its own: the same bytes, and nothing depends on that process."""

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
from storages import Quick
from workload import check_consistent, create, held, put

from tamis.index import (
    Collection,
    CollectionWriter,
    CorruptionError,
    LockedError,
)
from tamis.index.files.lock import FolderLock
from tamis.index.files.progress import silent
from tamis.index.files.storage import Storage
from tamis.index.files.wal import log_name
from tamis.index.writing.build_process import BuildProcess, Done, Failed, awaited, receive, send
from tamis.index.writing.build_worker import answer
from tamis.index.writing.segment_request import message_of


@pytest.fixture(scope="module")
def builder():
    with BuildProcess() as process:
        assert process.start(60)
        yield process


def write_all(path, builder):
    """Commits, a commit that gathers, deletions and a merge."""
    create(path)
    with CollectionWriter.open(path, merge=False, gather=True, builder=builder) as writer:
        put(writer, [(f"d{number}", number) for number in range(200)], wait="searchable")
        put(writer, [("d7", 1000), ("e", 1001)], wait="searchable")
        put(writer, [("f", 1002)], wait="durable")
        writer.delete(["d9", "f"], wait="searchable")
        put(writer, [("g", 1003)], wait="searchable")
        yield writer
        writer.optimize()
        yield writer


def segment_files(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.glob("segments/*/*")}


def test_it_writes_what_would_be_written_here(tmp_path, builder, monkeypatch):
    here = [segment_files(tmp_path / "here") for _ in write_all(tmp_path / "here", None)]
    monkeypatch.setattr("tamis.index.writing.build_here.carry_out", None)  # nothing is written here
    there = [segment_files(tmp_path / "there") for _ in write_all(tmp_path / "there", builder)]
    assert there == here
    assert [len(files) > 0 for files in there] == [True, True]
    with Collection.open(tmp_path / "there") as collection:
        check_consistent(collection)
        assert len(collection) == 201


def test_it_lets_other_processes_go_first(builder):
    assert os.getpriority(os.PRIO_PROCESS, builder._process.pid) == min(os.nice(0) + 10, 19)


def test_until_it_is_ready_segments_are_written_here(tmp_path):
    create(tmp_path / "c")
    with BuildProcess() as process:
        with CollectionWriter.open(tmp_path / "c", builder=process) as writer:
            put(writer, [("a", 1)], wait="searchable")
            assert process.start(60)
            put(writer, [("b", 2)], wait="searchable")
        assert process.start()
    assert not process.start()
    with CollectionWriter.open(tmp_path / "c", builder=process) as writer:
        put(writer, [("c", 3)], wait="searchable")
    with Collection.open(tmp_path / "c") as collection:
        assert held(collection) == {"a": 1, "b": 2, "c": 3}


def test_where_it_cannot_be_started_segments_are_written_here(tmp_path, monkeypatch):
    create(tmp_path / "c")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with (
        BuildProcess() as process,
        CollectionWriter.open(tmp_path / "c", builder=process) as writer,
    ):
        put(writer, [("a", 1)], wait="searchable")
        assert not process.start(0.1)
        put(writer, [("b", 1)], wait="searchable")
        assert len(writer.index) == 2


def test_when_it_is_killed_the_work_is_done_here_and_another_is_started(tmp_path):
    create(tmp_path / "c")
    with (
        BuildProcess() as process,
        CollectionWriter.open(tmp_path / "c", builder=process) as writer,
    ):
        assert process.start(60)
        first = process._process.pid
        os.kill(first, signal.SIGSTOP)
        thread = threading.Thread(target=put, args=(writer, [("a", 1)], "searchable"))
        thread.start()
        time.sleep(0.1)
        assert thread.is_alive()
        os.kill(first, signal.SIGKILL)
        thread.join()
        assert len(writer.index) == 1
        assert process.start(60)
        assert process._process.pid != first
        put(writer, [("b", 1)], wait="searchable")
        assert len(writer.index) == 2


def test_it_clears_away_what_would_be_cleared_away_here(tmp_path, builder, monkeypatch):
    """When the last reader has let go, not before."""
    monkeypatch.setattr(
        "tamis.index.writing.build_here.remove_unused", None
    )  # nothing is done here
    create(tmp_path / "c")
    with CollectionWriter.open(tmp_path / "c", merge=False, gather=True, builder=builder) as writer:
        put(writer, [("a", 1)], wait="searchable")
        with Collection.open(tmp_path / "c"):
            put(writer, [("a", 2)], wait="searchable")
            put(writer, [("b", 3)], wait="searchable")
            assert len(list((tmp_path / "c").glob("manifest-*"))) == 2
            assert len(list((tmp_path / "c/segments").iterdir())) == 2
        put(writer, [("c", 4)], wait="searchable")
        assert len(list((tmp_path / "c").glob("manifest-*"))) == 1
        assert len(list((tmp_path / "c").glob("log-*"))) == 1
        assert len(list((tmp_path / "c/dictionary").glob("*.document_frequency"))) == 1
        assert [f"segments/{path.name}" for path in (tmp_path / "c/segments").iterdir()] == [
            part.entry.name for part in writer.index.parts
        ]


def test_when_it_is_killed_while_it_clears_away_that_is_done_here(tmp_path):
    create(tmp_path / "c")
    with (
        BuildProcess() as process,
        CollectionWriter.open(tmp_path / "c", merge=False, builder=process) as writer,
    ):
        assert process.start(60)
        put(writer, [("a", 1)], wait="searchable")
        reader = Collection.open(tmp_path / "c")
        put(writer, [("a", 2)], wait="searchable")
        reader.close()
        os.kill(process._process.pid, signal.SIGSTOP)
        thread = threading.Thread(target=writer.remove_unused)
        thread.start()
        time.sleep(0.1)
        assert thread.is_alive()
        assert len(list((tmp_path / "c").glob("manifest-*"))) == 2
        process._process.kill()
        thread.join()
        assert len(list((tmp_path / "c").glob("manifest-*"))) == 1


def test_when_it_stands_still_it_is_ended_and_the_work_is_done_here(tmp_path, monkeypatch):
    def stop(process):
        os.kill(process._process.pid, signal.SIGSTOP)
        monkeypatch.setattr("tamis.index.writing.build_process.SILENT_S", 0.3)
        monkeypatch.setattr("tamis.index.writing.build_process.END_WITHIN_S", 0.1)

    create(tmp_path / "c")
    with (
        BuildProcess() as process,
        CollectionWriter.open(tmp_path / "c", merge=False, builder=process) as writer,
    ):
        assert process.start(60)
        first = process._process
        stop(process)
        put(writer, [("a", 1)], wait="searchable")
        assert len(writer.index) == 1
        assert first.poll() == -signal.SIGKILL
        monkeypatch.undo()
        assert process.start(60)
        put(writer, [("b", 1)], wait="searchable")
        stop(process)

        def check(*told):
            raise InterruptedError

        with pytest.raises(InterruptedError):
            writer.optimize(check)
        assert process._process is None
    with Collection.open(tmp_path / "c") as collection:
        assert held(collection) == {"a": 1, "b": 1}


def test_however_long_it_takes_it_is_waited_for_while_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("tamis.index.writing.build_worker.SIGN_EVERY_S", 0.02)
    monkeypatch.setattr("tamis.index.writing.build_process.SILENT_S", 0.3)

    class Slow(Quick):
        def create(self, name):
            time.sleep(0.05)
            return super().create(name)

    create(tmp_path / "c")
    with CollectionWriter.open(tmp_path / "c", merge=False) as writer:
        put(writer, [("a", 1)], wait="searchable")
        order = writer._publisher._request("segments/000009", writer.index.parts, 30)
        request = msgspec.msgpack.encode(message_of(order, Storage(tmp_path / "c")))
        lock, began = os.open(os.devnull, os.O_RDONLY), time.monotonic()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            thread = threading.Thread(target=answer, args=(theirs, lock, Slow))
            thread.start()
            send(ours, request)
            assert isinstance(awaited(ours, silent), Done)
            thread.join()
    assert time.monotonic() > began + 0.6


def test_when_it_was_killed_between_two_orders_another_is_started(tmp_path):
    create(tmp_path / "c")
    with (
        BuildProcess() as process,
        CollectionWriter.open(tmp_path / "c", builder=process) as writer,
    ):
        assert process.start(60)
        first = process._process
        first.kill()
        first.wait()
        put(writer, [("a", 1)], wait="searchable")
        assert len(writer.index) == 1
        assert process._process is not first
        assert process.start(60)


def test_it_ends_without_a_word_when_nobody_waits_for_it_to_be_ready():
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        code = f"from tamis.index.writing.build_worker import main; main({theirs.fileno()})"
        ended = subprocess.run(
            [sys.executable, "-c", code],
            pass_fds=[theirs.fileno()],
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_it_holds_no_lock_when_its_answer_comes(tmp_path, monkeypatch):
    """Who has the answer may close the collection, and open it again at once."""
    create(tmp_path / "c")
    found = []

    def checked(line, payload):
        with FolderLock(Storage(tmp_path / "c")):
            found.append(payload)

    monkeypatch.setattr("tamis.index.writing.build_worker.send", checked)
    with CollectionWriter.open(tmp_path / "c", merge=False) as writer:
        put(writer, [("a", 1)], wait="searchable")
        order = writer._publisher._request("segments/000009", writer.index.parts, 30)
        request = msgspec.msgpack.encode(message_of(order, Storage(tmp_path / "c")))
        lock = os.dup(writer._lock.handle)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send(ours, request)
        answer(theirs, lock)
    assert len(found) == 1


@pytest.mark.skipif(sys.platform == "darwin", reason="all paths are text there")
def test_it_writes_where_a_path_is_no_text(tmp_path, builder, monkeypatch):
    path = tmp_path / os.fsdecode(b"caf\xe9 ")
    create(path)
    monkeypatch.setattr("tamis.index.writing.build_here.carry_out", None)  # nothing is written here
    with CollectionWriter.open(path, builder=builder) as writer:
        put(writer, [("a", 1)], wait="searchable")
        assert len(writer.index) == 1


def test_it_starts_where_the_search_path_holds_more_than_text(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, Path("elsewhere"), None])
    with BuildProcess() as process:
        assert process.start(60)


def test_its_errors_are_raised_here(tmp_path, builder):
    create(tmp_path / "c")
    with CollectionWriter.open(tmp_path / "c", merge=False, builder=builder) as writer:
        for number in range(2):
            put(writer, [(f"d{number}", number)], wait="searchable")
        folder = writer.index.parts[0].entry.name
        shutil.rmtree(tmp_path / "c" / folder)
        with pytest.raises(CorruptionError, match="found no file"):
            writer.optimize()
        assert not list((tmp_path / "c/segments").glob("000003/*"))


def test_it_refuses_a_log_whose_end_is_damaged(tmp_path, builder):
    """The writes before the damage alone would be a segment without the others."""
    create(tmp_path / "c")
    writer = CollectionWriter.open(tmp_path / "c", merge=False, builder=builder)
    for number in range(2):
        put(writer, [(f"d{number}", number)], wait="none")
    with (tmp_path / "c" / log_name(writer._log.number)).open("r+b") as log:
        log.seek(-1, os.SEEK_END)
        log.write(b"?")
    with pytest.raises(CorruptionError, match="whole"):
        writer.commit()
    writer.abandon()


def test_an_error_keeps_its_kind():
    full = Failed.of(OSError(errno.ENOSPC, "no space", "file")).error()
    assert (type(full), full.errno) == (OSError, errno.ENOSPC)
    assert "no space (file)" in str(full)
    nameless = OSError(errno.ENOSPC, "no space")
    assert str(Failed.of(nameless).error()) == str(nameless)
    assert repr(Failed.of(CorruptionError("bad")).error()) == "CorruptionError('bad')"
    assert (
        repr(Failed.of(ZeroDivisionError("oh")).error()) == "RuntimeError('ZeroDivisionError: oh')"
    )


def test_a_merge_is_stopped_and_leaves_nothing_behind(tmp_path, builder):
    create(tmp_path / "c")
    with CollectionWriter.open(tmp_path / "c", merge=False, builder=builder) as writer:
        for number in range(2):
            put(writer, [(f"d{number}", number)], wait="searchable")
        before = sorted((tmp_path / "c/segments").iterdir())
        os.kill(builder._process.pid, signal.SIGSTOP)

        def check(*told):
            os.kill(builder._process.pid, signal.SIGCONT)
            raise InterruptedError

        with pytest.raises(InterruptedError):
            writer.optimize(check)
        writer.remove_unused()
        assert sorted((tmp_path / "c/segments").iterdir()) == before
        writer.optimize()
        assert len(writer.index.parts) == 1


def test_an_order_ends_when_nobody_waits_for_it(tmp_path):
    """However long it would take: the other side is looked at between documents."""
    create(tmp_path / "c")
    requests, begun = [], threading.Event()
    with CollectionWriter.open(tmp_path / "c", merge=False) as writer:
        put(writer, [(f"d{number}", number) for number in range(50)], wait="searchable")
        order = writer._publisher._request("segments/000009", writer.index.parts, 30)
        message = message_of(order, Storage(tmp_path / "c"))
        requests.append(msgspec.msgpack.encode(message))

        class Slow(Quick):
            def create(self, name):
                begun.set()
                time.sleep(0.05)
                return super().create(name)

        ours, theirs = socket.socketpair()
        with ours, theirs:
            thread = threading.Thread(
                target=answer, args=(theirs, os.open(os.devnull, os.O_RDONLY), Slow)
            )
            thread.start()
            send(ours, requests[0])
            begun.wait()
            ours.shutdown(socket.SHUT_WR)
            thread.join()
            assert b"_Stopped" in receive(ours)


WRITER = """
import os, signal, sys
from pathlib import Path
from workload import put
from tamis.index import CollectionWriter
from tamis.index.writing.build_process import BuildProcess

process = BuildProcess()
writer = CollectionWriter.open(Path(sys.argv[1]), builder=process)
assert process.start(60)
os.kill(process._process.pid, signal.SIGSTOP)
put(writer, [("a", 1)])
print(process._process.pid, flush=True)
put(writer, [("b", 2)], wait="searchable")
"""


def test_while_it_writes_for_a_dead_process_nobody_else_does(tmp_path, monkeypatch):
    """It holds the lock too, ends when it notices, and the next writer waits for that."""
    create(tmp_path / "c")
    arguments = [sys.executable, "-c", WRITER, str(tmp_path / "c")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment) as writer:
        orphan = int(writer.stdout.readline())
        time.sleep(0.3)  # now it waits for its second write
        writer.kill()
    monkeypatch.setattr("tamis.index.files.lock.ORPHANS_END_WITHIN_S", 0.1)
    with pytest.raises(LockedError):
        CollectionWriter.open(tmp_path / "c")
    monkeypatch.undo()
    threading.Timer(0.3, os.kill, (orphan, signal.SIGCONT)).start()
    with CollectionWriter.open(tmp_path / "c") as writer:
        assert writer.has("a")
        assert writer.has("b")
    with Collection.open(tmp_path / "c") as collection:
        assert held(collection) == {"a": 1, "b": 2}
