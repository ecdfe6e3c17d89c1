"""Counting and ordering all matches, against plain Python over the same dictionaries."""

import random
from collections import Counter

import numpy as np
import pytest
from plain_filters import SCHEMA, admits, documents, expression, items
from vectors_of import random_vectors

from tamis.index import Collection, CollectionWriter, InputError
from tamis.index.generations.settings import CollectionSettings
from tamis.index.matches import Count, Facet, Matches, SortKey
from tamis.index.writing.creation import create_collection

ROWS, TERMS = 331, 61
VECTORS = random_vectors(ROWS, TERMS, seed=4)
RECORDS = documents(ROWS)


@pytest.fixture(scope="module", params=[1, 3])
def index(request, tmp_path_factory):
    """All documents but some deleted ones, in one segment or in several."""
    path = tmp_path_factory.mktemp("matches") / "c"
    create_collection(path, vocab_size=TERMS, settings=CollectionSettings(columns=SCHEMA))
    with CollectionWriter.open(path, merge=False) as writer:
        step = -(-ROWS // request.param)
        for first in range(0, ROWS, step):
            last = min(first + step, ROWS)
            writer.put(RECORDS[first:last], VECTORS.rows(first, last), wait="searchable")
        writer.delete([f"d{number}" for number in range(0, ROWS, 7)], wait="searchable")
    collection = Collection.open(path)
    assert len(collection.index.parts) == request.param
    return collection.index


LIVE = [number for number in range(ROWS) if number % 7]


def value(kind, held):
    """What a facet calls a value of a dictionary."""
    return float(held) if kind.startswith("float") else held


@pytest.fixture(scope="module")
def cases(index):
    rng = random.Random(8)
    made = []
    for _ in range(40):
        where = expression(rng) if rng.random() < 0.8 else None
        words = sorted(rng.sample(range(TERMS), rng.randrange(4))) if rng.random() < 0.5 else None
        docs = [
            number
            for number in LIVE
            if (where is None or admits(where, RECORDS[number]))
            and (words is None or set(VECTORS.row(number)[0].tolist()) & set(words))
        ]
        asked = None if words is None else np.array(words, np.int32)
        made.append((Matches.of(index, where, asked), docs))
    return made


def test_matches_are_those_that_plain_python_finds(cases):
    for found, docs in cases:
        assert len(found) == len(docs)
        assert found.is_exact
        assert found.first((), ROWS).tolist() == docs
        assert found.first((), 5).tolist() == docs[:5]


@pytest.mark.parametrize("field", SCHEMA)
def test_facets_count_what_plain_python_counts(cases, field):
    for found, docs in cases:
        of_each = [set(items(RECORDS[doc], field)) for doc in docs]
        counted = Counter(one for of_one in of_each for one in of_one)
        expected = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
        expected = [Count(value(SCHEMA[field], one), count) for one, count in expected]
        assert found.facet(Facet(field)) == (expected, 0)
        assert found.facet(Facet(field, limit=2)) == (expected[:2], max(len(expected) - 2, 0))


@pytest.mark.parametrize("field", ["year", "sizes", "price", "marks", "seen", "visits"])
def test_facets_count_ranges(cases, field):
    middle = {"seen": "2011-01-11T00:00:00+00:00", "visits": "2010-03-13T00:00:00+00:00"}
    at = middle.get(field, 1)
    ranges = ((None, at), (at, None), (None, None), (at, at))
    for found, docs in cases:
        held = [items(RECORDS[doc], field) for doc in docs]
        counts = [
            sum(any(one < at for one in of_one) for of_one in held),
            sum(any(one >= at for one in of_one) for of_one in held),
            sum(bool(of_one) for of_one in held),
            0,
        ]
        assert [one.count for one in found.facet(Facet(field, ranges))[0]] == counts


@pytest.mark.parametrize(
    "keys",
    [
        [("year", "asc")],
        [("price", "desc")],
        [("brand", "desc"), ("seen", "asc")],
        [("sold", "asc"), ("tags", "asc"), ("sizes", "desc")],
        [("maker.name", "asc"), ("marks", "asc"), ("visits", "desc")],
    ],
)
def test_documents_come_in_the_order_of_fields(cases, keys):
    def ordered(docs):
        for field, order in reversed(keys):
            pick = max if order == "desc" else min
            held = {doc: items(RECORDS[doc], field) for doc in docs}
            present = [doc for doc in docs if held[doc]]
            present.sort(key=lambda doc: pick(held[doc]), reverse=order == "desc")
            docs = present + [doc for doc in docs if not held[doc]]
        return docs

    asked = [SortKey(*key) for key in keys]
    for found, docs in cases:
        assert found.first(asked, ROWS).tolist() == ordered(docs)
        assert found.first(asked, 7).tolist() == ordered(docs)[:7]


def test_a_count_that_would_read_too_much_is_at_least(index, monkeypatch):
    words = np.arange(TERMS, dtype=np.int32)
    whole = Matches.of(index, None, words)
    monkeypatch.setattr("tamis.index.matches.MOST_POSTINGS", VECTORS.nnz // 3)
    some = Matches.of(index, None, words)
    assert whole.is_exact
    assert not some.is_exact
    assert 0 < len(some) <= len(whole)


def test_what_cannot_be_counted_or_ordered_by_is_refused(index):
    every = Matches.of(index)
    for ask in (lambda: every.facet(Facet("text")), lambda: every.first([SortKey("text")], 3)):
        with pytest.raises(InputError, match=r"expected a declared field \(brand, .*'text'"):
            ask()
    with pytest.raises(InputError, match="found the string field 'brand'"):
        every.facet(Facet("brand", ((0, 10),)))
    with pytest.raises(InputError, match=r"expected a whole number .* for field 'year'"):
        every.facet(Facet("year", (("x", None),)))
