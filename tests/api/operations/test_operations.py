"""Every operation: its answer is what OpenAPI says, and who may ask is what its table says."""

import json
import re

import jsonschema
import msgspec
import pytest
from starlette.testclient import TestClient

from tamis.api import create_app
from tamis.api.http.keys import ApiKeys
from tamis.api.operations.operation import NDJSON
from tamis.api.operations.table import OPERATIONS
from tamis.api.serving.data_folder import DataFolder
from tamis.index import InputError

ADMIN = "0123456789abcdef-admin"
READ = "0123456789abcdef-read"
LAST = ("remove_snapshot", "remove_alias", "remove_index")  # they take away what others need
TABLE = sorted(OPERATIONS, key=lambda one: LAST.index(one.name) if one.name in LAST else -1)
OF_PATH = {"name": "birds", "id": "owl", "alias": "live", "snapshot": "first"}
OWN = {  # where the defaults would not do
    "create_index": {"name": "made"},
    "delete_document": {"id": "heron"},
    "remove_index": {"name": "made"},
}
QUERY = {
    "search_by_url": {"q": "owls", "fields": "title", "filter": '{"must": []}'},
    "suggest": {"q": "ow"},
    "get_texts": {"word": "owl"},
}
BODIES = {
    "create_index": {"encoder": None},
    "search": {"query": "owls", "k": 1, "explain": True, "highlight": True},
    "search_indexes": {"indexes": ["birds"], "query": "owls", "explain": True, "highlight": True},
    "search_batch": {"queries": ["owls", {"vector": {"=owl": 1.0}}]},
    "search_shard": {"weights": {"=owl": 1.0, "=gone": 2.0}, "k": 3},
    "explain": {"query": "owls", "id": "owl"},
    "encode": {"texts": ["owls"], "index": "birds"},
    "rerank": {"query": "owls", "documents": ["an owl", "a sea"], "return_documents": True},
    "put_document": {"text": "Owls hunt at night."},
    "delete_documents": {"ids": ["uhu"]},
    "add_fields": {"fields": {"price": "float"}},
    "patch_document": {"price": 7},
    "put_alias": {"index": "birds"},
    "put_synonyms": {"synonyms": ["owl, uhu"], "stop_words": []},
    "take_snapshot": {"name": "first"},
    "restore_snapshot": {"index": "birds", "snapshot": "first", "to": "restored"},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with keys, an index, an alias and a snapshot; gives a function to call it."""
    path = tmp_path_factory.mktemp("data")
    keys = ApiKeys([ADMIN, "another-admin-of-ours"], [READ])
    app = create_app({}, data=DataFolder(path), keys=keys)
    with TestClient(app, raise_server_exceptions=False) as client:
        call = Caller(client)
        for name in ("birds",):
            call.plain("PUT", f"/v1/indexes/{name}", {"encoder": None})
            call.plain("PUT", f"/v1/indexes/{name}/documents/owl", {"text": "Owls at night."})
            call.plain("PUT", f"/v1/indexes/{name}/documents/heron?wait=searchable", {"text": "x"})
        yield call


class Caller:
    def __init__(self, client):
        self.client = client
        self.task = 1

    def plain(self, method, path, body):
        headers = {"x-api-key": ADMIN}
        assert self.client.request(method, path, json=body, headers=headers).is_success

    def __call__(self, operation, headers):
        names = OF_PATH | OWN.get(operation.name, {}) | {"task": str(self.task)}
        path = re.sub(r"{(\w+)}", lambda match: names[match[1]], operation.path)
        body = BODIES.get(operation.name)
        content = None if body is None else json.dumps(body).encode()
        if operation.accepts == NDJSON:
            content = b'{"_id": "new", "text": "A wren."}\n'
        answer = self.client.request(
            operation.method,
            path,
            params=QUERY.get(operation.name),
            content=content,
            headers=headers,
        )
        if operation.name == "take_snapshot" and answer.is_success:
            self.wait(answer.json()["id"])
        return answer

    def wait(self, task):
        for line in self.client.get(
            f"/v1/tasks/{task}/events", headers={"x-api-key": ADMIN}
        ).iter_lines():
            assert '"status":"failed"' not in line


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_who_may_ask_what_is_what_the_table_says(server, header):
    """Keys that may not are tried first; then each operation is carried out for those who may."""
    for operation in OPERATIONS:
        for key, role in (
            (None, None),
            ("wrong" + ADMIN, None),
            (ADMIN[:-1], None),
            (READ, "read"),
        ):
            status = {"open": None, "search": 401}.get(operation.access, 403 if role else 401)
            if status is None or (operation.access == "search" and role):
                continue
            prefix = "Bearer " if header == "authorization" else ""
            answer = server(operation, {} if key is None else {header: prefix + key})
            assert answer.status_code == status, (operation.name, key)
            assert answer.json()["code"] == ("forbidden" if role else "unauthorized")
            assert (answer.headers.get("www-authenticate") == "Bearer") is (status == 401)
            assert ADMIN not in answer.text
            assert READ not in answer.text


def test_every_answer_is_what_openapi_says_for_whoever_may_ask(server):
    document = server.client.get("/openapi.json").json()
    for operation in TABLE:
        key = {"open": "none", "search": READ}.get(operation.access, ADMIN)
        answer = server(operation, {"authorization": f"Bearer {key}"})
        statuses = (operation.status, *operation.also)
        assert answer.status_code in statuses, (operation.name, answer.text)
        assert answer.headers["content-type"].partition(";")[0] == operation.sends
        if operation.gives is str:
            continue
        decoded = msgspec.json.decode(answer.content, type=operation.gives)
        assert msgspec.json.decode(msgspec.json.encode(decoded)) == answer.json()
        described = document["paths"][operation.path][operation.method.lower()]
        schema = described["responses"][str(answer.status_code)]["content"][operation.sends]
        jsonschema.validate(
            answer.json(), {**schema["schema"], "components": document["components"]}
        )


def test_an_operation_that_changes_something_asks_for_the_right_to():
    harmless = {"search", "search_indexes", "search_batch", "search_shard"}
    harmless |= {"explain", "encode", "rerank"}
    for operation in OPERATIONS:
        if operation.method != "GET" and operation.name not in harmless:
            assert operation.access in ("write", "all"), operation.name
    assert {one.path for one in OPERATIONS if one.access == "open"} == {
        "/livez",
        "/readyz",
        "/healthz",
    }


def test_openapi_describes_every_route_and_the_limits(client):
    document = client.get("/openapi.json").json()
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    assert described == {(operation.method, operation.path) for operation in OPERATIONS}
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
    schemas = document["components"]["schemas"]
    references = set(re.findall(r'"#/components/schemas/(\w+)"', client.get("/openapi.json").text))
    assert references <= set(schemas)
    search = schemas["SearchRequest"]
    assert search["properties"]["k"]["maximum"] == 1000
    assert search["additionalProperties"] is False
    assert "query" not in search.get("required", [])  # a filter may stand in the query's place
    batch = schemas["BatchRequest"]["properties"]["queries"]
    assert batch["maxItems"] == 256


def test_openapi_gives_an_example_for_each_body_that_works():
    for operation in OPERATIONS:
        if operation.takes is not None:
            msgspec.convert(operation.example, operation.takes)
            assert operation.example


def test_key_files_are_read_line_by_line(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# ours\n\n{ADMIN}\nread {READ}\n")
    keys = ApiKeys.read(path)
    assert ADMIN not in str(vars(keys))
    assert roles(keys, ADMIN, READ, "other") == ["all", "search", None]
    for text, named in (
        ("", "at least one key"),
        (f"{ADMIN}\nshort\n", "keys:2: "),
        ("k" * 15, ":1: "),
        (f"owner {ADMIN}", "`RIGHT KEY [INDEX...]`"),
        (f"read {READ} birds ../birds", "found '../birds' as number 2"),
        (f"read {READ} birds fish birds", "found 'birds' as number 3"),
        (f"{READ} birds", "expected `RIGHT KEY [INDEX...]`"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=re.escape(named)):
            ApiKeys.read(path)
    with pytest.raises(InputError, match="check the path"):
        ApiKeys.read(tmp_path / "missing")


def test_a_key_file_may_hold_hashes(tmp_path):
    path = tmp_path / "keys"
    # printf 0123456789abcdef-read | sha256sum
    digest = "bedd61db0f64852ca55af9cb7d2c496c1959f6642cb65b4c56780cf6d139312d"
    path.write_text(f"read sha256:{digest}\n")
    assert roles(ApiKeys.read(path), READ, f"sha256:{digest}") == ["search", None]


def test_the_stronger_role_of_a_key_counts():
    assert roles(ApiKeys([ADMIN], [ADMIN]), ADMIN) == ["all"]


class Asked:
    def __init__(self, key):
        self.headers = {"authorization": f"Bearer {key}"}


def roles(keys, *given):
    grants = [keys.grant(Asked(key)) for key in given]
    return [grant and grant.everywhere for grant in grants]


def test_strangers_are_told_of_faults_by_word_and_code_alone(tmp_path):
    with TestClient(create_app({}, data=DataFolder(tmp_path))) as client:
        assert client.put("/v1/indexes/customer", json={"encoder": None}).status_code == 201
    (tmp_path / "indexes" / "customer" / "CURRENT").write_text("oops")
    guarded = create_app({}, data=DataFolder(tmp_path), keys=ApiKeys([ADMIN], [READ]))
    with TestClient(guarded) as client:
        for headers in ({}, {"x-api-key": "wrong" + ADMIN}):
            ready = client.get("/readyz", headers=headers)
            assert ready.status_code == 200
            assert ready.json() == {"status": "ready", "codes": ["corrupt"]}
            health = client.get("/healthz", headers=headers)
            assert (health.status_code, health.json()["code"]) == (503, "unhealthy")
            for secret in ("customer", str(tmp_path), "oops", "CURRENT", "1"):
                assert secret not in health.json()["detail"] + ready.text
            assert "corrupt" in health.json()["detail"]
        told = client.get("/healthz", headers={"x-api-key": READ}).json()["detail"]
        assert "customer" in told
        assert "CURRENT" in told


@pytest.mark.parametrize("mode", [0o666, 0o660, 0o602, 0o620])
def test_a_key_file_that_others_may_write_is_refused(tmp_path, mode):
    path = tmp_path / "keys"
    path.write_text(f"admin {ADMIN}\n")
    for allowed in (0o600, 0o644, 0o444):
        path.chmod(allowed)
        assert ApiKeys.read(path)
    path.chmod(mode)
    with pytest.raises(InputError, match=f"found mode {mode:o}; run `chmod go-w"):
        ApiKeys.read(path)
