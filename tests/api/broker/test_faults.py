"""Shards that are late, gone and back again, or not what they should be."""

import asyncio
import threading
import time
from contextlib import contextmanager

import httpx
import msgspec
import numpy as np
import pytest
from letter_encoder import LetterEncoder

from tamis.api import create_app
from tamis.api.broker import broker as broker_module
from tamis.api.broker.broker import Broker
from tamis.api.broker.shard_map import ShardMap, ShardPlace, equal_ranges
from tamis.api.http.app import create_broker_app
from tamis.api.http.keys import ApiKeys
from tamis.index.errors import InputError, MismatchError
from tamis.retriever import Passage, Searcher, index_corpus
from tamis.retriever.words.lexical import LexicalConfig

NAME = "papers"
SEARCH = f"/v1/indexes/{NAME}/search"


class Held:
    """An application that keeps searches waiting while it is told to."""

    def __init__(self, app):
        self.app, self.is_holding, self.waiting = app, threading.Event(), 0

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["path"].endswith("/shard/search"):
            self.waiting += 1
            while self.is_holding.is_set():
                await asyncio.sleep(0.01)
        await self.app(scope, receive, send)

    @contextmanager
    def holding(self):
        self.is_holding.set()
        try:
            yield
        finally:
            self.is_holding.clear()


def map_of(addresses, **options):
    places = [
        ShardPlace(f"s{number}", where, hashes)
        for number, (where, hashes) in enumerate(
            zip(addresses, equal_ranges(len(addresses)), strict=True)
        )
    ]
    return ShardMap(index=NAME, shards=places, renew_s=0.1, **options)


@pytest.fixture
def front(start):
    """Serve a broker, and give a client of it."""
    opened = []

    def front(shard_map, **options):
        broker = Broker(shard_map, **options)
        address = start(create_broker_app(broker))
        client = httpx.Client(base_url=address, timeout=30)
        opened.append((client, address))
        return client, broker

    yield front
    for client, address in opened:
        client.close()
        start.stop(address, force=False)


def ask(client, status=200, **body):
    response = client.post(SEARCH, json={"query": "owl river", "exact": True, **body})
    assert response.status_code == status, response.text
    return response.json()


def ids(answer):
    return [hit["id"] for hit in answer["hits"]]


def until(holds):
    end = time.monotonic() + 60
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


@pytest.mark.long
def test_a_shard_that_is_killed_under_load_is_missed_and_comes_back(cluster_of, start, front):
    cluster = cluster_of(2)
    address = cluster.serve(1)
    client, _ = front(map_of([[cluster.addresses[0]], [address]]))
    whole = ask(client)
    assert (whole["partial"], whole["shards"]) == (False, {"asked": 2, "answered": 2})
    answers, ending = [], threading.Event()

    def load():
        with httpx.Client(base_url=client.base_url, timeout=30) as own:
            while not ending.is_set():
                answers.append(own.post(SEARCH, json={"query": "owl river", "exact": True}))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(answers) > 10)
        start.stop(address)
        missed = until(lambda: answers[-1].json()["partial"] and answers[-1])
        assert missed.json()["shards"] == {"asked": 2, "answered": 1}
        assert set(ids(missed.json())) & set(ids(whole)) <= set(ids(missed.json()))
        health = client.get("/healthz")
        assert (health.status_code, health.json()["code"]) == (503, "unhealthy")
        assert "shard s1" in health.json()["detail"]
        start(cluster.app(1), int(address.rpartition(":")[2]))
        until(lambda: not answers[-1].json()["partial"])
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert ids(ask(client)) == ids(whole)
    until(lambda: client.get("/healthz").status_code == 200)
    start.stop(address)


def test_a_replica_takes_over_from_another(cluster_of, start, front):
    cluster = cluster_of(2)
    first, second = cluster.serve(1), cluster.serve(1)
    client, _ = front(map_of([[cluster.addresses[0]], [first, second]]))
    whole = ids(ask(client))
    start.stop(first)
    for _ in range(20):
        answer = ask(client)
        assert (ids(answer), answer["partial"]) == (whole, False)
    start.stop(second)
    assert ask(client)["shards"] == {"asked": 2, "answered": 1}


def test_a_late_replica_is_not_waited_for(cluster_of, start, front):
    cluster = cluster_of(2)
    slow = Held(cluster.app(1))
    slow_address, other = start(slow), cluster.serve(1)
    client, broker = front(map_of([[cluster.addresses[0]], [slow_address, other]]))
    whole = ids(ask(client))
    with slow.holding():
        for _ in range(4):
            answer = ask(client)  # comes although the slow one holds it
            assert (ids(answer), answer["partial"]) == (whole, False)
    assert slow.waiting
    assert broker.shards.all[1].hedged


def test_what_comes_after_the_deadline_is_left_out(cluster_of, start, front):
    cluster = cluster_of(2)
    slow = Held(cluster.app(1))
    client, _ = front(map_of([[cluster.addresses[0]], [start(slow)]]))
    whole = ask(client, k=150)
    with slow.holding():
        answer = ask(client, k=150, timeout_ms=300)
    assert (answer["partial"], answer["shards"]) == (True, {"asked": 2, "answered": 1})
    of_first = {
        hit["id"]
        for hit in cluster.ask("one", "search", query="owl river", k=150).json()["hits"]
        if cluster.map.shard_of(hit["id"], is_chunked=False) == 0
    }
    assert set(ids(answer)) == of_first
    assert ids(answer) == [one for one in ids(whole) if one in of_first]
    assert not ask(client)["partial"]


def test_the_haste_of_a_client_puts_no_server_out(cluster_of, start, front):
    cluster = cluster_of(2)
    slow = Held(cluster.app(1))
    places = map_of([[cluster.addresses[0]], [start(slow)]], deadline_ms=1500)
    client, broker = front(msgspec.structs.replace(places, renew_s=60))  # no look helps
    with slow.holding():
        for _ in range(4):
            assert ask(client, timeout_ms=50)["partial"]
        assert broker.faults() == {}
        for _ in range(3):
            ask(client)
        assert "in a row" in broker.faults()["shard s1"].detail


class HeldAgain(Held):
    """Keeps the second search of each two waiting."""

    async def __call__(self, scope, receive, send):
        if scope["path"].endswith("/shard/search") and self.waiting % 2 == 0:
            self.waiting += 1
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def test_groups_that_lack_members_of_a_late_shard_are_told(cluster_of, start, front):
    cluster = cluster_of(2)
    slow = HeldAgain(cluster.app(1))
    client, _ = front(map_of([[cluster.addresses[0]], [start(slow)]], deadline_ms=1500))
    asked = {"group_by": "maker", "group_size": 100, "k": 10}
    whole = ask(client, **asked)
    assert not whole["partial"]
    with slow.holding():
        answer = ask(client, **asked)
    held = [sum(len(hit["passages"]) for hit in one["hits"]) for one in (answer, whole)]
    assert (answer["partial"], held[0] < held[1]) == (True, True)


class SlowReranker:
    """Takes longer than shards may, and turns the order round."""

    def score(self, query, documents, *, first_stage=None):
        time.sleep(0.5)
        return -np.asarray(first_stage, np.float32)


def test_a_reranker_may_take_longer_than_shards(cluster_of, front):
    cluster = cluster_of(2)
    places = [[address] for address in cluster.addresses]
    client, _ = front(map_of(places, deadline_ms=400), reranker=SlowReranker())
    ask(client)  # the words are there by now
    answer = ask(client, k=5, rerank={"depth": 5})
    if answer["shards"]["answered"] == 2:  # else a busy machine kept one from it
        assert not answer["partial"]
        assert ids(answer) == ids(ask(client, k=5))[::-1]
    late = ask(client, k=5, rerank={"depth": 5}, timeout_ms=300)
    assert late["partial"]


def test_without_any_shard_there_is_a_problem_to_be_sent_again(cluster_of, start, front):
    address = cluster_of(1).serve(0)
    client, _ = front(map_of([[address]]))
    start.stop(address)
    response = client.post(SEARCH, json={"query": "owl"})
    assert (response.status_code, response.json()["code"]) == (503, "shards_unavailable")
    assert response.headers["retry-after"]


def other_index(folder, **options):
    passages = [Passage("x", "An owl sits by the river at night. " * 3, "", fields={"year": 1})]
    made = index_corpus(passages, folder, **{"encoder": None, **options})
    return Searcher.open(made.path, encoder=options.get("encoder"))


FIELDS = {"year": "integer", "price": "float", "maker": "string", "tags": "string[]"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"encoder": LetterEncoder(), "fields": FIELDS}, "their encoders differ"),
        ({"lexical": LexicalConfig(stop_words=False), "fields": FIELDS}, "analysed or weighed"),
        ({"fields": {"year": "integer"}}, "their fields differ"),
    ],
)
def test_shards_that_were_made_otherwise_are_refused(cluster_of, start, tmp_path, options, said):
    cluster = cluster_of(2)
    other = start(create_app({NAME: other_index(tmp_path / "other", **options)}))
    with pytest.raises(MismatchError, match=said) as refused:
        Broker(map_of([[cluster.addresses[0]], [other]]), encoder=options.get("encoder"))
    assert "\n" not in str(refused.value)


def test_what_keeps_a_broker_from_beginning_is_said(cluster_of, start, monkeypatch, tmp_path):
    cluster = cluster_of(2)
    good = cluster.addresses[0]
    with pytest.raises(InputError, match=r"shard s1: expected a server that answers.*127.0.0.1:9"):
        Broker(map_of([[good], ["http://127.0.0.1:9"]]))
    stranger = start(create_app({"other": other_index(tmp_path / "other")}))
    with pytest.raises(InputError, match=r"shard s1 at .* a server with the index 'papers'"):
        Broker(map_of([[good], [stranger]]))
    key = "a-key-of-24-characters-ok"
    guarded = start(
        create_app(
            {NAME: Searcher.open(cluster.folders[1] / "indexes" / NAME)}, keys=ApiKeys([key])
        )
    )
    with pytest.raises(InputError, match="name a file with its key as key_file"):
        Broker(map_of([[good], [guarded]]))
    keys = tmp_path / "key"
    with pytest.raises(InputError, match="expected a file with an API key"):
        Broker(map_of([[good], [guarded]], key_file=str(keys)))
    keys.write_text(f"{key}\n")
    Broker(map_of([[good], [guarded]], key_file=str(keys))).close()
    monkeypatch.setattr(broker_module, "version", lambda name: "99.0")
    with pytest.raises(MismatchError, match=r"expected Tamis 99\.0 on every server"):
        Broker(cluster.map)


@pytest.mark.long
def test_the_encoder_of_the_shards_must_be_the_brokers(cluster_of):
    cluster = cluster_of(5, LetterEncoder())
    with pytest.raises(MismatchError, match="name its place as encoder in the map"):
        Broker(cluster.map, encoder=LetterEncoder("others"))


def test_what_no_broker_does_is_one_clear_line(cluster_of):
    cluster = cluster_of(2)
    for method, path in (
        ("POST", f"/v1/indexes/{NAME}/optimize"),
        ("PUT", "/v1/indexes/new"),
        ("POST", "/v1/search"),
        ("GET", "/v1/tasks"),
    ):
        response = cluster.many.request(method, path, json={})
        assert (response.status_code, response.json()["code"]) == (409, "not_over_shards")
    for body in (
        {"query": "owl", "group_by": "maker", "rerank": {"depth": 5}},
        {"query": "owl", "k": 1000, "offset": 9001},
        {"query": "owl", "rerank": {"depth": 5, "reranker": "dense"}},
    ):
        assert cluster.ask("many", "search", **body).status_code == 422
