"""The disk refuses a step: the last generation answers, nothing acknowledged is lost."""

import errno

import pytest
from storages import Failing, Quick, seeded
from workload import FromBytes, Script, create, held, reopened

from tamis.index import Collection, CollectionWriter, TamisError


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
