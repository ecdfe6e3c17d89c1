"""Heavy requests beside small ones, on loopback: the small ones hardly notice."""

import asyncio
import json
import random
import socket
import threading
import time
from statistics import median
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

WORDS = [f"w{number}" for number in range(3000)]
HEAVY = {"k": 1000, "explain": True, "highlight": True}


def fill(server, documents=300, words=1000):
    """An index of long texts, and a small one."""
    rng = random.Random(1)
    server.fill("long", ["owl " + " ".join(rng.choices(WORDS, k=words)) for _ in range(documents)])
    server.fill("small", ["owl", "bat", "owl and bat"])
    for name in ("long", "small"):
        server.ask("POST", f"/v1/indexes/{name}/search", json={"query": "owl"})


def batch(server, **options):
    body = {"queries": [f"owl w1 w{n}" for n in range(4)], **HEAVY, **options}
    return server.client.post("/v1/indexes/long/search/batch", json=body)


def small_ms(server, seconds):
    """Sorted times of small searches, one after the other."""
    took, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        answer = server.client.post("/v1/indexes/small/search", json={"query": "owl", "k": 1})
        took.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, answer.text
        assert [hit["id"] for hit in answer.json()["hits"]] == ["0"]
    return sorted(took)


def waiting(server):
    text = server.client.get("/metrics").text
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    (found,) = [
        one.value
        for one in samples
        if one.name == "tamis_queue_length" and one.labels == {"queue": "search"}
    ]
    left = sum(
        one.value
        for one in samples
        if one.name == "tamis_requests_total" and one.labels["status"] == "499"
    )
    return found, left


class Together:
    """Something done again and again by some threads until the block ends."""

    def __init__(self, work, many):
        self.found, self.took_ms, self._stop = [], [], threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(work,)) for _ in range(many)]

    def _run(self, work):
        while not self._stop.is_set():
            began = time.perf_counter()
            self.found.append(work())
            self.took_ms.append((time.perf_counter() - began) * 1000)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        time.sleep(0.3)
        return self

    def __exit__(self, *error):
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.long
def test_small_searches_are_answered_beside_heavy_batches(serve):
    server = serve(workers=2)
    fill(server)
    with Together(lambda: batch(server, timeout_ms=1000), many=4) as heavy:
        took = small_ms(server, seconds=3)
    assert {answer.status_code for answer in heavy.found} == {200}
    assert median(took) < median(heavy.took_ms) / 2  # was as long as the batches themselves


@pytest.mark.long
def test_a_batch_gives_what_it_has_when_its_time_is_up(serve):
    server = serve(workers=1)
    fill(server)
    began = time.perf_counter()
    answer = batch(server, timeout_ms=100).json()
    assert time.perf_counter() - began < 5
    partial = [one["partial"] for one in answer["results"]]
    assert partial == sorted(partial)  # whole answers first
    for one in answer["results"]:
        assert len(one["hits"]) == (0 if one["partial"] else 300)
    assert any(partial)
    whole = batch(server).json()
    assert not any(one["partial"] for one in whole["results"])


@pytest.mark.long
def test_work_ends_when_its_client_leaves(serve):
    server = serve(workers=1)
    fill(server)
    body = json.dumps({"queries": ["owl w1"] * 4, **HEAVY}).encode()
    where = urlsplit(server.address)
    for _ in range(5):  # far more work than the time that is waited below
        with socket.create_connection((where.hostname, where.port)) as one:
            head = "POST /v1/indexes/long/search/batch HTTP/1.1\r\nHost: localhost\r\n"
            one.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            time.sleep(0.2)
    end = time.perf_counter() + 10
    while waiting(server) != (0, 5):
        assert time.perf_counter() < end, waiting(server)
        time.sleep(0.05)


@pytest.mark.long
def test_one_client_with_hundreds_of_batches_does_not_shut_others_out(serve):
    server = serve(workers=1, waiting=64)
    fill(server)

    async def flood():
        loop = asyncio.get_running_loop()
        return await asyncio.gather(
            *(loop.run_in_executor(None, lambda: batch(server, timeout_ms=1500)) for _ in range(80))
        )

    answers, began = [], time.perf_counter()
    thread = threading.Thread(target=lambda: answers.extend(asyncio.run(flood())))
    thread.start()
    time.sleep(0.3)
    took = small_ms(server, seconds=1)
    thread.join()
    flood_ms = (time.perf_counter() - began) * 1000
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert {one.json()["code"] for one in answers if one.status_code == 503} <= {"overloaded"}
    assert median(took) < flood_ms / 4  # the batches end when their time is up, or are refused


@pytest.mark.slow
def test_small_searches_stay_within_five_times_their_quiet_p99(serve, proof):
    server = serve()
    fill(server, documents=1000)
    small_ms(server, seconds=2)
    quiet = small_ms(server, seconds=10)
    with Together(lambda: batch(server, timeout_ms=1000), many=2):
        busy = small_ms(server, seconds=20)
    p99 = [took[int(len(took) * 0.99)] for took in (quiet, busy)]
    proof("small searches beside two batches", quiet_p99_ms=p99[0], busy_p99_ms=p99[1])
    assert p99[1] <= 5 * p99[0]
