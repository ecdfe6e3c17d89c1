"""Documents written through a broker go to their shards, and are found as in one index."""

import json

import httpx
import pytest

from tamis.api import create_app
from tamis.api.broker.broker import Broker
from tamis.api.broker.shard_map import ShardMap, ShardPlace, equal_ranges
from tamis.api.broker.splitting import split_index
from tamis.api.http.app import create_broker_app
from tamis.api.serving.data_folder import DataFolder
from tamis.index.upkeep.splitting import split_collection
from tamis.retriever import Passage, index_corpus
from tamis.retriever.corpus.chunking import Chunking

NAME = "papers"
INDEX = f"/v1/indexes/{NAME}"
TEXTS = [
    "owls hunt by night over the river",
    "the miller sieves flour at night",
    "storm birds sail beside the lighthouse",
    "a keeper of letters and of bread",
    "feathers of an owl lie in the forest",
]
DOCUMENTS = [
    Passage(f"d{number}", f"{TEXTS[number % 5]} {number}", fields={"year": 1990 + number % 7})
    for number in range(60)
]
NEW = [
    {"_id": "n1", "text": "quartz and owls", "year": 2001},
    {"_id": "d4", "text": "a river of quartz, quartz, quartz", "year": 2001},
    {"_id": "n/2 ö", "text": "basalt beside the river", "year": 2002},
]
SEARCHABLE = {"wait": "searchable"}
QUERIES = ["owl river", "quartz", "night flour basalt", "keeper letters"]


class Servers:
    """One writable index, and a broker before shards of it, each on so many servers."""

    def __init__(self, folder, start, shards=3, replicas=1, chunking=None):
        source = folder / "source" / NAME
        index_corpus(DOCUMENTS, source, encoder=None, fields={"year": "integer"}, chunking=chunking)
        split_collection(source, [folder / "one" / "indexes" / NAME], lambda doc_id: 0)
        self.addresses = [[] for _ in range(shards)]
        for replica in range(replicas):
            split_index(source, folder / f"r{replica}", shards, NAME)
            for number, where in enumerate(self.addresses, start=1):
                data = DataFolder(folder / f"r{replica}" / f"s{number}")
                where.append(start(create_app({}, data=data)))
        places = [
            ShardPlace(f"s{number}", where, hashes)
            for number, (where, hashes) in enumerate(
                zip(self.addresses, equal_ranges(shards), strict=True)
            )
        ]
        self.map = ShardMap(NAME, places)
        self.stop, self.broker = start.stop, Broker(self.map)
        self._fronts = [
            start(create_app({}, data=DataFolder(folder / "one"))),
            start(create_broker_app(self.broker)),
        ]
        self.one, self.many = (httpx.Client(base_url=at, timeout=60) for at in self._fronts)

    def close(self):
        for client, address in zip((self.one, self.many), self._fronts, strict=True):
            client.close()
            self.stop(address, force=False)
        for address in [one for where in self.addresses for one in where]:
            self.stop(address, force=False)

    def both(self, method, path, status=200, **options):
        """The same request to both; their answers but for what tells of generations."""
        answers = []
        for client in (self.one, self.many):
            response = client.request(method, f"{INDEX}/{path}", **options)
            assert response.status_code == status, (client.base_url, response.text)
            answers.append(response.json())
        for answer in answers:
            answer.pop("generation", None)
            answer.pop("took_ms", None)
        assert answers[0] == answers[1]
        return answers[1]

    def check(self, documents):
        """Both find the same documents with the same scores."""
        for query in QUERIES:
            body = {"query": query, "k": 200, "exact": True, "count": "filter"}
            one, many = (
                client.post(f"{INDEX}/search", json=body).json() for client in (self.one, self.many)
            )
            assert one["total"]["value"] == many["total"]["value"] == documents
            scores = [
                {hit["id"]: pytest.approx(hit["score"], rel=1e-5) for hit in answer["hits"]}
                for answer in (one, many)
            ]
            assert scores[0].keys() == scores[1].keys()
            assert all(scores[1][doc_id] == score.expected for doc_id, score in scores[0].items())


@pytest.fixture
def open_servers(tmp_path, start):
    opened = []

    def open_servers(**options):
        opened.append(Servers(tmp_path, start, **options))
        return opened[-1]

    yield open_servers
    for servers in opened:
        servers.close()


def lines(documents):
    return b"".join(json.dumps(one).encode() + b"\n" for one in documents)


@pytest.mark.long
def test_writes_of_every_kind_are_found_as_in_one_index(open_servers):
    servers = open_servers()
    servers.check(60)
    found = {"params": SEARCHABLE}
    servers.both("PUT", "documents/n1", json=NEW[0], **found)
    servers.check(61)
    answer = servers.both("POST", "documents", content=lines(NEW), **found)
    assert (answer["written"], answer["failed"]) == (3, 0)
    servers.check(62)
    assert servers.both("GET", "documents/n%2F2%20%C3%B6")["document"]["year"] == 2002
    servers.both("PATCH", "documents/d7", json={"year": 2010}, **found)
    changes = [{"_id": f"d{number}", "year": 2011} for number in range(8, 20)]
    servers.both("PATCH", "documents", content=lines(changes), **found)
    where = {"query": "owl", "filter": {"field": "year", "range": {"gte": 2010}}, "k": 50}
    for client in (servers.one, servers.many):
        hits = client.post(f"{INDEX}/search", json={**where, "count": "filter"}).json()
        assert hits["total"]["value"] == 13
    servers.both("DELETE", "documents/d9", **found)
    servers.both("DELETE", "documents/d9", 404)
    servers.both("GET", "documents/d9", 404)
    gone = {"ids": ["d10", "d11", "none"]}
    assert servers.both("POST", "documents/delete", json=gone, **found) == {"deleted": 2}
    gone = {"filter": {"field": "year", "range": {"gte": 2001}}}
    deleted = servers.both("POST", "documents/delete", json=gone, **found)["deleted"]
    servers.check(62 - 3 - deleted)
    synonyms = {"synonyms": ["quartz => owl"], "stop_words": []}
    servers.both("PUT", "synonyms", json=synonyms)
    servers.check(62 - 3 - deleted)
    servers.both("POST", "documents/delete", 422, json={})
    assert servers.both("POST", "documents/delete", json={"all": True}, **found)["deleted"] > 30
    servers.check(0)


def test_faulty_lines_are_told_by_their_numbers(open_servers):
    servers = open_servers()
    stream = [
        *(f'{{"_id": "x{number}", "text": "quartz {number}"}}' for number in range(5)),
        "",
        "no JSON",
        '{"text": "no id"}',
        '{"_id": "x9", "text": "a year", "year": "soon"}',
        '{"_id": "x3", "text": "again"}',
    ]
    body = "\n".join(stream).encode()
    answer = servers.both("POST", "documents", content=body, params=SEARCHABLE)
    assert [one["line"] for one in answer["problems"]] == [7, 8, 9]
    assert (answer["written"], answer["failed"]) == (6, 3)
    servers.check(65)


@pytest.mark.long
def test_passages_stay_with_their_document(open_servers):
    servers = open_servers(chunking=Chunking(16, 0))
    long = " ".join(f"{text}. The owl flew over the dark river again." for text in TEXTS)
    for doc_id in ("long", "longer", "longest"):
        document = {"text": long, "year": 2001}
        servers.both("PUT", f"documents/{doc_id}", json=document, params=SEARCHABLE)
    body = {"query": "owl river", "group_by": "parent", "group_size": 9, "k": 70, "exact": True}
    groups = []
    for client in (servers.one, servers.many):
        hits = client.post(f"{INDEX}/search", json=body).json()["hits"]
        groups.append({hit["group"]: [one["id"] for one in hit["passages"]] for hit in hits})
    assert groups[0] == groups[1]
    assert len(groups[1]["long"]) > 1
    servers.both("DELETE", "documents/long", params=SEARCHABLE)


def test_a_key_of_any_length_is_taken_once_over_shards(open_servers):
    servers, kind = open_servers(), {"Content-Type": "application/x-ndjson"}
    for key in ("k", "k" * 128):
        headers = {**kind, "Idempotency-Key": key}
        for _ in range(2):
            options = {"content": lines(NEW), "headers": headers, "params": SEARCHABLE}
            assert servers.both("POST", "documents", **options)["failed"] == 0
    long = {"content": lines(NEW), "headers": {**kind, "Idempotency-Key": "k" * 129}}
    assert servers.both("POST", "documents", status=422, **long)["code"] == "invalid_value"
    gone = {"ids": ["d4", "d5"]}
    options = {"headers": {"Idempotency-Key": "gone"}, "params": SEARCHABLE}
    first = servers.both("POST", "documents/delete", json=gone, **options)
    servers.both("POST", "documents", content=lines(NEW), headers=kind, params=SEARCHABLE)
    again = servers.both("POST", "documents/delete", json=gone, **options)
    assert (first["deleted"], again["deleted"]) == (2, 2)
    assert servers.both("GET", "documents/d4")["id"] == "d4"


@pytest.mark.long
def test_every_replica_is_written_and_one_that_is_gone_is_told(open_servers):
    servers = open_servers(shards=2, replicas=2)
    servers.both("POST", "documents", content=lines(NEW), params=SEARCHABLE)
    servers.check(62)
    for number, where in enumerate(servers.addresses):
        for address in where:
            with httpx.Client(base_url=address, timeout=30) as client:
                there = client.get(f"{INDEX}/documents/n1").status_code
            assert there == (200 if servers.map.shard_of("n1", is_chunked=False) == number else 404)
    of_first = servers.map.shard_of("n1", is_chunked=False)
    servers.stop(servers.addresses[of_first].pop())
    response = servers.many.put(f"{INDEX}/documents/n1", json={"text": "quartz again"})
    assert (response.status_code, response.json()["code"]) == (503, "shards_unavailable")
    both = [{"_id": f"m{number}", "text": "quartz"} for number in range(12)]
    answer = servers.many.post(f"{INDEX}/documents", content=lines(both)).json()
    own = [one for one in both if servers.map.shard_of(one["_id"], is_chunked=False) != of_first]
    assert answer["written"] == len(own)
    assert {one["code"] for one in answer["problems"]} == {"shards_unavailable"}
    assert answer["failed"] == len(answer["problems"]) == 12 - len(own)


def test_the_age_of_statistics_is_told_and_small(open_servers):
    servers = open_servers(shards=2)
    for client, is_broker in ((servers.one, False), (servers.many, True)):
        age_s = client.get("/v1/info").json()["statistics_age_s"]
        assert (age_s is not None) == is_broker
        assert not is_broker or 0 <= age_s < 60


def test_words_are_counted_anew_only_where_something_was_written(open_servers):
    servers = open_servers(shards=2, replicas=2)
    statistics = servers.broker.statistics
    age_s = servers.many.get("/v1/info").json()["statistics_age_s"]
    before = statistics.searcher
    while servers.many.get("/v1/info").json()["statistics_age_s"] >= age_s:
        age_s = max(age_s, servers.many.get("/v1/info").json()["statistics_age_s"])
    assert statistics.searcher is before  # looked at, and nothing had changed
    servers.many.put(f"{INDEX}/documents/n1", json=NEW[0], params=SEARCHABLE)
    assert statistics.searcher is not before
    assert statistics.searcher.lexical.documents == 61
