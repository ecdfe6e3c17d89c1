"""The client against a real server in a thread, with faults between the two."""

import asyncio
import inspect
import json
import re
from email.utils import formatdate
from pathlib import Path
from time import time

import httpx
import pytest

from tamis.api import create_app
from tamis.api.client import AsyncClient, Client, Repeats, ServiceError, bulk, exchanges
from tamis.api.http.keys import ApiKeys
from tamis.api.messages.requests import SearchRequest
from tamis.api.operations.table import OPERATIONS
from tamis.api.serving.data_folder import DataFolder
from tamis.index import InputError

ROOT = Path(__file__).parents[3]
KEY = "0123456789abcdef"
WORDS = {"encoder": "bm25", "fields": {"year": "integer"}}
BIRDS = [
    {"_id": "owl", "text": "Owls hunt at night.", "year": 2001},
    {"_id": "a heron/grey?#%", "text": "A heron waits in the reeds.", "year": 2002},
    {"_id": "..", "text": "The red kite circles over fields.", "year": 2003},
]
QUICK = Repeats(first_pause_s=0.001)


class Faults:
    """An application before another: each fault in its list befalls one request, in order.

    Attributes:
        faults: ``lost``: carried out, but the answer breaks off. ``(status, headers)``: refused
            by somebody before the server. None: nothing.
        seen: method, path and idempotency key of each request.
    """

    def __init__(self, app):
        self.app, self.faults, self.seen = app, [], []

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        self.seen.append((scope["method"], scope["path"], headers.get(b"idempotency-key")))
        fault = self.faults.pop(0) if self.faults else None
        if fault is None:
            await self.app(scope, receive, send)
        elif fault == "lost":

            async def swallow(message):
                pass

            await self.app(scope, receive, swallow)
            await send({"type": "http.response.start", "status": 200, "headers": [
                (b"content-length", b"100"), (b"content-type", b"application/json")]})  # fmt: skip
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
        else:
            status, headers = fault
            pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
            await send({"type": "http.response.start", "status": status, "headers": pairs})
            await send({"type": "http.response.body", "body": b"<html>"})


@pytest.fixture(scope="module")
def server(start, tmp_path_factory):
    keys = ApiKeys(admin=[KEY])
    found = Faults(create_app({}, keys=keys, data=DataFolder(tmp_path_factory.mktemp("data"))))
    found.address = start(found)
    return found


@pytest.fixture(scope="module")
def opened(server):
    with Client(server.address, KEY, repeats=QUICK) as client:
        client.create_index("birds", WORDS)
        client.add_documents("birds", BIRDS, wait="searchable")
        client.create_index("more", WORDS)
        yield client


@pytest.fixture
def client(server, opened):
    server.faults, server.seen = [], []
    return opened


def test_each_operation_is_a_method_that_sends_what_the_table_says():
    left_out = {"livez", "readyz", "healthz", "metrics", "search_by_url", "follow_task"}
    left_out |= {"search_shard", "get_statistics", "get_texts"}  # of brokers
    of_lines = {"add_documents": "add_lines", "patch_documents": "patch_lines"}
    placeholders = {"index": "name"}
    for operation in OPERATIONS:
        if operation.name in left_out:
            continue
        assert hasattr(Client, operation.name), operation.name
        assert hasattr(AsyncClient, operation.name), operation.name
        describe = getattr(exchanges, of_lines.get(operation.name, operation.name))
        needed = [
            one.name
            for one in inspect.signature(describe).parameters.values()
            if one.default is one.empty and one.kind is not one.VAR_KEYWORD
        ]
        values = {name: b"" if name == "lines" else f"<{name}>" for name in needed}
        values |= {name: {} for name in ("document", "change", "fields") if name in values}
        sent = describe(**values)
        path = operation.path
        for name in needed:
            place = f"{{{placeholders.get(name, name)}}}"
            path = path.replace(place, f"%3C{name}%3E" if name != "task" else f"<{name}>")
        assert (sent.method, sent.path) == (operation.method, path)
        assert sent.gives is operation.gives, operation.name
        assert (sent.key is not None) == operation.once, operation.name


def test_options_of_a_search_are_those_of_the_service():
    assert set(exchanges.Option.__annotations__) == set(SearchRequest.__struct_fields__) - {"query"}


def test_answers_are_typed(client):
    found = client.search("birds", "owls at night", k=2, explain=True)
    assert [hit.id for hit in found.hits] == ["owl"]
    (hit,) = found.hits
    assert sum(term.contribution for term in hit.matched_terms) == pytest.approx(hit.score, 1e-4)
    listed = client.search("birds", filter={"field": "year", "eq": 2002})
    assert [hit.id for hit in listed.hits] == ["a heron/grey?#%"]
    assert client.get_index("birds").documents == 3


def test_any_id_reaches_its_document(client):
    ids = ["a heron/grey?#%", "..", ".", "é 漢"]
    client.add_documents("more", [{"_id": one, "text": one} for one in ids], wait="searchable")
    assert [client.get_document("more", one).document["text"] for one in ids] == ids
    assert [client.delete_document("more", one, wait="none").deleted for one in ids] == [1] * 4


def test_both_clients_give_the_same(server, client):
    async def ask():
        async with AsyncClient(server.address, KEY) as other:
            found, listed = await asyncio.gather(
                other.search("birds", "owls"), other.list_indexes()
            )
            return found.hits, [index.name for index in listed.indexes]

    hits, listed = asyncio.run(ask())
    assert hits == client.search("birds", "owls").hits
    assert listed == [index.name for index in client.list_indexes().indexes]


def test_a_problem_is_one_exception_with_its_code(client, server):
    with pytest.raises(ServiceError, match=r"^404 unknown_index: expected one of") as told:
        client.search("fish", "owls")
    assert (told.value.status, told.value.code) == (404, "unknown_index")
    assert told.value.request_id
    assert len(server.seen) == 1
    with pytest.raises(ServiceError) as told:
        client.search("birds", "owls", k=10**6)
    assert told.value.code == "limit_exceeded"
    with (
        Client(server.address, "another key of sixteen") as other,
        pytest.raises(ServiceError) as told,
    ):
        other.info()
    assert (told.value.status, told.value.code) == (401, "unauthorized")


@pytest.mark.parametrize(
    "fault", ["lost", (502, {}), (503, {"retry-after": "0"}), (429, {}), (504, {}), (408, {})]
)
def test_what_may_pass_is_asked_again(client, server, fault):
    server.faults = [fault, None]
    assert [hit.id for hit in client.search("birds", "owls").hits] == ["owl"]
    assert len(server.seen) == 2


def test_what_does_not_pass_ends_after_so_many_attempts(client, server):
    server.faults = [(503, {})] * 9
    with pytest.raises(ServiceError) as told:
        client.info()
    assert len(server.seen) == QUICK.attempts
    assert (told.value.status, told.value.code) == (503, "unreadable_answer")
    server.faults = [(500, {})]
    server.seen.clear()
    with pytest.raises(ServiceError, match="unreadable_answer"):
        client.info()
    assert len(server.seen) == 1


def test_a_bulk_write_whose_answers_are_lost_is_carried_out_once(client, server, monkeypatch):
    monkeypatch.setattr(bulk, "BODY_BYTES", 200)
    sizes = []
    many = ({"_id": f"n{at}", "text": f"Bird number {at}", "year": at} for at in range(40))

    def counted():
        for one in many:
            sizes.append(len(server.seen))
            yield one

    server.faults = ["lost", None, "lost", (502, {}), "lost", None]
    answer = client.add_documents("more", counted(), wait="searchable")
    assert (answer.written, answer.failed) == (40, 0)
    found = client.search("more", "bird", k=100)
    assert {hit.id for hit in found.hits} >= {f"n{at}" for at in range(40)}
    assert sizes[-1] > 0, "documents are sent while they are read"
    keys = [key for method, _, key in server.seen if method == "POST"]
    assert keys[0] == keys[1]
    assert keys[2] == keys[3] == keys[4] == keys[5]
    assert len(set(keys)) == len(keys) - 4


def test_the_lines_of_a_bulk_write_are_numbered_through(client, monkeypatch):
    monkeypatch.setattr(bulk, "BODY_BYTES", 100)
    lines = [{"_id": str(at), "text": "A bird.", "year": at} for at in range(30)]
    lines[3]["year"], lines[27]["year"] = "soon", "later"
    answer = client.add_documents("more", lines)
    assert (answer.written, answer.failed) == (28, 2)
    assert [(one.line, one.id) for one in answer.problems] == [(4, "3"), (28, "27")]


def test_async_documents_are_taken_as_they_come(server, client):
    async def few():
        for at in range(3):
            yield {"_id": f"async {at}", "text": "A bird."}

    async def write():
        async with AsyncClient(server.address, KEY) as other:
            added = await other.add_documents("more", few())
            changes = [{"_id": "async 1", "year": 7}]
            return added, await other.patch_documents("more", changes, wait="searchable")

    added, changed = asyncio.run(write())
    assert (added.written, changed.written) == (3, 1)
    assert client.get_document("more", "async 1").document["year"] == 7


def test_what_json_cannot_hold_is_told_by_its_document(client, server):
    with pytest.raises(InputError, match=r"^document 2: expected what JSON can hold"):
        client.add_documents("more", [{"_id": "x", "text": ""}, {"_id": "y", "n": float("nan")}])
    assert server.seen == []


def test_a_refused_bulk_write_tells_what_was_written_before(client, server, monkeypatch):
    monkeypatch.setattr(bulk, "BODY_BYTES", 10)
    server.faults = [None, (500, {})]
    with pytest.raises(ServiceError) as told:
        client.add_documents("more", [{"_id": str(at), "text": "A bird."} for at in range(3)])
    assert told.value.__notes__ == ["1 documents before these are written"]


@pytest.mark.parametrize("fault", ["lost", (502, {})])
def test_a_removal_whose_answer_was_lost_is_done(client, server, fault):
    client.create_index("fish", WORDS)
    server.faults = [fault, None]
    if fault != "lost":  # as a proxy does that has lost its answer
        with Client(server.address, KEY) as other:
            server.faults = []
            other.remove_index("fish")
        server.faults = [fault]
    assert client.remove_index("fish").removed == "fish"
    with pytest.raises(ServiceError, match="unknown_index"):
        client.remove_index("fish")


def test_a_task_is_waited_for(client):
    task = client.wait_for(client.optimize_index("birds"), timeout_s=30)
    assert task.status == "done"


def test_a_server_that_is_not_there_is_told():
    nobody = Client("http://127.0.0.1:9", repeats=Repeats(2, 0.001))
    with nobody, pytest.raises(ServiceError, match=r"^unreachable: expected an answer") as told:
        nobody.info()
    assert told.value.status is None
    assert isinstance(told.value.__cause__, httpx.ConnectError)


def test_pauses_grow_and_keep_to_what_the_server_asks():
    repeats = Repeats(attempts=4, first_pause_s=1, most_pause_s=30)
    passing = ServiceError("overloaded", "", 503)
    assert 0.5 <= repeats.pause_s(1, passing) <= 1
    assert 2 <= repeats.pause_s(3, passing) <= 4
    assert repeats.pause_s(4, passing) is None
    assert repeats.pause_s(1, ServiceError("busy", "", 503, 20.0)) == 20
    assert repeats.pause_s(1, ServiceError("busy", "", 503, 31.0)) is None
    assert repeats.pause_s(1, ServiceError("in_progress", "", 409, 1.0)) == 1
    assert repeats.pause_s(1, ServiceError("time_up", "", 503, 1.0)) is None
    assert repeats.pause_s(1, ServiceError("invalid_value", "", 422)) is None


def test_a_date_in_retry_after_is_read(client, server):
    server.faults = [(503, {"retry-after": formatdate(time() + 100, usegmt=True)})]
    with pytest.raises(ServiceError) as told:
        client.info()
    assert 90 < told.value.retry_after_s <= 100
    server.faults = [(503, {"retry-after": "soon"}), None]
    assert client.info().name == "tamis"


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", ""])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(InputError, match=r"expected a URL such as http://127\.0\.0\.1:8080"):
        Client(url)


@pytest.mark.parametrize("key", ["", "two\nlines", " blank", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused(key):
    with pytest.raises(InputError, match="expected an API key"):
        Client("http://127.0.0.1", key)


def test_every_answer_of_a_service_can_be_read_again(client):
    client.put_synonyms("birds", ["owl, strix"], ["the"])
    assert client.get_synonyms("birds").stop_words == ("the",)
    assert client.suggest("birds", "ow").suggestions[0].text == "owls"
    batch = client.search_batch("birds", ["owls", {"vector": {"=owl": 1.0}}], k=1)
    assert [one.hits[0].id for one in batch.results] == ["owl", "owl"]
    assert client.explain("birds", "owls", "owl").score > 0
    assert json.loads(json.dumps(client.encode(["owls"], "birds").vectors))[0].keys() == {"=owl"}
    counted = client.search("birds", "owls", facets=["year"], count="words")
    assert (counted.total.value, counted.facets["year"][0].count) == (1, 1)


def test_the_page_on_the_client_runs(server, client, capsys):
    page = (ROOT / "scripts/docs/pages/how-to/client.md").read_text()
    for code in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        exec(code.replace("http://127.0.0.1:8080", server.address), {})
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("['1990', '1991', '1992'] ")
    assert said[1:] == ["404 unknown_document", "['1990', '1991']"]
