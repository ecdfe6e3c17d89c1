"""What changes while a server is asked: no request fails, and the answers come in time."""

import json
import statistics
import threading
import time

import httpx
import pytest

from tamis.api.messages.write_requests import CreateRequest
from tamis.api.serving.data_folder import DataFolder
from tamis.index.files.progress import silent
from tamis.index.writing.build_process import BuildProcess
from tamis.retriever import Passage
from tamis.scripts.bench.http_load import apply_load, quantile, request_bytes

TEXTS = [f"bird number{n} {'owl' if n % 3 else 'heron'} in the reeds at night" for n in range(2000)]


def searches(server, name="live"):
    path = f"/v1/indexes/{name}/search"
    bodies = (json.dumps({"query": f"number{n} owl"}).encode() for n in range(500))
    return [request_bytes(server.address, path, body) for body in bodies]


class Background:
    """A load that goes on while something else happens."""

    def __init__(self, server, seconds, clients=4):
        self.found = None
        self._thread = threading.Thread(target=self._run, args=(server, seconds, clients))
        self._thread.start()

    def _run(self, server, seconds, clients):
        self.found = apply_load(server.address, searches(server), clients=clients, seconds=seconds)

    @property
    def running(self):
        return self._thread.is_alive()

    def join(self):
        self._thread.join()
        return self.found


def swap(server, turn):
    """Move the alias, add documents that are found at once, and let go of others."""
    first, second = ("one", "two") if turn % 2 else ("two", "one")
    server.ask("PUT", "/v1/aliases/live", json={"index": first})
    lines = (json.dumps({"_id": f"n{turn}-{n}", "text": f"new owl{turn} {n}"}) for n in range(50))
    path = f"/v1/indexes/{second}/documents"
    server.ask("POST", f"{path}?wait=searchable", content="\n".join(lines))
    server.ask("POST", f"{path}/delete", json={"ids": [f"n{turn - 2}-{n}" for n in range(50)]})
    if turn % 4 == 0:
        server.ask("POST", f"/v1/indexes/{second}/optimize")


def under_swaps(server, swaps, seconds):
    """Steady latencies, and those under so many swaps."""
    for name in ("one", "two"):
        server.fill(name, TEXTS)
    server.ask("PUT", "/v1/aliases/live", json={"index": "one"})
    apply_load(server.address, searches(server), clients=4, seconds=1)  # all is loaded now
    steady = Background(server, seconds).join()
    load, turn = Background(server, max(seconds, swaps * 0.1)), 0
    while turn < swaps or load.running:
        turn += 1
        swap(server, turn)
        time.sleep(0.05)
    return turn, steady, load.join()


@pytest.mark.long
def test_ten_swaps_fail_no_request(serve):
    swaps, steady, changing = under_swaps(serve(), 10, seconds=2)
    assert swaps >= 10
    assert set(steady.statuses) == set(changing.statuses) == {200}


@pytest.mark.slow
def test_a_hundred_swaps_fail_no_request_and_cost_twice_at_most(serve, proof):
    swaps, steady, changing = under_swaps(serve(), 100, seconds=20)
    quiet, busy = steady.quantile_ms(0.99), changing.quantile_ms(0.99)
    proof(
        "swaps under load",
        swaps=swaps,
        requests=sum(changing.statuses.values()),
        failed=sum(count for status, count in changing.statuses.items() if status != 200),
        steady_p99_ms=round(quiet, 3),
        changing_p99_ms=round(busy, 3),
    )
    assert set(changing.statuses) == {200}
    assert swaps >= 100
    assert busy <= 2 * quiet


def rewrite_ms(path, builder, rewrites=7):
    """Median of the processor time that this thread takes for a rewrite."""
    folder, took_ms = DataFolder(path, builder=builder), []
    index = folder.create("one", CreateRequest(encoder=None))
    with index.writes() as writes:
        writes.put([Passage(str(at), text) for at, text in enumerate(TEXTS)])
    for number in range(rewrites):
        with index.writes() as writes:
            writes.put([Passage(f"n{number}", "new owl")])
            writes.settle("searchable")
        began = time.thread_time()
        index.optimize(silent)
        took_ms.append((time.thread_time() - began) * 1000)
    folder.close()
    return statistics.median(took_ms)


@pytest.mark.long
def test_a_rewrite_hardly_troubles_the_process_that_searches(tmp_path, proof):
    with BuildProcess() as builder:
        assert builder.start(60)
        there_ms = rewrite_ms(tmp_path / "there", builder)
    here_ms = rewrite_ms(tmp_path / "here", None)
    proof(
        "processor time of a rewrite in the searching process",
        documents=len(TEXTS),
        without_build_process_ms=round(here_ms, 1),
        with_build_process_ms=round(there_ms, 1),
    )
    assert there_ms < here_ms / 5


@pytest.mark.long
def test_too_much_is_refused_at_once_and_then_all_is_well_again(serve):
    server = serve(workers=1, waiting=4)
    server.fill("live", TEXTS)
    over = apply_load(server.address, searches(server), clients=64, seconds=2)
    assert set(over.statuses) == {200, 503}
    assert quantile(over.waits_ms, 0.99) < 2000
    refused = None
    with httpx.Client(base_url=server.address) as client:
        load = Background(server, 1, clients=64)
        while load.running and refused is None:
            answer = client.post("/v1/indexes/live/search", json={"query": "owl"})
            refused = answer if answer.status_code == 503 else None
            assert client.get("/livez").status_code == 200
        load.join()
    assert refused is not None
    assert (refused.json()["code"], refused.headers["retry-after"]) == ("overloaded", "1")
    after = apply_load(server.address, searches(server), clients=2, seconds=1)
    assert set(after.statuses) == {200}


@pytest.mark.slow
def test_five_times_too_much_is_shed_and_leaves_nothing_behind(serve, proof):
    server = serve()
    server.fill("live", TEXTS)
    requests, address = searches(server), server.address
    apply_load(address, requests, clients=4, seconds=1)  # all is loaded now
    most = apply_load(address, requests, clients=16, seconds=10).per_second
    before = apply_load(address, requests, clients=16, seconds=10, per_second=most / 2)
    over = apply_load(address, requests, clients=512, seconds=20, per_second=5 * most)
    time.sleep(1)
    after = apply_load(address, requests, clients=16, seconds=10, per_second=most / 2)
    proof(
        "overload",
        bears_per_s=round(most, 1),
        asked_per_s=round(5 * most, 1),
        accepted=over.statuses[200],
        shed=over.statuses[503],
        failed=sum(over.statuses.values()) - over.statuses[200] - over.statuses[503],
        accepted_p99_ms=round(quantile(over.waits_ms, 0.99), 3),
        at_half_before_p99_ms=round(before.quantile_ms(0.99), 3),
        at_half_after_p99_ms=round(after.quantile_ms(0.99), 3),
    )
    assert set(over.statuses) == {200, 503}
    assert set(after.statuses) == {200}
    assert quantile(over.waits_ms, 0.99) < 2000
