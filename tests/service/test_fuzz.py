"""Requests made of the OpenAPI document: no failure, and every answer is what it describes."""

import threading
import time
from collections import Counter

import httpx
import numpy as np
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tamis.api import create_app
from tamis.api.data_folder import DataFolder
from tamis.api.server import address_of, listen

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
KNOWN = {"name": ["birds", "live"], "id": ["owl"], "alias": ["live"], "snapshot": ["first"]}
DOCUMENTS = [
    {"_id": "owl", "text": "Owls hunt at night.", "year": 2001},
    {"_id": "heron", "text": "A heron waits in the reeds.", "year": 2002},
]


@schemathesis.serializer("application/x-ndjson")
def as_text(context, value):
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")


class Quick:
    """A reranker that costs nothing."""

    def score(self, query, documents, *, first_stage=None):
        return np.zeros(len(documents), np.float32)


@pytest.fixture
def address(tmp_path):
    """A server in this process with an index, an alias and a snapshot."""
    listener = listen("127.0.0.1", 0, guarded=False)
    app = create_app({}, data=DataFolder(tmp_path / "data"), reranker=Quick())
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    prepare(address_of(listener))
    yield address_of(listener)
    server.should_exit = True
    thread.join()


def prepare(address):
    with httpx.Client(base_url=address) as client:
        body = {"encoder": None, "fields": {"year": "integer"}}
        assert client.put("/v1/indexes/birds", json=body).is_success
        for document in DOCUMENTS:
            path = f"/v1/indexes/birds/documents/{document['_id']}?wait=searchable"
            assert client.put(path, json=document).is_success
        assert client.put("/v1/aliases/live", json={"index": "birds"}).is_success
        assert client.post("/v1/indexes/birds/snapshots", json={"name": "first"}).is_success


def schema_of(address):
    """What the server says of itself, where half of all names are those of things that exist."""
    document = httpx.get(f"{address}/openapi.json").json()
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and parameter["name"] in KNOWN:
                    known = {"enum": KNOWN[parameter["name"]]}
                    parameter["schema"] = {"anyOf": [known, parameter["schema"]]}
    loaded = schemathesis.openapi.from_dict(document)
    loaded.config.update(base_url=address)
    return loaded


def fuzz(address, cases, chance):
    """Send so many requests to each operation; how many of which status came back."""
    statuses = Counter()
    operations = [found.ok() for found in schema_of(address).get_all_operations()]
    each = -(-cases // len(operations))
    for operation in operations:
        run(operation, each, chance, statuses)
        if operation.method in ("delete", "put"):
            prepare_again(address)
    return statuses


def run(operation, cases, chance, statuses):
    @seed(chance)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def test(case):
        answer = case.call(timeout=30)
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    test()


def prepare_again(address):
    """Bring back what was deleted."""
    with httpx.Client(base_url=address) as client:
        client.delete("/v1/aliases/live")
        client.delete("/v1/indexes/birds")
        client.delete("/v1/indexes/birds/snapshots/first")
    prepare(address)


def test_two_thousand_requests_are_answered_as_described(address):
    statuses = fuzz(address, 2000, chance=7)
    assert sum(statuses.values()) >= 1500
    assert max(statuses) < 500
    assert {200, 404, 422} <= set(statuses)


@pytest.mark.slow
def test_a_hundred_thousand_requests_are_answered_as_described(address, proof):
    statuses, chance = Counter(), 0
    while sum(statuses.values()) < 100_000:
        statuses += fuzz(address, 10_000, chance)
        chance += 1
        proof(
            "schemathesis",
            cases=sum(statuses.values()),
            statuses={str(status): count for status, count in sorted(statuses.items())},
            failures=0,
            schema_deviations=0,
        )
