"""One bound over what requests hold; whatever happens to them, nothing stays held."""

import gc
import json
import threading
import time
from contextlib import ExitStack

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from tamis.api import Limits, create_app
from tamis.api.limits import LEAST_MEMORY_BYTES, MOST_MEMORY_BYTES, shared_memory_bytes
from tamis.api.memory import KEPT_SHARE, SMALL_BYTES, Memory
from tamis.api.operations.searching import Search
from tamis.api.problems import RequestError
from tamis.index.interrupts import check_for_interrupts

KB, MB = 1 << 10, 1 << 20


def test_holdings_share_one_bound_and_give_all_back():
    memory = Memory(8 * MB)
    with memory.holding() as first, memory.holding() as second:
        first.grow(3 * MB)
        second.grow(4 * MB)
        assert memory.used_bytes == 7 * MB
        with pytest.raises(RequestError) as refused:
            first.grow(KB)
        assert (refused.value.status, refused.value.code) == (503, "memory_full")
        assert refused.value.headers["Retry-After"] == "1"
        second.shrink(MB)
        first.grow(KB)
        assert memory.used_bytes == 6 * MB + KB
    assert memory.used_bytes == 0
    assert memory.refused == 1


def test_small_holdings_have_the_last_of_the_memory():
    memory = Memory(8 * MB)
    with ExitStack() as held:
        large, small = (held.enter_context(memory.holding()) for _ in range(2))
        large.grow(8 * MB - 8 * MB // KEPT_SHARE)
        assert memory.has_room
        small.grow(SMALL_BYTES)
        with pytest.raises(RequestError, match="memory_bytes"):
            small.grow(1)
        for _ in range(8 * MB // KEPT_SHARE // SMALL_BYTES - 1):
            held.enter_context(memory.holding()).grow(SMALL_BYTES)
        assert not memory.has_room


def test_what_can_never_be_held_is_the_request_s_own_fault():
    memory = Memory(8 * MB)
    with memory.holding() as holding:
        holding.grow(6 * MB)
        with pytest.raises(RequestError, match=f"at most {7 * MB} bytes") as refused:
            holding.grow(2 * MB)
        assert (refused.value.status, refused.value.code) == (413, "too_much_memory")
        assert holding.size_bytes == 6 * MB
    assert memory.used_bytes == 0


def test_a_holding_holds_nothing_after_its_end():
    memory = Memory(MB)
    with memory.holding() as holding:
        holding.grow(5)
        holding.shrink(9)
        assert memory.used_bytes == 0
    holding.grow(7)
    holding.shrink(7)
    assert memory.used_bytes == 0


def test_many_threads_lose_no_byte():
    memory = Memory(1 << 40)

    def hold():
        for size in range(1, 3000):
            with memory.holding() as holding:
                holding.grow(size)
                holding.shrink(size // 2)

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.used_bytes == 0


def test_by_default_a_share_of_the_machine_is_held(monkeypatch):
    for machine, expected in (
        (None, LEAST_MEMORY_BYTES),
        (256 * MB, LEAST_MEMORY_BYTES),
        (2048 * MB, 128 * MB),
        (1 << 40, MOST_MEMORY_BYTES),
    ):
        monkeypatch.setattr("tamis.api.limits.usable_memory_bytes", lambda found=machine: found)
        assert shared_memory_bytes() == Limits().memory_bytes == expected


@pytest.fixture
def small(searchers):
    """A server that may hold a megabyte, and its memory."""
    app = create_app(searchers, Limits(memory_bytes=MB))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client, app.state.service.memory


SEARCH = "/v1/indexes/words/search"


def test_a_body_that_is_larger_than_all_memory_is_refused(small):
    client, memory = small
    answer = client.post("/v1/rerank", content=b" " * (2 * MB))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_much_memory")
    assert memory.used_bytes == 0


def test_a_body_of_many_small_values_is_counted_as_what_it_becomes(small):
    client, memory = small
    body = b'{"query": "owl", "documents": [' + b",".join([b'"a"'] * 20_000) + b"]}"  # 80 KB
    answer = client.post("/v1/rerank", content=body)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_much_memory")
    assert memory.used_bytes == 0


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"k": 1}, 200),
        ({"filter": {"field": "none", "in": [1]}}, 422),
        ({"rerank": {"depth": 2}, "timeout_ms": 100}, 200),
        ({"rerank": {"depth": 2}}, 503),
    ],
)
def test_what_a_search_held_needs_no_collector_to_be_let_go(searchers, options, status):
    """Not even where it fails: an exception holds the frames that it came through."""

    class Slow:
        def score(self, query, documents, *, first_stage=None):
            time.sleep(1.2)
            check_for_interrupts()
            raise MemoryError("none left")

    app = create_app(searchers, Limits(work_s=1), reranker=Slow())
    with TestClient(app, raise_server_exceptions=False) as client:
        client.post(SEARCH, json={"query": "owl"})
        gc.collect()
        gc.disable()
        try:
            answer = client.post(SEARCH, json={"query": "owl", **options})
            assert answer.status_code in (status, 200), answer.text
            end = time.monotonic() + 10
            while any(type(one) is Search for one in gc.get_objects()):
                assert time.monotonic() < end
                time.sleep(0.05)
        finally:
            gc.enable()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (SEARCH, {"query": "owl"}, 200),
        (SEARCH, {"query": " "}, 422),
        (SEARCH, {"query": "owl", "filter": {"field": "none", "in": [1]}}, 422),
        (f"{SEARCH}/batch", {"queries": ["owl", "bat"] * 100}, 200),
        (f"{SEARCH}/batch", {"queries": ["owl", {"vector": {"=owl": 1e30}}]}, 422),
        ("/v1/indexes/words/explain", {"query": "owl", "id": "bat"}, 200),
        ("/v1/indexes/words/explain", {"query": "owl", "id": "none"}, 404),
        ("/v1/encode", {"index": "both", "texts": ["owl"] * 50}, 200),
        ("/v1/encode", {"texts": ["owl"]}, 422),
        (SEARCH, "no object", 422),
    ],
)
def test_answers_and_mistakes_leave_nothing_held(small, path, body, status):
    client, memory = small
    answer = client.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert memory.used_bytes == 0


def test_at_the_bound_small_searches_come_first(small):
    client, memory = small
    with memory.holding() as other:
        other.grow(MB - MB // KEPT_SHARE - 4 * KB)
        large = client.post(SEARCH, json={"query": "owl", "fields": ["x" * 200] * 256 * 3})
        assert large.status_code == 503 or large.json()["code"] == "invalid_value"
        large = client.post(f"{SEARCH}/batch", json={"queries": ["owl " * 500] * 100})
        assert (large.status_code, large.json()["code"]) == (503, "memory_full")
        assert large.headers["retry-after"] == "1"
        assert client.post(SEARCH, json={"query": "owl"}).status_code == 200
    assert client.post(f"{SEARCH}/batch", json={"queries": ["owl " * 500] * 100}).is_success


def test_the_bound_and_what_is_held_are_in_the_metrics(small):
    client, memory = small
    with memory.holding() as other:
        other.grow(MB - MB // KEPT_SHARE)
        client.post("/v1/rerank", content=b" " * 100_000)
        text = client.get("/metrics").text
    families = text_string_to_metric_families(text)
    found = {one.name: one.value for family in families for one in family.samples}
    assert found["tamis_memory_bound_bytes"] == MB
    assert found["tamis_memory_held_bytes"] == MB - MB // KEPT_SHARE
    assert found["tamis_memory_refused_total"] == 1


def test_documents_of_results_are_held_while_an_answer_is_made(open_home):
    long = [{"_id": str(n), "text": "owl " + f"x{n} " * 20_000} for n in range(12)]  # 1.3 MB
    with open_home(limits=Limits(memory_bytes=4 * MB)) as home:
        home.create()
        for one in long:
            home.add([one])
        memory = home.client.app.state.service.memory
        path = "/v1/indexes/birds/search"
        refused = home.client.post(f"{path}/batch", json={"queries": ["owl"] * 4, "k": 100})
        assert (refused.status_code, refused.json()["code"]) == (413, "too_much_memory")
        assert memory.used_bytes == 0
        assert len(home.search("owl", k=100, fields=["_id"])["hits"]) == 13
        assert memory.used_bytes == 0


def test_a_stream_is_written_in_pieces_and_leaves_nothing_held(open_home):
    documents = [{"_id": str(n), "text": f"owl number{n} " + "reed " * 200} for n in range(4000)]
    with open_home(limits=Limits(memory_bytes=4 * MB)) as home:
        home.create(documents=())
        found = home.add(documents, wait="none")
        assert (found["written"], found["failed"]) == (4000, 0)
        assert home.client.app.state.service.memory.used_bytes == 0


def test_a_batch_in_parts_is_the_json_of_a_batch(small):
    client, _ = small
    for queries in (["owl"], ["owl", "no such thing"], ["owl", "bat", "sea"] * 60):
        answer = client.post(f"{SEARCH}/batch", json={"queries": queries, "k": 2})
        assert len(answer.content) == int(answer.headers["content-length"])
        found = json.loads(answer.content)
        assert found["took_ms"] > 0
        assert len(found["results"]) == len(queries)
