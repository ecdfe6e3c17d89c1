"""Indexes are made, listed and removed; aliases move between them; snapshots bring them back."""

import errno
import threading

import pytest
from letter_encoder import LetterEncoder, StoppedEncoder
from starlette.testclient import TestClient

from tamis.api import create_app
from tamis.api.serving.data_folder import DataFolder
from tamis.api.serving.places import Places
from tamis.index import Index, LockedError
from tamis.retriever import Passage, Searcher, index_corpus, indexing

BIRDS = "/v1/indexes/birds"


def flip_last_byte(file):
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_an_index_is_made_once_and_shown_as_it_is(home):
    home.create()
    shown = home.ask("GET", BIRDS)
    assert (shown["name"], shown["documents"], shown["writable"]) == ("birds", 4, True)
    assert shown["fields"] == {"year": "integer", "language": "string"}
    assert shown["encoder"] is None
    assert shown["chunk"] is None
    assert shown["lexical"]["words"] > 5
    assert home.ask("GET", "/v1/indexes")["indexes"] == [shown]
    same = {"encoder": None, "fields": {"language": "string", "year": "integer"}}
    assert home.ask("PUT", BIRDS, 200, json=same) == shown
    other = home.ask("PUT", BIRDS, 409, json={"encoder": None})
    assert other["code"] == "exists_differently"


def test_an_index_of_words_alone_may_be_asked_for_as_bm25(home):
    assert home.ask("PUT", BIRDS, 201, json={"encoder": "bm25"})["encoder"] is None
    assert home.ask("PUT", BIRDS, 200, json={"encoder": None})["encoder"] is None


def test_an_index_stores_its_weights_as_asked_for(home):
    home.ask("PUT", BIRDS, 201, json={"encoder": None, "precision": "u8"})
    assert Index.open(home.path / "indexes" / "birds").manifest.precision == "u8"
    home.ask("PUT", BIRDS, 200, json={"encoder": None, "precision": "u8"})
    home.ask("PUT", BIRDS, 409, json={"encoder": None})


def test_the_default_encoder_is_taken_unless_another_is_named(home):
    home.ask("PUT", BIRDS, 201)
    shown = home.ask("GET", BIRDS)
    assert shown["encoder"]["query_side"] == "table"
    assert "location" not in shown["encoder"]
    problem = home.ask("PUT", "/v1/indexes/other", 422, json={"encoder": "/etc"})
    assert (problem["code"], "default" in problem["detail"]) == ("unknown_encoder", True)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"encoder": None, "lexical": None}, "found neither"),
        ({"lexical": {"language": "klingon"}}, "klingon"),
        ({"lexical": {"b": 2}}, "b=2"),
        ({"fields": {"year": "number"}}, "$.fields"),
        ({"fields": {"text": "string"}}, "'text'"),
        ({"fieldz": {}}, "fieldz"),
        ({"precision": "u4"}, "$.precision"),
    ],
)
def test_settings_that_cannot_be_are_refused_and_leave_nothing(home, body, named):
    assert named in home.ask("PUT", BIRDS, 422, json=body)["detail"]
    assert home.ask("GET", "/v1/indexes")["indexes"] == []
    home.create()


@pytest.mark.parametrize(
    "name", ["A", "-a", "a.b", "a" * 65, "a b", "%2e%2e", "..%2fx", "%00", "a%0a", "ä"]
)
def test_names_are_of_one_pattern(home, name):
    for path in (f"/v1/indexes/{name}", f"/v1/aliases/{name}"):
        response = home.client.put(path, json={})
        assert response.status_code in (404, 405, 422), response.text
    assert sorted(one.name for one in (home.path / "indexes").iterdir()) == []


def test_a_removed_index_is_gone_and_its_name_free(home):
    home.create()
    assert home.ask("DELETE", BIRDS) == {"removed": "birds"}
    assert home.ask("GET", BIRDS, 404)["code"] == "unknown_index"
    assert home.ask("DELETE", BIRDS, 404)["code"] == "unknown_index"
    assert not (home.path / "indexes" / "birds").exists()
    home.create(documents=[{"_id": "x", "text": "other"}])
    assert home.found("other") == ["x"]


def test_an_alias_moves_from_one_index_to_another(home):
    home.create("first", documents=[{"_id": "old", "text": "owl"}])
    home.create("second", documents=[{"_id": "new", "text": "owl"}])
    alias = "/v1/aliases/live"
    assert home.ask("PUT", alias, json={"index": "first"}) == {"alias": "live", "index": "first"}
    assert home.found("owl", "live") == ["old"]
    home.ask("PUT", alias, json={"index": "second"})
    assert home.found("owl", "live") == ["new"]
    home.add([{"_id": "newer", "text": "heron"}], "live")
    assert home.found("heron", "second") == ["newer"]
    assert home.ask("GET", "/v1/indexes/live")["aliases"] == ["live"]
    assert home.ask("DELETE", "/v1/indexes/second", 409)["code"] == "has_aliases"
    assert home.ask("DELETE", "/v1/indexes/live", 409)["code"] == "is_alias"
    assert home.ask("PUT", alias, 404, json={"index": "third"})["code"] == "unknown_index"
    assert home.ask("PUT", alias, 409, json={"index": "live"})["code"] == "is_alias"
    taken = home.ask("PUT", "/v1/aliases/first", 409, json={"index": "second"})
    assert taken["code"] == "name_taken"
    assert home.ask("PUT", "/v1/indexes/live", 409, json={})["code"] == "name_taken"
    assert home.ask("GET", "/v1/aliases") == {"aliases": [{"alias": "live", "index": "second"}]}
    home.ask("DELETE", alias)
    assert home.ask("DELETE", alias, 404)["code"] == "unknown_alias"
    home.ask("DELETE", "/v1/indexes/second")


def test_aliases_and_indexes_are_there_after_a_restart(open_home):
    with open_home() as home:
        home.create()
        home.ask("PUT", "/v1/aliases/live", json={"index": "birds"})
        home.create("gone")
        home.ask("DELETE", "/v1/indexes/gone")
    with open_home() as home:
        assert home.found("owls", "live") == ["owl"]
        assert home.ask("PUT", BIRDS, 409, json={})["code"] == "exists_differently"
        assert len(home.ask("GET", "/v1/indexes")["indexes"]) == 1


def test_a_snapshot_brings_back_what_was(home):
    home.create()
    home.add([{"_id": "late", "text": "wren"}], wait="none")  # and is in the snapshot
    task = home.ask("POST", f"{BIRDS}/snapshots", 202, json={"name": "before"})
    assert home.done(task)["status"] == "done"
    (kept,) = home.ask("GET", f"{BIRDS}/snapshots")["snapshots"]
    assert (kept["name"], kept["index"], kept["documents"]) == ("before", "birds", 5)
    again = home.ask("POST", f"{BIRDS}/snapshots", 409, json={"name": "before"})
    assert again["code"] == "name_taken"
    home.ask("DELETE", BIRDS)
    order = {"index": "birds", "snapshot": "before", "to": "again"}
    task = home.ask("POST", "/v1/restore", 202, json=order)
    record = home.done(task)
    assert record["status"] == "done", record
    assert record["result"]["identity"] == kept["identity"]
    assert home.found("wren", "again") == ["late"]
    home.add([{"_id": "later", "text": "robin"}], "again")
    assert home.found("robin", "again") == ["later"]
    assert home.ask("POST", "/v1/restore", 409, json=order)["code"] == "name_taken"
    unknown = {**order, "snapshot": "never"}
    assert home.ask("POST", "/v1/restore", 404, json=unknown)["code"] == "unknown_snapshot"
    home.ask("DELETE", f"{BIRDS}/snapshots/before")
    assert home.ask("DELETE", f"{BIRDS}/snapshots/before", 404)["code"] == "unknown_snapshot"


def test_a_damaged_snapshot_is_not_restored(home):
    home.create()
    home.done(home.ask("POST", f"{BIRDS}/snapshots", 202, json={"name": "s"}))
    folder = home.path / "snapshots" / "birds" / "s"
    file = next(folder.rglob("documents.bytes"))
    flip_last_byte(file)
    task = home.ask(
        "POST", "/v1/restore", 202, json={"index": "birds", "snapshot": "s", "to": "again"}
    )
    record = home.done(task)
    assert record["status"] == "failed"
    assert "BLAKE3" in record["message"]
    assert list((home.path / "removed").iterdir()) == []
    assert home.ask("GET", "/v1/indexes/again", 404)["code"] == "unknown_index"


def test_a_snapshot_that_fails_leaves_no_copy(home, monkeypatch):
    home.create()

    def fail(*arguments, **options):
        raise OSError(errno.ENOSPC, "injected")

    monkeypatch.setattr(Places, "move", fail)
    record = home.done(home.ask("POST", "/v1/indexes/birds/snapshots", 202, json={"name": "s"}))
    assert (record["status"], "injected" in record["message"]) == ("failed", True)
    assert list((home.path / "removed").iterdir()) == []


def test_optimizing_counts_the_words_anew(home):
    home.create()
    home.ask("POST", f"{BIRDS}/documents/delete", json={"ids": ["uhu"]})
    before = home.ask("GET", BIRDS)["lexical"]["words"]
    task = home.ask("POST", f"{BIRDS}/optimize", 202)
    assert home.done(task)["status"] == "done"
    assert home.ask("GET", BIRDS)["lexical"]["words"] < before
    assert home.found("owls") == ["owl"]


def test_tasks_are_listed_and_followed_to_their_end(home):
    home.create()
    task = home.ask("POST", f"{BIRDS}/optimize", 202)
    with home.client.stream("GET", f"/v1/tasks/{task['id']}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in events.iter_lines() if line.startswith("data: ")]
    assert '"status":"done"' in lines[-1]
    (listed,) = home.ask("GET", "/v1/tasks")["tasks"]
    assert (listed["kind"], listed["subject"], listed["status"]) == ("optimize", "birds", "done")
    assert home.ask("GET", "/v1/tasks?status=failed")["tasks"] == []
    assert home.ask("GET", "/v1/tasks?status=odd", 422)["code"] == "invalid_value"
    for unknown in ("7", "x", "9" * 30, "-1"):
        assert home.ask("GET", f"/v1/tasks/{unknown}", 404)["code"] == "unknown_task"


def test_a_task_that_waits_can_be_cancelled(home):
    home.create()
    release = threading.Event()
    tasks = home.client.app.state.service.library.data.tasks
    blocking = tasks.start("optimize", "nothing", lambda progress: release.wait(20))
    waiting = home.ask("POST", f"{BIRDS}/snapshots", 202)
    home.ask("DELETE", f"/v1/tasks/{waiting['id']}", 202)
    release.set()
    assert home.done({"id": blocking.task})["status"] == "done"
    assert home.done(waiting)["status"] == "cancelled"
    assert home.ask("GET", f"{BIRDS}/snapshots")["snapshots"] == []


def test_a_damaged_index_leaves_the_others_served(open_home):
    with open_home() as home:
        home.create()
        home.create("other")
    file = next((home.path / "indexes" / "other").rglob("records.entries"))
    flip_last_byte(file)
    with open_home() as home:
        assert home.found("owls") == ["owl"]
        assert home.ask("GET", "/v1/indexes/other", 503)["code"] == "index_unavailable"
        assert "other" in home.ask("GET", "/healthz", 503)["detail"]
        assert home.ask("GET", "/readyz")["status"] == "ready"
        home.ask("DELETE", "/v1/indexes/other")
        assert home.ask("GET", "/healthz")["status"] == "ok"


def test_a_data_folder_has_one_server(home):
    with pytest.raises(LockedError):
        DataFolder(home.path)


def test_what_awaits_its_learned_vectors_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(indexing, "CHUNK_DOCUMENTS", 2)
    passages = [Passage(str(number), "an owl") for number in range(5)]
    with pytest.raises(KeyboardInterrupt):
        index_corpus(passages, tmp_path / "i", encoder=StoppedEncoder(2))
    searcher = Searcher.open(tmp_path / "i", encoder=LetterEncoder())
    with TestClient(create_app({"i": searcher})) as client:
        assert client.get("/v1/info").json()["awaiting"] == {"i": 5}
        shown = client.get("/v1/indexes/i").json()
        assert (shown["awaiting"], shown["encoded"]) == (5, 2)
        found = client.post("/v1/indexes/i/search", json={"query": "owl"}).json()
        assert (len(found["hits"]), found["awaiting"]) == (5, 5)
    index_corpus([], tmp_path / "i", encoder=LetterEncoder(), resume=True)
    whole = Searcher.open(tmp_path / "i", encoder=LetterEncoder())
    with TestClient(create_app({"i": whole})) as client:
        assert client.get("/v1/info").json()["awaiting"] == {}
        shown = client.get("/v1/indexes/i").json()
        assert (shown["awaiting"], shown["encoded"]) == (0, 0)
