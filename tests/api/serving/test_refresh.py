"""What is written while a server runs is found by its next searches."""

import time

import pytest
from starlette.testclient import TestClient

from tamis.api import create_app
from tamis.api.serving import service
from tamis.retriever import Passage, Searcher, index_corpus
from tamis.retriever.editor import Editor

SEARCH = "/v1/indexes/birds/search"


@pytest.fixture
def folder(tmp_path):
    passages = [Passage("owl", "Owls hunt at night."), Passage("sea", "Fish swim in the sea.")]
    return index_corpus(passages, tmp_path / "birds", encoder=None).path


def found_within(client, query, wanted, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = client.post(SEARCH, json={"query": query, "k": 5})
        assert answer.status_code == 200
        if [hit["id"] for hit in answer.json()["hits"]] == wanted:
            return True
        time.sleep(0.05)
    return False


def test_additions_and_deletions_are_served_without_a_restart(folder, monkeypatch):
    monkeypatch.setattr(service, "REFRESH_S", 0.05)
    with TestClient(create_app({"birds": Searcher.open(folder)})) as client:
        assert found_within(client, "heron", [])
        with Editor.open(folder) as editor:
            editor.put([Passage("heron", "A heron waits in the reeds.")], wait="searchable")
            assert found_within(client, "heron", ["heron"])
            editor.delete(["owl"], wait="searchable")
            assert found_within(client, "owls", [])


def test_an_unreadable_generation_leaves_the_last_one_served(folder, monkeypatch, caplog):
    monkeypatch.setattr(service, "REFRESH_S", 0.05)
    with TestClient(create_app({"birds": Searcher.open(folder)})) as client:
        (folder / "CURRENT").write_text("manifest-999999.json\n")
        end = time.monotonic() + 20.0
        while "stays at its generation" not in caplog.text and time.monotonic() < end:
            time.sleep(0.05)
        assert "birds stays at its generation" in caplog.text
        assert found_within(client, "owls", ["owl"])


def test_what_a_write_leaves_behind_is_given_back_at_once(folder, monkeypatch):
    given_back = []
    monkeypatch.setattr(service, "REFRESH_S", 0.02)
    monkeypatch.setattr(service, "GIVE_BACK_AFTER", 10**9)
    monkeypatch.setattr(service.malloc, "give_back", lambda: given_back.append(1))
    with TestClient(create_app({"birds": Searcher.open(folder)})) as client:
        assert found_within(client, "heron", [])
        assert given_back == []
        with Editor.open(folder) as editor:
            editor.put([Passage("heron", "A heron waits in the reeds.")], wait="searchable")
        assert found_within(client, "heron", ["heron"])
        end = time.monotonic() + 20
        while not given_back:
            assert time.monotonic() < end
            time.sleep(0.02)
