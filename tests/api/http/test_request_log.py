"""Metrics, request ids and logs; what they say is worked out by hand from the requests sent."""

import asyncio
import json
import logging
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.testclient import TestClient

from tamis.api import Limits, create_app
from tamis.api.http.keys import ApiKeys
from tamis.api.http.logs import JsonLines
from tamis.api.metrics import STAGES, Metrics
from tamis.api.serving.service import Service
from tamis.retriever.types import StageTimes

KEY = "a-key-of-this-test-0123456789"
SEARCH = "/v1/indexes/words/search"


@pytest.fixture
def client(searchers):
    with TestClient(create_app(searchers)) as client:
        yield client


@pytest.fixture
def lines():
    """What the service logs, as it would be written."""
    written = []

    class Keep(logging.Handler):
        def emit(self, record):
            written.append(JsonLines().format(record))

    logger, handler = logging.getLogger("tamis"), Keep()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield written
    logger.removeHandler(handler)
    logger.setLevel(before)


def samples(client, **headers):
    """The scraped values by name and labels."""
    answer = client.get("/metrics", headers=headers)
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_status(client):
    client.post(SEARCH, json={"query": "owl"})
    client.post(SEARCH, json={"query": ""})
    client.get("/v1/indexes/words/documents/owl")
    client.get("/v1/indexes/words/documents/kitchen/sieve")
    for path in ("/one", "/another"):
        client.get(path)
    client.request("BREW", "/v1/info")
    found = samples(client)
    route = "/v1/indexes/{name}/search"
    assert found["tamis_requests_total", "/v1/indexes/{name}/search", "200", "POST"] == 1
    assert found["tamis_requests_total", route, "422", "POST"] == 1
    document = "/v1/indexes/{name}/documents/{id}"
    assert found["tamis_requests_total", document, "200", "GET"] == 2
    assert found["tamis_requests_total", "404", "GET", "other"] == 2
    assert found["tamis_requests_total", "405", "other", "other"] == 1
    assert found["tamis_request_duration_seconds_count", route] == 2


def test_stages_are_timed_once_a_query(client):
    body = {"queries": ["owl", "sea", "night"]}
    assert client.post(f"{SEARCH}/batch", json=body).status_code == 200
    found = samples(client)
    for stage in ("encode", "retrieve", "fetch"):
        assert found["tamis_search_stage_duration_seconds_count", stage] == 3
        assert found["tamis_search_stage_duration_seconds_sum", stage] > 0
    assert found["tamis_search_stage_duration_seconds_count", "rerank"] == 0


def test_stage_times_are_told_in_seconds():
    assert set(STAGES) == {"encode", "retrieve", "fetch", "rerank"}
    metrics = Metrics()
    metrics.searched(StageTimes(1.0, 2.0, 3.0, 4.0))
    text = metrics.text().decode()
    for stage, seconds in (("encode", 0.001), ("rerank", 0.004)):
        assert f'duration_seconds_sum{{stage="{stage}"}} {seconds}' in text


def test_indexes_are_told_as_they_are(client, searchers):
    found = samples(client)
    for name, searcher in searchers.items():
        assert found["tamis_index_documents", name] == 4
        assert found["tamis_index_generation", name] == searcher.collection.generation
        size = sum(path.stat().st_size for path in searcher.collection.path.rglob("*.*"))
        assert 0 < found["tamis_index_size_bytes", name] <= size
    for queue in ("search", "rerank", "write"):
        assert found["tamis_queue_length", queue] == 0
    assert found["process_resident_memory_bytes",] > 1 << 20


def test_the_queue_is_told_while_requests_wait(searchers):
    release = threading.Event()

    async def wait():
        service = Service(searchers, Limits(workers=1, waiting=8))
        request = Request({"type": "http", "client": ("127.0.0.1", 1)})
        asked = (service.answer(request, lambda: release.wait(10)) for _ in range(4))
        calls = [asyncio.ensure_future(one) for one in asked]
        await asyncio.sleep(0)
        text = service.metrics.text().decode()
        release.set()
        await asyncio.gather(*calls)
        service.close()
        return text

    assert 'tamis_queue_length{queue="search"} 3.0' in asyncio.run(wait())


def test_metrics_ask_for_a_key_where_there_are_keys(searchers):
    with TestClient(create_app(searchers, keys=ApiKeys([KEY]))) as client:
        assert client.get("/metrics").status_code == 401
        assert samples(client, authorization=f"Bearer {KEY}")


@pytest.mark.parametrize("given", ["abc-DEF.0_1", "a" * 128])
def test_a_clients_request_id_is_kept(client, lines, given):
    answer = client.get("/v1/info", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given
    assert json.loads(lines[-1])["request_id"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", "a\tb", 'a"}', "a;b", "\u00e9", "<b>"])
def test_any_other_request_id_is_replaced(client, given):
    headers = [(b"x-request-id", given.encode("latin-1"))]
    ids = {client.get("/healthz", headers=headers).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)


def test_errors_carry_a_request_id_too(client):
    for path, status in (("/nowhere", 404), ("/v1/indexes/none", 404), (f"{SEARCH}?k=0", 422)):
        answer = client.get(path)
        assert answer.status_code == status
        assert answer.headers["x-request-id"]


def test_a_request_is_one_line_that_says_what_was_done(client, lines):
    client.get(f"{SEARCH}?q=a+private+matter&k=3", headers={"x-request-id": "one"})
    (line,) = lines
    told = json.loads(line)
    assert told["level"] == "info"
    assert told["message"] == "request"
    assert (told["method"], told["path"], told["status"]) == ("GET", SEARCH, 200)
    assert told["route"] == "/v1/indexes/{name}/search"
    assert told["took_ms"] > 0
    assert told["time"].endswith("Z")
    assert "private" not in line


def test_a_failure_is_a_problem_with_its_request_id_and_a_line_that_tells_why(client, lines):
    app = client.app

    async def fail(request):
        raise ZeroDivisionError("a fault of ours")

    app.add_route("/fail", fail)
    answer = client.get("/fail", headers={"x-request-id": "seven"})
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert "seven" in answer.json()["detail"]
    assert "fault of ours" not in answer.text
    failed, request = (json.loads(line) for line in lines)
    assert failed["request_id"] == request["request_id"] == "seven"
    assert "ZeroDivisionError: a fault of ours" in failed["exception"]
    assert (request["status"], request["level"]) == (500, "warning")


def test_no_key_is_ever_written(searchers, lines):
    with TestClient(create_app(searchers, keys=ApiKeys([KEY]))) as client:
        for path in ("/v1/info", "/metrics", SEARCH, "/nowhere", "/v1/indexes/none", "/"):
            for headers in (
                {"authorization": f"Bearer {KEY}"},
                {"x-api-key": KEY},
                {"x-api-key": KEY + "x"},
                {"authorization": KEY},
                {"cookie": KEY},
            ):
                for method in ("GET", "POST"):
                    answer = client.request(
                        method, f"{path}?key={KEY}", headers=headers, json={"query": KEY}
                    )
                    assert answer.status_code < 500
                    assert KEY not in answer.text
                    assert KEY not in str(answer.headers)
    assert len(lines) == 60
    assert KEY not in "".join(lines)


def test_nothing_a_client_sends_begins_another_line(client, lines):
    client.get("/a%0d%0a%7B%22level%22:%22error%22%7D%ed%a0%80%e2%80%a8")
    (line,) = lines
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["path"].startswith('/a\r\n{"level"')


def test_a_record_that_json_cannot_hold_is_written_all_the_same():
    record = logging.LogRecord("tamis", logging.INFO, "", 0, "%s \ud800", ({1},), None)
    record.fields = {"path": __file__, "set": {2}}
    assert json.loads(JsonLines().format(record))["message"] == "{1} \ud800"
