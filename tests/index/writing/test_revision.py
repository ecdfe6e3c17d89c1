"""A rewrite: the same files wherever it is carried out, all of it or nothing."""

import os
import socket
import threading

import msgspec
import pytest
from revisions import Deadly, Endless, Failing
from storages import Quick
from workload import Forgetting, check_consistent, create, held, put

from tamis.index import Collection, CollectionWriter, InputError
from tamis.index.files.storage import Storage
from tamis.index.writing.build_process import BuildProcess, awaited, send
from tamis.index.writing.build_worker import answer
from tamis.index.writing.publisher import replace
from tamis.index.writing.revision import RevisionMessage
from tamis.index.writing.segment_request import message_of


@pytest.fixture(scope="module")
def builder():
    with BuildProcess() as process:
        assert process.start(60)
        yield process


def opened(path, builder=None):
    """A writer of 149 documents in three segments, some of them deleted."""
    create(path)
    writer = CollectionWriter.open(path, merge=False, builder=builder)
    for first in range(0, 150, 50):
        documents = [(f"d{number}", number) for number in range(first, first + 50)]
        put(writer, documents, wait="searchable")
    put(writer, [("d7", 1000)], wait="searchable")
    writer.delete(["d9"], wait="searchable")
    return writer


def files_of(path):
    folders = ("segments", "dictionary", "deletions", "build")
    return {
        str(file.relative_to(path)): file.read_bytes()
        for folder in folders
        for file in path.glob(f"{folder}/**/*")
        if file.is_file()
    }


def test_it_writes_there_what_would_be_written_here(tmp_path, builder, monkeypatch):
    with opened(tmp_path / "here") as writer:
        writer.rewrite(Forgetting())
    monkeypatch.setattr("tamis.index.writing.build_here.carry_out", None)  # nothing is written here
    with opened(tmp_path / "there", builder) as writer:
        before = writer.index.vocab_size
        writer.rewrite(Forgetting())
        assert writer.vocab_size == writer.index.vocab_size == before - 1  # =named9 is gone
    here, there = files_of(tmp_path / "here"), files_of(tmp_path / "there")
    assert there == here
    with Collection.open(tmp_path / "there") as found, Collection.open(tmp_path / "here") as truth:
        assert len(found) == 149
        assert found.settings == truth.settings
        assert found.index.manifest.segments == truth.index.manifest.segments
        check_consistent(found)


def test_writes_go_on_after_it(tmp_path, builder):
    with opened(tmp_path / "c", builder) as writer:
        for number in range(3):
            put(writer, [("more", number)])
            writer.rewrite(Forgetting())
            put(writer, [(f"d{number}", 2000)], wait="searchable")
    with Collection.open(tmp_path / "c") as collection:
        assert [held(collection)[name] for name in ("more", "d0", "d2", "d7")] == [
            2,
            2000,
            2000,
            1000,
        ]
        check_consistent(collection)


def test_nothing_is_left_of_words_when_no_document_is(tmp_path, builder):
    create(tmp_path / "c")
    with CollectionWriter.open(tmp_path / "c", merge=False, builder=builder) as writer:
        writer.rewrite(Forgetting())
        put(writer, [("a", 1)], wait="searchable")
        writer.delete(["a"], wait="searchable")
        writer.rewrite(Forgetting())
        assert (len(writer.index.parts), len(writer.dictionary)) == (0, 0)
        put(writer, [("b", 2)], wait="searchable")
    with Collection.open(tmp_path / "c") as collection:
        assert held(collection) == {"b": 2}
        check_consistent(collection)


@pytest.mark.parametrize("there", [True, False])
def test_its_error_is_raised_and_it_leaves_nothing_behind(tmp_path, builder, there):
    with opened(tmp_path / "c", builder if there else None) as writer:
        before = files_of(tmp_path / "c")
        with pytest.raises(InputError, match="not so"):
            writer.rewrite(Failing("not so"))
        writer.remove_unused()
        assert files_of(tmp_path / "c") == before
        writer.rewrite(Forgetting())
        assert len(writer.index.parts) == 1


@pytest.mark.parametrize("there", [True, False])
def test_it_is_stopped_and_leaves_nothing_behind(tmp_path, builder, there):
    told = []

    def progress(*step):
        told.append(step)
        if len(told) == 20:
            raise InterruptedError

    with opened(tmp_path / "c", builder if there else None) as writer:
        before = files_of(tmp_path / "c")
        with pytest.raises(InterruptedError):
            writer.rewrite(Endless(), progress)
        writer.remove_unused()
        assert files_of(tmp_path / "c") == before
        assert told[-1][0] == "read"


def test_when_the_process_is_killed_the_work_is_done_here(tmp_path):
    with BuildProcess() as process, opened(tmp_path / "c", process) as writer:
        assert process.start(60)
        first = process._process
        writer.rewrite(Deadly(os.getpid()))
        assert len(writer.index.parts) == 1
        assert first.returncode is not None
        assert not (tmp_path / "c/build").exists()
    with Collection.open(tmp_path / "c") as collection:
        assert len(collection) == 149
        check_consistent(collection)


def test_how_far_it_has_come_is_told_across(tmp_path, monkeypatch):
    monkeypatch.setattr("tamis.index.writing.build_worker.SIGN_EVERY_S", 0.01)
    told = []

    def progress(*step):
        told.append(step)
        if step[1] > 0:
            raise InterruptedError

    with opened(tmp_path / "c") as writer:
        order = writer._publisher._request("segments/000009", writer.index.parts, 300)
        message = message_of(replace(order, revision=Endless()), Storage(tmp_path / "c"))
        ours, theirs = socket.socketpair()
        with ours, theirs:
            lock = os.open(os.devnull, os.O_RDONLY)
            thread = threading.Thread(target=answer, args=(theirs, lock, Quick))
            thread.start()
            send(ours, msgspec.msgpack.encode(message))
            with pytest.raises(InterruptedError):
                awaited(ours, progress)
            ours.shutdown(socket.SHUT_WR)
            thread.join()
    assert told[0] == ("read", 0, None)
    assert told[-1] == ("read", told[-1][1], 149)


def test_a_revision_is_sent_as_its_fields():
    sent = msgspec.msgpack.decode(
        msgspec.msgpack.encode(RevisionMessage.of(Failing("why"))), type=RevisionMessage
    )
    assert sent.revision() == Failing("why")
