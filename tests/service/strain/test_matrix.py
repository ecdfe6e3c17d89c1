"""Each error of the machine in each path of work in the background; see `matrix`."""

import signal

import pytest
from background_paths import asking_methods, background_paths
from matrix import Bounds, cells_of, fill, is_found, run_cell, steps_of
from strained import Strained, until
from strained_server import STEPS
from works import ERRORS, WORKS, new_id

BOUNDS = Bounds(told_s=20, well_s=30, calm_s=0.4)  # `strain.py` holds the server to its own
CELLS = 7  # of a path: every error is met
FEW_CELLS = 2  # of a path in CI: every error is met by some
ELSEWHERE = {  # other work in the background, and why it has no row of its own
    "api/broker/broker.py: self._renew_on_and_on": "asks shards alone, tests/api/broker",
    "api/broker/replicas.py: replica.send": "asks a shard",
    "api/broker/replicas.py: self.all[number].ask": "asks a shard",
    "api/serving/service.py: malloc.give_back": "asks for nothing",
    "api/serving/service.py: work": "begins that, and what has rows",
    "api/work/deadlines.py: _fail_when_left": "waits for a client",
    "index/segment/segment.py: answer_some": "reads mapped memory",
    "index/segment/lists.py: work": "computes",
    "index/segment/blocks.py: halves": "computes",
    "index/segment/blocks.py: lambda part: bisect(records, part, BLOCK, direction())": "computes",
    "index/segment/blocks.py: lambda first: work(first, min(first + _BLOCKS_A_TASK, blocks))": (
        "computes"
    ),
    "index/writing/background.py: self._run": "does the work of all Repeaters",
    "index/writing/build_process.py: subprocess.Popen": "test_a_build_process_that_cannot_be_had",
    "index/writing/build_worker.py: _serve": "in the build process, which may end at any moment",
    "index/writing/build_worker.py: self._give_signs": "in the build process",
}


@pytest.fixture(scope="module")
def strained(tmp_path_factory):
    server = Strained(tmp_path_factory.mktemp("strained") / "place")
    at_rest = fill(server)
    yield server, at_rest
    server.stop()


def test_the_matrix_has_all_work_in_the_background():
    covered = {path for work in WORKS for path in work.covers}
    assert background_paths() == covered | ELSEWHERE.keys()


def test_the_matrix_has_all_that_a_storage_asks():
    assert set(asking_methods()) - {"path", "__init__"} <= {*STEPS, "close", "_refuse_file"}


@pytest.mark.long
def test_each_path_bears_some_errors(strained):
    server, at_rest = strained
    rows = [
        run_cell(server, cell, at_rest, BOUNDS)
        for work in WORKS
        for cell in cells_of(work, steps_of(server, work), "few", FEW_CELLS)
    ]
    assert len({row.error for row in rows}) == len(ERRORS)
    assert sum(row.refused > 0 for row in rows) > len(rows) // 2


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_whatever_the_machine_refuses_is_told_and_over_when_it_is(strained, work):
    server, at_rest = strained
    rows = [
        run_cell(server, cell, at_rest, BOUNDS)
        for cell in cells_of(work, steps_of(server, work), "short", CELLS)
    ]
    assert len({row.error for row in rows}) == len(ERRORS)
    assert sum(row.refused > 0 for row in rows) > CELLS // 2


@pytest.mark.slow
def test_all_of_it_is_there_after_a_kill(strained):
    """What was acknowledged under all that strain is on the disk."""
    server, _ = strained
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    again = Strained(server.folder)
    try:
        again.truth = server.truth
        until(lambda: again.is_well() and is_found(again))
        statuses = {task["status"] for task in again.ask("GET", "tasks").json()["tasks"]}
        assert statuses <= {"done", "failed"}
    finally:
        again.stop()


@pytest.mark.long
def test_an_index_that_cannot_be_opened_at_the_start_is_opened_later(tmp_path):
    server = Strained(tmp_path / "place")
    fill(server)
    server.stop()
    refusal = {"number": ERRORS[0], "steps": ["open_to_read"], "place": "indexes/a", "threads": ""}
    again = Strained(tmp_path / "place", first=({"refuse": refusal},))
    try:
        again.truth = server.truth
        assert again.codes() == {"out_of_descriptors"}
        again.put("other", new_id(), wait="searchable")
        again.order(allow=1)
        until(lambda: again.is_well() and is_found(again))
    finally:
        again.stop()


@pytest.mark.long
def test_a_build_process_that_cannot_be_had_is_done_without(tmp_path):
    refusal = {"number": ERRORS[0], "steps": ["process"], "place": "", "threads": ""}
    server = Strained(tmp_path / "place", "--build", first=({"refuse": refusal},))
    try:
        fill(server)
        assert server.order(allow=1)["refused"]
        server.put("a", new_id(), wait="searchable")
        assert is_found(server)
    finally:
        server.stop()
