"""The power fails at any step of a trace: what was acknowledged is there, nothing is mixed."""

import shutil

import pytest
from storages import Recording, after_power_cut, seeded
from workload import FromBytes, Script, create, reopened

from tamis.index import CollectionWriter

TENDER = ("rename", "unlink", "size", "ack")  # half of all cuts come right after one of these


def recorded(path, script, gather, builder):
    """The trace of a script, with its issues and acknowledgements among the steps."""
    storage = Recording(path)
    path.mkdir()
    create(path, storage)
    storage.trace.append(("ack", 0))
    options = {"merge": False, "gather": gather, "builder": builder, "storage": storage}
    with CollectionWriter.open(path, **options) as writer:
        script.run(writer, lambda event, number: storage.trace.append((event, number)))
    return storage.trace


def check_power_cuts(folder, states, seed, length=25):
    """Cut the power ``states`` times.

    Every other seed's commits gather small segments; every third's are built of requests' bytes.
    """
    script = Script(seeded("power", seed), length)
    trace = recorded(
        folder / "whole", script, seed % 2 == 1, FromBytes() if seed % 3 == 0 else None
    )
    begin = trace.index(("ack", 0)) + 1
    rng = seeded("cuts", seed)
    tender = [
        [at + 1 for at in range(begin, len(trace)) if trace[at][0] == kind] for kind in TENDER
    ]
    for number in range(states):
        cut = rng.randrange(begin, len(trace) + 1)
        if rng.random() < 0.5:
            cut = rng.choice(rng.choice([places for places in tender if places]))
        keep = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        path = folder / "cut"
        after_power_cut(trace[:cut], path, rng, keep)
        acked = max(step[1] for step in trace[:cut] if step[0] == "ack")
        issued = max((step[1] for step in trace[:cut] if step[0] == "issue"), default=0)
        found = reopened(path, consistent=number % 5 == 0)
        assert found in script.states[acked : issued + 1], (
            f"seed {seed}, state {number}, cut at {cut} of {len(trace)}, keep {keep}: "
            f"{found} is none of {script.states[acked : issued + 1]}"
        )
        shutil.rmtree(path)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.long
def test_a_power_cut_leaves_what_was_acknowledged(tmp_path, seed):
    check_power_cuts(tmp_path, 50, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 150))
def test_ten_thousand_power_cuts(tmp_path, seed, proof):
    check_power_cuts(tmp_path, 200, seed, length=40)
    proof("power cuts", states=200, neither_old_nor_new=0)
