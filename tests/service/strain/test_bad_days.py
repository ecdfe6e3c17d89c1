"""What else a day may bring: clocks that step, signals, large filters, a disk that ends."""

import os
import signal
import threading
import time

import pytest
from matrix import fill, is_found
from small_disk import failing_disk
from strained import KEY, QUICK, Strained, until
from works import INDEX, OTHER, new_id

DAY_S = 86400.0
LATER = {**QUICK, "tamis.api.serving.service.REFRESH_S": 3600.0}  # nothing is looked after
CLAUSES = 20_000


@pytest.fixture
def start(tmp_path):
    """Starts servers, which end with the test as they should."""
    running = []

    def start(folder=tmp_path / "place", **options):
        running.append(Strained(folder, **options))
        return running[-1]

    yield start
    for server in running:
        if server.process.poll() is None:
            assert server.stop() == -signal.SIGTERM


@pytest.mark.long
def test_keys_are_read_again_at_a_signal(start):
    server, other = start(settings=LATER), {"Authorization": "Bearer another-key-of-this-server"}
    assert server.http.get("/v1/indexes", headers=other).status_code == 401
    server.keys.write_text(f"admin {KEY}\nread another-key-of-this-server\n")
    server.process.send_signal(signal.SIGHUP)
    until(lambda: server.http.get("/v1/indexes", headers=other).status_code == 200)
    server.keys.write_text("read short\n")
    server.process.send_signal(signal.SIGHUP)
    until(lambda: "bad_input" in server.codes())
    for headers in (other, None):
        assert server.http.get("/v1/indexes", headers=headers).status_code == 200


@pytest.mark.long
def test_a_clock_that_steps_holds_nothing_up(start):
    server = start()
    fill(server)
    for ahead_s in (2 * DAY_S, -400 * DAY_S, 0.0):
        server.order(clock=ahead_s)
        server.put(INDEX, new_id())
        until(lambda: is_found(server))
        task = server.ask("POST", f"indexes/{INDEX}/optimize", json={}).json()
        assert abs(task["created"] - time.time() - ahead_s) < DAY_S
        assert server.done(task)["status"] == "done"
        assert server.is_well()


@pytest.mark.long
def test_filters_of_thousands_of_values_find_what_they_name(start):
    server = start(limits={"filter_clauses": CLAUSES})
    server.ask(
        "PUT", "indexes/f", json={"encoder": None, "fields": {"of": "string", "n": "integer"}}
    )
    for number in range(9):
        document = {"text": "an owl", "of": f"v{number}", "n": number}
        path = f"indexes/f/documents/{number}?wait=searchable"
        server.ask("PUT", path, json=document)
    found = set(range(9))
    for values, expected in (
        ({"field": "of", "in": [f"v{number}" for number in range(3, CLAUSES)]}, found - {0, 1, 2}),
        ({"field": "n", "in": list(range(CLAUSES, 6, -1))}, {7, 8}),
        ({"must_not": [{"field": "n", "in": [n]} for n in range(4, CLAUSES // 8)]}, set(range(4))),
        ({"must": [{"field": "of", "in": [f"v{n}", "v5"]} for n in range(CLAUSES // 8)]}, {5}),
    ):
        body = {"query": "owl", "k": 20, "filter": values}
        answer = server.ask("POST", "indexes/f/search", json=body).json()
        assert {int(hit["id"]) for hit in answer["hits"]} == expected
    many = {"field": "n", "in": list(range(CLAUSES + 1))}
    server.ask("POST", "indexes/f/search", 422, json={"query": "owl", "filter": many})


@pytest.mark.slow
def test_a_disk_that_ends_under_load_is_told_and_loses_nothing(start):
    """The kernel stops writing, as at an error of the disk; its flags do not say so."""
    with failing_disk(128) as disk:
        server = start(disk / "place")
        fill(server)
        os.sync()  # the keys and the given index
        ends, answers = threading.Event(), []

        def load():
            while not ends.is_set():
                answers.append(server.put(OTHER, new_id(), 200, 201, 503))

        writing = threading.Thread(target=load)
        writing.start()
        until(lambda: len(answers) > 20)
        disk.fail()
        until(lambda: not answers[-1].is_success)
        until(lambda: server.codes() == {"read_only_disk"})
        assert server.http.get("/healthz").status_code == 503
        ends.set()
        writing.join()
        refused = [answer for answer in answers if not answer.is_success]
        assert {answer.json()["code"] for answer in refused} <= {"read_only_disk", "disk_failing"}
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
        published = server.found(INDEX)
        assert published == server.truth[INDEX]
        server.stop()
        disk.unmount()
        assert disk.mount().returncode == 0
        again = start(disk / "place")
        again.truth = server.truth
        until(lambda: again.is_well() and is_found(again))
        again.stop()
