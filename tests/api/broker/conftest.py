"""One index, the same documents in shards, and servers of both on threads."""

import random

import httpx
import numpy as np
import pytest

from tamis.api import create_app
from tamis.api.broker.broker import Broker
from tamis.api.broker.shard_map import ShardMap, ShardPlace, equal_ranges
from tamis.api.http.app import create_broker_app
from tamis.index.upkeep.splitting import split_collection
from tamis.retriever import Passage, Searcher, index_corpus

WORDS = """owl owls hunting hunted hunter night nightly river rivers mountain forest bird birds
sieve sieves flour baker baking bread silent silence wing wings feather storm storms harbour sail
sailing anchor lighthouse keeper letter letters""".split()  # noqa: SIM905  easier to read
DOCUMENTS = 150
NAME = "papers"


def corpus(seed=5):
    rng = random.Random(seed)
    passages = []
    for number in range(DOCUMENTS):
        text = " ".join(rng.choices(WORDS, k=rng.randint(3, 18)))
        fields = {"year": rng.randint(1990, 1999), "price": rng.randint(1, 40) / 2}
        if rng.random() < 0.8:
            fields["maker"] = rng.choice(["acme", "bolt", "crane", "delta"])
        if rng.random() < 0.7:
            fields["tags"] = sorted(rng.sample(["red", "blue", "old", "new"], rng.randint(1, 3)))
        passages.append(Passage(f"d{number:03}", text, rng.choice(WORDS), fields=fields))
    return passages


FIELDS = {"year": "integer", "price": "float", "maker": "string", "tags": "string[]"}


def map_of(addresses, **options):
    """A map of shards of one size, each at some addresses."""
    places = [
        ShardPlace(f"s{number}", where, ranges)
        for number, (where, ranges) in enumerate(
            zip(addresses, equal_ranges(len(addresses)), strict=True)
        )
    ]
    return ShardMap(index=NAME, shards=places, **{"renew_s": 0.2, **options})


class VowelReranker:
    """Scores a document by its vowels, and by whether it begins as the query does."""

    def score(self, query, documents, *, first_stage=None):
        return np.array(
            [sum(map(text.count, "aeiou")) + 3 * (text[:1] == query[:1]) for text in documents],
            np.float32,
        )


class Cluster:
    """A server of the whole index, one of each shard, and a broker before these."""

    def __init__(self, folder, start, shards, encoder):
        ranges = map_of([["http://localhost:1"]] * shards)
        passages = sorted(corpus(), key=lambda one: ranges.shard_of(one.doc_id, is_chunked=False))
        self.whole = index_corpus(passages, folder / "whole", encoder=encoder, fields=FIELDS)
        self.folders = [folder / f"{number}" for number in range(shards)]
        split_collection(
            folder / "whole",
            [one / "indexes" / NAME for one in self.folders],
            lambda doc_id: ranges.shard_of(doc_id, is_chunked=False),
        )
        self._start, self._encoder = start, encoder
        self.addresses = [self.serve(number) for number in range(shards)]
        self.map = map_of([[one] for one in self.addresses])
        self.one = httpx.Client(base_url=start(self._app(folder / "whole")), timeout=30)
        self.broker = Broker(self.map, encoder=encoder, reranker=VowelReranker())
        self.front = start(create_broker_app(self.broker))
        self.many = httpx.Client(base_url=self.front, timeout=30)

    def _app(self, folder):
        return create_app(
            {NAME: Searcher.open(folder, encoder=self._encoder)}, reranker=VowelReranker()
        )

    def app(self, number):
        return self._app(self.folders[number] / "indexes" / NAME)

    def serve(self, number):
        return self._start(self.app(number))

    def close(self):
        self.one.close()
        self.many.close()
        self._start.stop(self.front, force=False)

    def ask(self, server, path, **body):
        return getattr(self, server).post(f"/v1/indexes/{NAME}/{path}", json=body)


@pytest.fixture(scope="module")
def cluster_of(tmp_path_factory, start):
    made = {}

    def cluster_of(shards, encoder=None):
        key = shards, encoder is not None
        if key not in made:
            folder = tmp_path_factory.mktemp(f"shards-{shards}")
            made[key] = Cluster(folder, start, shards, encoder)
        return made[key]

    yield cluster_of
    for cluster in made.values():
        cluster.close()
