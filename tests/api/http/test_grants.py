"""Keys for some indexes open these and nothing else, and tell of nothing else."""

import json
import logging
import re

import pytest
from starlette.testclient import TestClient

from tamis.api import create_app
from tamis.api.http.keys import ApiKeys
from tamis.api.operations.grants import Grant
from tamis.api.operations.table import OPERATIONS
from tamis.api.serving.data_folder import DataFolder
from tamis.index import InputError

ADMIN, SEARCH, WRITE, ALL = (f"0123456789abcdef-{name}" for name in ("a", "s", "w", "all"))
FILE = f"""
admin {ADMIN}
search {SEARCH} birds
write {WRITE} birds
search {WRITE} by-alias
all {ALL} birds new
"""
LEVEL = {"search": 1, "write": 2, "all": 3}
HELD = {SEARCH: 1, WRITE: 2, ALL: 3}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Birds, which the keys are of, and secret, which they are not of."""
    path = tmp_path_factory.mktemp("guarded")
    (path / "keys").write_text(FILE)
    app = create_app({}, data=DataFolder(path / "data"), keys=ApiKeys.read(path / "keys"))
    with TestClient(app, raise_server_exceptions=False) as client:
        for name in ("birds", "secret", "fish"):
            assert ask(client, ADMIN, "PUT", f"/v1/indexes/{name}", {"encoder": None}).is_success
            owl = {"text": "Owls hunt at night."}
            place = f"/v1/indexes/{name}/documents/owl?wait=searchable"
            assert ask(client, ADMIN, "PUT", place, owl).is_success
        for alias, index in (("by-alias", "fish"), ("other-birds", "birds")):
            body = {"index": index}
            assert ask(client, ADMIN, "PUT", f"/v1/aliases/{alias}", body).is_success
        yield client


def ask(client, key, method, path, body=None):
    return client.request(method, path, json=body, headers={"x-api-key": key})


def path_of(operation, name):
    values = {"name": name, "id": "owl", "alias": "x", "snapshot": "x", "task": "99"}
    return re.sub(r"{(\w+)}", lambda match: values[match[1]], operation.path)


@pytest.mark.parametrize("key", [SEARCH, WRITE, ALL])
def test_no_key_of_one_index_does_anything_with_another(client, key):
    for operation in OPERATIONS:
        if "{name}" in operation.path:
            answer = ask(client, key, operation.method, path_of(operation, "secret"), {})
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), operation.name
        elif operation.access != "open" and not operation.narrows:
            answer = ask(client, key, operation.method, path_of(operation, ""), {})
            assert answer.status_code == 403, operation.name
    assert ask(client, key, "GET", "/metrics").status_code == 403


@pytest.mark.parametrize("key", [SEARCH, WRITE, ALL])
def test_a_right_admits_what_the_table_says(client, key):
    for operation in OPERATIONS:
        if "{name}" in operation.path and operation.name != "remove_index":
            answer = ask(client, key, operation.method, path_of(operation, "birds"), {})
            allowed = HELD[key] >= LEVEL[operation.access]
            assert (answer.status_code == 403) != allowed, operation.name


def test_what_is_of_no_index_shows_what_a_key_opens(client):
    assert names(client, SEARCH) == ["birds"]
    assert names(client, WRITE) == ["birds", "fish"]  # the latter by its alias
    assert names(client, ADMIN) == ["birds", "fish", "secret"]
    assert ask(client, SEARCH, "GET", "/v1/info").json()["indexes"] == ["birds"]
    aliases = ask(client, SEARCH, "GET", "/v1/aliases").json()["aliases"]
    assert aliases == [{"alias": "other-birds", "index": "birds"}]


def names(client, key):
    return [one["name"] for one in ask(client, key, "GET", "/v1/indexes").json()["indexes"]]


def test_an_alias_opens_with_its_index_and_an_index_not_with_its_alias(client):
    search = {"query": "owls"}
    for name, status in (("other-birds", 200), ("birds", 200), ("by-alias", 403), ("fish", 403)):
        answer = ask(client, SEARCH, "POST", f"/v1/indexes/{name}/search", search)
        assert answer.status_code == status, name
    for name, status in (("by-alias", 200), ("fish", 403)):
        answer = ask(client, WRITE, "POST", f"/v1/indexes/{name}/search", search)
        assert answer.status_code == status, name


def test_bodies_that_name_an_index_are_looked_at(client):
    body = {"texts": ["owls"], "index": "secret"}
    assert ask(client, SEARCH, "POST", "/v1/encode", body).status_code == 403
    del body["index"]  # there is but one that this key opens
    assert ask(client, SEARCH, "POST", "/v1/encode", body).json()["index"] == "birds"
    told = ask(client, WRITE, "POST", "/v1/encode", body).json()["detail"]
    assert "secret" not in told


def test_an_index_that_is_not_there_is_told_without_the_names_of_others(client):
    told = ask(client, ALL, "POST", "/v1/indexes/new/search", {"query": "owls"})
    assert (told.status_code, told.json()["code"]) == (404, "unknown_index")
    assert "secret" not in told.text
    assert "fish" not in told.text
    assert ask(client, ALL, "PUT", "/v1/indexes/new", {"encoder": None}).status_code == 201
    assert ask(client, ALL, "DELETE", "/v1/indexes/new").status_code == 200


def test_a_task_is_shown_to_whoever_may_start_it(client):
    task = ask(client, ALL, "POST", "/v1/indexes/birds/optimize").json()["id"]
    assert ask(client, ALL, "GET", f"/v1/tasks/{task}").status_code == 200
    other = ask(client, ADMIN, "POST", "/v1/indexes/secret/optimize").json()["id"]
    assert ask(client, ALL, "GET", f"/v1/tasks/{other}").status_code == 404
    assert ask(client, WRITE, "GET", f"/v1/tasks/{task}").status_code == 403
    shown = ask(client, ALL, "GET", "/v1/tasks").json()["tasks"]
    assert {one["subject"].partition("/")[0] for one in shown} == {"birds"}


def test_rights_of_several_lines_are_added():
    one, other = Grant(None, {"a": "write", "b": "search"}), Grant("search", {"b": "all"})
    assert one.plus(other) == other.plus(one) == Grant("search", {"a": "write", "b": "all"})
    assert one.admits("search", ("b",))
    assert not one.admits("write", ("b",))
    assert not one.admits("search")


def test_a_key_of_an_index_that_is_not_there(tmp_path, searchers, caplog):
    (tmp_path / "keys").write_text(f"search {SEARCH} wrods\n")
    keys = ApiKeys.read(tmp_path / "keys")
    with pytest.raises(InputError, match=r"keys: expected keys of the indexes words, both, found"):
        create_app(searchers, keys=keys)
    with caplog.at_level(logging.WARNING):  # here it may yet be made
        data = DataFolder(tmp_path / "data")
        create_app({}, keys=keys, data=data).state.service.close()
    assert "a key is of the index wrods, which is not there yet" in caplog.text


def test_a_reread_file_with_an_unknown_index_leaves_the_keys_as_they_were(tmp_path, searchers):
    path = tmp_path / "keys"
    path.write_text(f"search {SEARCH} words\n")
    keys = ApiKeys.read(path)
    with TestClient(create_app(searchers, keys=keys)) as client:
        path.write_text(f"search {SEARCH} wrods\n")
        keys.reload()
        assert "wrods" in keys.fault.detail
        assert ask(client, SEARCH, "GET", "/v1/indexes/words").status_code == 200


def test_faults_of_other_indexes_are_told_by_code_alone(tmp_path):
    (tmp_path / "keys").write_text(FILE)
    with TestClient(create_app({}, data=DataFolder(tmp_path / "data"))) as client:
        assert client.put("/v1/indexes/customer", json={"encoder": None}).status_code == 201
    (tmp_path / "data" / "indexes" / "customer" / "CURRENT").write_text("oops")
    keys = ApiKeys.read(tmp_path / "keys")
    with TestClient(create_app({}, data=DataFolder(tmp_path / "data"), keys=keys)) as client:
        told = json.dumps(ask(client, SEARCH, "GET", "/healthz").json())
        assert "corrupt" in told
        assert "customer" not in told
