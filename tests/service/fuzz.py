"""Sends a server requests made of its OpenAPI document; every answer must be what that describes.

    fuzz.py FOLDER CASES SEED

Prints what was found as a line of JSON. Of eight requests seven name things that exist, as far as
they name any, and what a request removes is put back: otherwise nearly all would be answered by
404 before they reach what they are to try. The eighth is left as it was made.
"""

import json
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from server_process import QUICK, Server

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
DOCUMENTS = [
    {"_id": "owl", "text": "Owls hunt at night.", "year": 2001},
    {"_id": "heron", "text": "A heron waits in the reeds.", "year": 2002},
]
IDS = [document["_id"] for document in DOCUMENTS]
IN_PATH = {
    "name": ["birds", "live"],
    "id": IDS,
    "alias": ["live"],
    "snapshot": ["first"],
}
NEW_NAMES = ["birds", "live", "more"]  # for an index to make: two are taken
IN_BODY = {"id": IDS, "index": ["birds"], "snapshot": ["first"], "to": ["more"]}
NDJSON = "application/x-ndjson"
LEFT_AS_MADE = 7  # of 0 to 7


@schemathesis.serializer(NDJSON)
def as_text(context, value):
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")


def prepare(client):
    """Put an index with documents, an alias and a snapshot where they are missing; nothing else."""
    for index in client.get("/v1/indexes").json()["indexes"]:
        if index["name"] != "birds":
            for alias in index["aliases"]:
                client.delete(f"/v1/aliases/{alias}")
            client.delete(f"/v1/indexes/{index['name']}")
    body = {"encoder": None, "fields": {"year": "integer"}}
    assert client.put("/v1/indexes/birds", json=body).is_success
    for document in DOCUMENTS:
        path = f"/v1/indexes/birds/documents/{document['_id']}"
        if client.get(path).status_code == 404:
            assert client.put(f"{path}?wait=searchable", json=document).is_success
    assert client.put("/v1/aliases/live", json={"index": "birds"}).is_success
    if "first" not in str(client.get("/v1/indexes/birds/snapshots").json()):
        client.post("/v1/indexes/birds/snapshots", json={"name": "first"})


class Fuzz:
    """Requests to one server.

    Attributes:
        statuses: how many of which came back.
    """

    def __init__(self, address):
        self.statuses = Counter()
        self._client = httpx.Client(base_url=address, timeout=30)
        prepare(self._client)
        loaded = schemathesis.openapi.from_url(f"{address}/openapi.json")
        loaded.config.update(base_url=address)
        self._operations = [found.ok() for found in loaded.get_all_operations()]

    def close(self):
        """Let go of the connection."""
        self._client.close()

    def send(self, cases, chance):
        """Send so many requests, each operation its share."""
        each = -(-cases // len(self._operations))
        for operation in self._operations:
            self._try(operation, each, chance)

    def _try(self, operation, cases, chance):
        @seed(chance)
        @settings(
            max_examples=cases,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(
            case=operation.as_strategy(), left=st.integers(0, LEFT_AS_MADE), pick=st.integers(0, 99)
        )
        def test(case, left, pick):
            if left != LEFT_AS_MADE:
                self._name_what_exists(case, operation, pick)
            answer = case.call(timeout=30)
            self.statuses[answer.status_code] += 1
            case.validate_response(answer, checks=CHECKS)
            if operation.method != "get" and answer.status_code < 300:
                self._put_back(operation)

        test()

    def _name_what_exists(self, case, operation, pick):
        for name in case.path_parameters or {}:
            known = [self._task()] if name == "task" else IN_PATH[name]
            if operation.method == "put" and operation.path.endswith("{name}"):
                known = NEW_NAMES
            case.path_parameters[name] = known[pick % len(known)]
        body = case.body
        if case.media_type == NDJSON and isinstance(body, str):
            case.body = json.dumps({"_id": IDS[pick % len(IDS)], "text": body}) + "\n"
        elif isinstance(body, dict):
            for name in IN_BODY.keys() & body.keys():
                body[name] = IN_BODY[name][pick % len(IN_BODY[name])]

    def _task(self):
        tasks = self._client.get("/v1/tasks", params={"limit": 1}).json()["tasks"]
        return tasks[0]["id"] if tasks else 1

    def _put_back(self, operation):
        removes = operation.method == "delete" or operation.path.endswith("/delete")
        if removes or operation.method == "put" or operation.path == "/v1/restore":
            prepare(self._client)


def fuzz(folder, cases, chance):
    """Send requests to a server of its own; what was found."""
    server = Server(folder, {}, QUICK)
    try:
        with closing(Fuzz(server.address)) as found:
            found.send(cases // 10, chance)  # what is loaded once is loaded now
            before = server.memory_bytes()
            found.send(cases - cases // 10, chance + 1)
        grown = server.memory_bytes("VmHWM") - before
    finally:
        server.stop()
    statuses = found.statuses
    reached = sum(n for status, n in statuses.items() if status < 300 or status in (409, 422))
    return {
        "cases": sum(statuses.values()),
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "reached_handlers": reached,
        "failures": 0,
        "schema_deviations": 0,
        "memory_bytes": max(0, grown),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(fuzz(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))) + "\n")
