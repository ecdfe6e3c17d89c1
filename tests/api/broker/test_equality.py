"""A broker answers as one index of all documents, standing in the order of the shards."""

import random

import pytest
from letter_encoder import LetterEncoder

APART = ("took_ms", "timings", "generation", "cursor", "shards")
WORDS = ["owl", "owls", "hunting", "night", "river", "forest", "bird", "sieve", "flour", "storm"]
WORDS += ["sail", "keeper", "zebra"]
WRITTEN = ["rivr", "hunteng", "lighthose", "mountian", "stomr"]  # typing errors
FILTERS = [
    {"field": "year", "range": {"gte": 1993}},
    {"field": "maker", "eq": "acme"},
    {"field": "tags", "all_of": ["red", "old"]},
    {"must_not": [{"field": "maker", "exists": True}]},
    {"should": [{"field": "price", "range": {"lt": 4}}, {"field": "tags", "eq": "blue"}]},
]
SORTS = [["year"], [{"field": "price", "order": "desc"}, "maker"], ["tags", "year"], ["maker"]]


def same(one, many):
    """Whether two JSON values are equal but for the last digits of numbers."""
    if isinstance(one, float) and isinstance(many, float):
        return one == pytest.approx(many, rel=1e-5, abs=1e-6)
    if isinstance(one, dict) and isinstance(many, dict):
        return one.keys() == many.keys() and all(same(one[key], many[key]) for key in one)
    if isinstance(one, list) and isinstance(many, list):
        return len(one) == len(many) and all(map(same, one, many))
    return one == many


def check(cluster, path, body):
    """Ask the one index and the broker."""
    one, many = cluster.ask("one", path, **body), cluster.ask("many", path, **body)
    assert (one.status_code, many.status_code) == (200, 200), (body, one.text, many.text)
    one, many = one.json(), many.json()
    told = [{key: value for key, value in it.items() if key not in APART} for it in (one, many)]
    differing = [key for key in told[0] if not same(told[0][key], told[1].get(key))]
    assert not differing, (body, [(key, told[0][key], told[1].get(key)) for key in differing])
    return one, many


def maybe(rng, share, body, **options):
    if rng.random() < share:
        body |= options


def query_of(rng):
    kind = rng.random()
    words = rng.sample(WORDS, rng.randint(1, 4))
    if kind < 0.5:
        return {"query": " ".join(words)}
    if kind < 0.65:
        return {"query": " ".join([*words, rng.choice(WRITTEN)]), "typos": "auto"}
    if kind < 0.85:
        signed = [rng.choice(["", "", "+", "-"]) + word for word in words[1:]]
        last = rng.choice(['"night owl"', "sto*", "-sail*", "+riv*", '"owl river"'])
        return {"query": " ".join([words[0], *signed, last]), "syntax": "operators"}
    vector = {f"={word}": rng.randint(1, 8) / 2 for word in ("owl", "river", "zebra", "flour")}
    return {"query": {"vector": vector | {rng.choice("aeiz"): 1.5}}}


def search_of(rng):
    """A random search of any kind."""
    body = {"k": rng.randint(1, 20), "exact": True} | query_of(rng)
    is_text = isinstance(body["query"], str)
    maybe(rng, 0.3, body, filter=rng.choice(FILTERS))
    maybe(rng, 0.3, body, facets=["maker", {"field": "price", "ranges": [[0, 10], [10, None]]}])
    maybe(rng, 0.2, body, facets=["tags", {"field": "year", "limit": 3}])
    maybe(rng, 0.2, body, count=rng.choice(["words", "filter"]) if is_text else "filter")
    maybe(rng, 0.3, body, offset=rng.randint(1, 15))
    maybe(rng, 0.3, body, explain=True)
    maybe(rng, 0.2, body, highlight=True)
    maybe(rng, 0.2, body, fields=["title", "year"])
    maybe(rng, 0.2, body, lexical_weight=rng.choice([0.5, 2.0]))
    kind = rng.random()
    if kind < 0.2:
        body["sort"] = rng.choice(SORTS)
    elif kind < 0.4:
        body |= {"group_by": rng.choice(["maker", "year"]), "group_size": rng.randint(1, 4)}
    elif kind < 0.55 and is_text:
        body["rerank"] = {"depth": rng.randint(1, 30)}
    elif kind < 0.7:
        body["boosts"] = [{"field": "price", "saturation": 10, "weight": 2}]
    elif kind < 0.8:
        body["min_score"] = rng.random() * 4
    return body


@pytest.fixture(params=[(1, False), (2, False), (5, True)], ids=["1", "2", "5-letters"])
def cluster(request, cluster_of):
    shards, has_letters = request.param
    return cluster_of(shards, LetterEncoder() if has_letters else None)


@pytest.mark.long
def test_searches_of_every_kind_find_what_one_index_does(cluster):
    rng = random.Random(7)
    for _ in range(120):
        check(cluster, "search", search_of(rng))


@pytest.mark.slow
@pytest.mark.parametrize("has_letters", [False, True], ids=["words", "letters"])
@pytest.mark.parametrize("shards", [1, 2, 5])
def test_a_thousand_searches_find_what_one_index_does(cluster_of, shards, has_letters):
    """As `pytest -m slow tests/api/broker`, a minute on a quiet machine."""
    cluster = cluster_of(shards, LetterEncoder() if has_letters else None)
    rng = random.Random(shards)
    for _ in range(1000):
        check(cluster, "search", search_of(rng))


def test_documents_are_listed_in_one_order(cluster):
    for sort in SORTS:
        for where in (None, FILTERS[0]):
            body = {"k": 30, "sort": sort, "offset": 10, "filter": where}
            check(cluster, "search", body)
    check(cluster, "search", {"k": 25, "filter": FILTERS[4], "facets": ["maker"]})


def test_a_batch_is_answered_in_its_order(cluster):
    queries = ["owl river", {"vector": {"=night": 2.0}}, "zebra", "storm at night"]
    answers = [
        cluster.ask(server, "search/batch", queries=queries, k=7, exact=True).json()["results"]
        for server in ("one", "many")
    ]
    for one, many in zip(*answers, strict=True):
        assert [hit["id"] for hit in one["hits"]] == [hit["id"] for hit in many["hits"]]


def test_pages_by_cursor_give_every_hit_once_in_order(cluster):
    for options in ({}, {"sort": ["year"]}, {"rerank": {"depth": 12}}):
        pages = {}
        for server in ("one", "many"):
            body, found = {"query": "owl night river", "k": 9, "exact": True, **options}, []
            while True:
                answer = cluster.ask(server, "search", **body).json()
                found += [(hit["id"], hit["rank"]) for hit in answer["hits"]]
                if answer["cursor"] is None:
                    break
                body["cursor"] = answer["cursor"]
            pages[server] = found
        assert pages["one"] == pages["many"]
        assert len(pages["one"]) > 27


def test_explanations_encodings_and_suggestions_agree(cluster):
    rng = random.Random(3)
    for _ in range(20):
        body = query_of(rng)
        check(cluster, "explain", body | {"id": f"d{rng.randrange(150):03}"})
    for text in ("ow", "hunt", "li", "zz", "keeper of the lig"):
        one, many = (
            server.get("/v1/indexes/papers/suggest", params={"q": text}).json()["suggestions"]
            for server in (cluster.one, cluster.many)
        )
        assert [found["documents"] for found in one] == [found["documents"] for found in many]
    one, many = (
        server.post("/v1/encode", json={"texts": ["owls hunt at night"]}).json()["vectors"]
        for server in (cluster.one, cluster.many)
    )
    assert same(one, many)


def test_mistakes_are_answered_as_by_one_index(cluster):
    for body in (
        {"query": "owl", "sort": ["weight"]},
        {"query": "owl", "filter": {"field": "year", "eq": "x"}},
        {"query": "owl", "group_by": "text"},
        {"query": "  "},
        {"query": "owl", "k": 10_001},
        {"query": {"vector": {"=owl": 1.0}}, "rerank": {"depth": 5}},
        {"query": "owl", "facets": ["maker", "maker"]},
        {},
    ):
        one, many = cluster.ask("one", "search", **body), cluster.ask("many", "search", **body)
        assert (one.status_code, one.json()["code"]) == (many.status_code, many.json()["code"])
