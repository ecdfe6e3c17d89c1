"""The disk refuses a step: the last generation answers, nothing acknowledged is lost."""

import errno
import gc
import os
from contextlib import suppress

import pytest
from storages import Failing, Quick, seeded
from workload import FromBytes, Script, create, held, put, reopened

from tamis.index import Collection, CollectionWriter, StoppedError, TamisError


def open_files(path):
    """The files below a folder that this process has open."""
    found = []
    for handle in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the listing itself
            found.append(os.readlink(f"/proc/self/fd/{handle}"))
    return sorted(name for name in found if name.startswith(f"{path}/"))


def options(gather):
    """Those that gather are built of requests' bytes too."""
    return {"merge": False, "gather": gather, "builder": FromBytes() if gather else None}


def steps_of(folder, script, gather):
    """How many steps a script takes when nothing fails."""
    create(folder)
    storage = Failing(folder, at=0)
    with (
        Collection.open(folder),
        CollectionWriter.open(folder, **options(gather), storage=storage) as writer,
    ):
        script.run(writer)
    return storage.steps


def check_fault(folder, script, at, gather, **fault):
    """One step fails; the error is clear, readers go on, and the next writer too."""
    create(folder)
    reader, acked, issued = Collection.open(folder), 0, 0
    before = held(reader)

    def told(event, number):
        nonlocal acked, issued
        acked, issued = (number, issued) if event == "ack" else (acked, number)

    storage = Failing(folder, at, **fault)
    message = ""
    try:
        with CollectionWriter.open(folder, **options(gather), storage=storage) as writer:
            script.run(writer, told)
    except (OSError, TamisError) as error:
        message = str(error)
    assert storage.failed
    assert not message or "injected" in message, message
    assert held(reader) == before
    writer = None
    gc.collect()  # a map of a file goes with the error whose frames hold it
    assert len(open_files(folder)) == 1, open_files(folder)  # that of the reader
    with Collection.open(folder) as newest:
        assert held(newest) in script.states[: issued + 1]
    reader.close()
    found = reopened(folder, consistent=at % 5 == 0)
    assert found in script.states[acked : issued + 1], (at, fault, acked, issued)


FAULTS = {
    "one input error": {"error": errno.EIO},
    "a lasting input error": {"error": errno.EIO, "lasting": True},
    "a full disk": {"error": errno.ENOSPC, "lasting": True, "short": True},
    "a short write": {"error": errno.ENOSPC, "short": True},
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.long
def test_any_step_may_fail(tmp_path, name):
    gather = "lasting" in name or "disk" in name
    script = Script(seeded("fault", name), 10)
    total = steps_of(tmp_path / "whole", script, gather)
    for at in seeded("at", name).sample(range(1, total + 1), 25):
        check_fault(tmp_path / str(at), script, at, gather, **FAULTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("gather", [False, True])
@pytest.mark.parametrize("name", FAULTS)
def test_every_step_may_fail(tmp_path, name, gather, proof):
    script = Script(seeded("every fault", name), 25)
    total = steps_of(tmp_path / "whole", script, gather)
    for at in range(1, total + 1):
        check_fault(tmp_path / str(at), script, at, gather, **FAULTS[name])
    proof("failing steps", steps=total, generations_lost=0)


def test_a_stopped_writer_says_so_and_the_next_one_goes_on(tmp_path):
    create(tmp_path / "c")
    script = Script(seeded("stop"), 3)
    storage = Quick(tmp_path / "c")
    writer = CollectionWriter.open(tmp_path / "c", merge=False, storage=storage)

    def fails(handle):
        raise OSError(errno.EIO, "injected")

    storage.sync = fails
    with pytest.raises(OSError, match="injected"):
        script.run(writer)
    del storage.sync
    with pytest.raises(TamisError, match="see to the disk, then open the collection for writing"):
        writer.delete(["d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d0"]) or writer.commit()
    with pytest.raises(TamisError):
        writer.close()
    reopened(tmp_path / "c")


class Unreadable(Quick):
    """Opens so many files to be read, and then no more until told."""

    left = None

    def open_to_read(self, name):
        if self.left is not None:
            if self.left == 0:
                raise OSError(errno.EMFILE, "injected")
            self.left -= 1
        return super().open_to_read(name)


def with_generations(path, many):
    """A collection of as many generations, a document each."""
    create(path)
    with CollectionWriter.open(path, merge=False, gather=False, storage=Quick(path)) as writer:
        for number in range(many):
            put(writer, [(f"d{number}", number)], wait="searchable")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are not listed here")
@pytest.mark.parametrize("opened", ["first", "newer"])
def test_a_generation_that_cannot_be_opened_leaves_no_file_open(tmp_path, opened):
    path = tmp_path / "c"
    with_generations(path, 2)
    storage = Unreadable(path)
    known = Collection.open(path, storage=storage)
    if opened == "newer":
        with CollectionWriter.open(path, merge=False, storage=Quick(path)) as writer:
            put(writer, [("e", 1)], wait="searchable")
    before, failures = open_files(path), []
    for storage.left in range(200):
        try:
            found = known.refresh() if opened == "newer" else Collection.open(path, storage=storage)
        except OSError as error:
            failures.append(error)  # kept, as a server keeps what it tells of
            assert open_files(path) == before, storage.left
        else:
            found.close()
            break
    assert len(failures) > 2


def test_a_published_generation_that_cannot_be_opened_stops_its_writer(tmp_path):
    """It is the current one all the same: another of its number would pass for it."""
    for left in range(100):
        path = tmp_path / str(left)
        with_generations(path, 3)
        storage = Unreadable(path)
        writer = CollectionWriter.open(path, merge=False, gather=False, storage=storage)
        generation, storage.left = writer.index.manifest.generation, left
        failed = False
        try:
            writer.optimize()
        except OSError:
            failed = True
        storage.left = None
        with Collection.open(path) as current:
            ahead = current.generation > generation
            try:
                put(writer, [("late", 1)], wait="searchable")
            except StoppedError:
                writer.abandon()
                assert failed
                assert ahead
            else:
                assert "late" in held(current.refresh())
                writer.close()
        assert reopened(path).keys() >= {"d0", "d1", "d2"}
        if not failed:
            return
    raise AssertionError("it never came to the end")
