"""Filters, groups and pages of random collections, against a few lines of brute force."""

import operator
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.retriever import Editor, LexicalConfig, Passage, Searcher, create_index

FIELDS = {"city": "string", "year": "integer", "price": "float", "day": "date"}
VALUES = {  # few of each, so that many documents share one
    "city": ["", "bonn", "Köln", "a city"],
    "year": [-1, 0, 7, 2**40],
    "price": [-0.5, 0.0, 2.5],
    "day": ["1969-12-31", "2024-02-29", "2024-03-01"],
}
TERMS = ["=ash", "=birch", "=cedar"]
COMPARE = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}

vectors = st.dictionaries(st.sampled_from(TERMS), st.sampled_from([0.5, 1.0, 2.0]), max_size=3)
fields = st.fixed_dictionaries(
    {}, optional={name: st.none() | st.sampled_from(values) for name, values in VALUES.items()}
)
writes = st.lists(
    st.dictionaries(
        st.integers(0, 25).map("d{}".format), st.none() | st.tuples(vectors, fields), max_size=15
    ),
    min_size=1,
    max_size=3,
)


@st.composite
def conditions(draw):
    name = draw(st.sampled_from(list(VALUES)))
    values = st.sampled_from(VALUES[name])
    if name == "city" or draw(st.booleans()):
        return {"field": name, "in": draw(st.lists(values, max_size=3))}
    range_ = st.dictionaries(st.sampled_from(list(COMPARE)), values, min_size=1, max_size=2)
    return {"field": name, "range": draw(range_)}


filters = st.recursive(
    conditions(),
    lambda inner: st.dictionaries(
        st.sampled_from(["must", "must_not"]), st.lists(inner, max_size=3), min_size=1
    ),
    max_leaves=6,
)
asked = st.fixed_dictionaries(
    {
        "query": st.dictionaries(
            st.sampled_from(TERMS), st.sampled_from([1.0, 4.0]), min_size=1, max_size=3
        ),
        "filter": st.none() | filters,
        "group": st.none() | st.sampled_from(list(FIELDS)),
        "size": st.integers(1, 4),
        "k": st.integers(1, 9),
        "exact": st.booleans(),
    }
)


def admits(where, values):
    if where is None:
        return True
    if "field" not in where:
        parts = [
            [admits(part, values) for part in where.get(key, [])] for key in ("must", "must_not")
        ]
        return all(parts[0]) and not any(parts[1])
    value = values.get(where["field"])
    if value is None or "in" in where:
        return value is not None and value in where["in"]
    return all(COMPARE[key](value, limit) for key, limit in where["range"].items())


def brute_force(documents, query, where, group, size):
    """All hits, best first: their members and the score of the first. Sums are exact."""
    scored = [
        (
            doc_id,
            sum(query.get(term, 0) * weight for term, weight in row.items()),
            values.get(group),
        )
        for doc_id, (row, values) in documents.items()
        if admits(where, values) and row.keys() & query.keys()
    ]
    hits = {}
    for doc_id, score, value in sorted(scored, key=lambda one: -one[1]):
        hits.setdefault((doc_id,) if value is None else value, []).append((doc_id, score))
    return [([doc_id for doc_id, _ in of_one][:size], of_one[0][1]) for of_one in hits.values()]


def written(path, batches):
    """An index of one segment a batch, and what it holds in the order of the writes."""
    config = LexicalConfig(language="none", stop_words=False)
    create_index(path, encoder=None, lexical=config, fields=FIELDS)
    documents = {}
    with Editor.open(path, merge=False) as editor:
        for batch in batches:
            for doc_id, document in batch.items():
                documents.pop(doc_id, None)
                if document is not None:
                    documents[doc_id] = document
            editor.delete([doc_id for doc_id, one in batch.items() if one is None], wait="none")
            new = [(doc_id, *one) for doc_id, one in batch.items() if one is not None]
            if new:
                passages = [Passage(doc_id, "", fields=values) for doc_id, _, values in new]
                editor.put_weighted(passages, [row for _, row, _ in new], wait="none")
            editor.commit()
    return documents


def shown(hits):
    return [([one.doc_id for one in hit.passages or (hit,)], hit.score) for hit in hits]


def pages_by_cursor(search, k):
    hits, seen = [], None
    while True:
        result = search(k=k, seen=seen)
        hits += shown(result.hits)
        if len(result.hits) < k:
            return hits
        seen = result.seen


@pytest.mark.long
@settings(max_examples=25, deadline=None, derandomize=True)
@given(writes, st.lists(asked, min_size=1, max_size=6))
def test_hits_groups_and_pages_are_those_of_brute_force(batches, searches):
    with tempfile.TemporaryDirectory() as folder:
        documents = written(Path(folder) / "c", batches)
        searcher = Searcher.open(Path(folder) / "c")
        assert len(searcher.collection) == len(documents)
        for one in searches:
            check(searcher, documents, **one)
        searcher.collection.close()


def check(searcher, documents, query, filter, group, size, k, exact):  # noqa: A002
    size = size if group else 1
    grouped = {"group_by": group, "group_size": size} if group else {}

    def search(**more):
        (result,) = searcher.search([query], filter=filter, exact=exact, **grouped, **more)
        return result

    expected = brute_force(documents, query, filter, group, size)
    assert shown(search(k=100).hits) == expected
    for first in range(0, len(expected) + k, k):
        assert shown(search(k=k, offset=first).hits) == expected[first : first + k]
    assert pages_by_cursor(search, k) == expected
