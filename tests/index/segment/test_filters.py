"""Filters against plain Python over the same values."""

import datetime
import json
import random
import re

import numpy as np
import pytest
from plain_filters import SCHEMA, admits, documents, expression
from vectors_of import random_vectors

from tamis.index import Index, InputError, SparseVectors, reference
from tamis.index.segment.columns import Column
from tamis.index.segment.filters import matching
from tamis.index.segment.values import value_in

ROWS = 2003


def values(seed=1):
    rng = np.random.default_rng(seed)
    years = [None if rng.random() < 0.1 else int(rng.integers(1990, 2030)) for _ in range(ROWS)]
    prices = [None if rng.random() < 0.1 else float(rng.random()) for _ in range(ROWS)]
    tongues = [[None, "en", "fr", "Ωé"][int(rng.integers(4))] for _ in range(ROWS)]
    dates = [f"20{rng.integers(10, 30)}-0{rng.integers(1, 10)}-11" for _ in range(ROWS)]
    return {"year": years, "price": prices, "language": tongues, "seen": dates}


KINDS = {"year": "integer", "price": "float", "language": "string", "seen": "date"}
COLUMNS = {name: Column.of(name, KINDS[name], held) for name, held in values().items()}


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        (
            {"field": "year", "range": {"gte": 2000, "lt": 2010}},
            lambda y, p, t, d: y and 2000 <= y < 2010,
        ),
        ({"field": "year", "range": {"gt": 2000}}, lambda y, p, t, d: y and y > 2000),
        ({"field": "year", "in": [1999, 2001, 1]}, lambda y, p, t, d: y in (1999, 2001)),
        ({"field": "price", "range": {"lte": 0.5}}, lambda y, p, t, d: p is not None and p <= 0.5),
        ({"field": "language", "in": ["Ωé", "de"]}, lambda y, p, t, d: t == "Ωé"),
        ({"field": "language", "in": []}, lambda y, p, t, d: False),
        (
            {"field": "seen", "range": {"gte": "2020-05-11T00:00:00Z"}},
            lambda y, p, t, d: d >= "2020-05-11",
        ),
        (
            {
                "must": [{"field": "language", "in": ["en"]}],
                "must_not": [
                    {"field": "year", "range": {"lt": 2020}},
                    {"field": "price", "range": {"gt": 0.9}},
                ],
            },
            lambda y, p, t, d: t == "en" and not (y and y < 2020) and not (p and p > 0.9),
        ),
        ({"must_not": [{"must": [{"field": "year", "in": [2000]}]}]}, lambda y, p, t, d: y != 2000),
    ],
)
def test_a_filter_admits_what_plain_python_admits(expression, holds):
    found = matching(expression, COLUMNS, ROWS)
    expected = [bool(holds(*row)) for row in zip(*values().values(), strict=True)]
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (
            {"field": "yaer", "in": [1]},
            r"declared field \(year, price, language, seen\), found 'yaer'",
        ),
        ({"field": "year", "in": ["x"]}, "expected a whole number .* for field 'year', found 'x'"),
        ({"field": "year", "in": [True]}, "found True"),
        ({"field": "year", "range": {"gte": 2**63}}, "expected a whole number"),
        ({"field": "price", "range": {"gte": float("nan")}}, "expected a finite number"),
        ({"field": "price", "in": [10**400]}, "expected a finite number"),
        ({"field": "seen", "range": {"gte": "May"}}, "expected an ISO 8601 date"),
        ({"field": "language", "range": {"gte": "a"}}, "found the string field 'language'"),
        ({"field": "year", "range": {"above": 3}}, "expected gt, gte, lt, lte in a range"),
        ({"field": "year", "range": {}}, "expected gt, gte, lt, lte in a range"),
        ({"must": {"field": "year"}}, "expected a list of filters in 'must'"),
        ({}, "expected a filter such as"),
        ({"shoud": []}, "expected a filter such as"),
        ({"field": "year", "eq": 1, "in": [1]}, "one of eq, in, all_of, range, exists, prefix"),
        ({"field": "year", "is": 1}, "one of eq, in, all_of, range, exists, prefix, or lists"),
        ({"field": "year", "eq": None}, "expected a whole number .* found None"),
        ({"field": "year", "eq": 1999.5}, r"expected a whole number .* found 1999\.5"),
        ({"field": "year", "in": 1999}, "expected a list of values in 'in', found 1999"),
        ({"field": "year", "all_of": 1999}, "expected a list of values in 'all_of'"),
        ({"field": "year", "exists": "no"}, "expected true or false after exists"),
        ({"field": "year", "prefix": "19"}, "expected a field of strings .* found the integer"),
        ({"field": "language", "prefix": ""}, "expected a field of strings and the beginning"),
        ({"field": "language", "range": ["a"]}, "expected gt, gte, lt, lte in a range"),
        ("year > 3", "expected a filter such as"),
    ],
)
def test_faulty_filters_are_refused_and_say_why(expression, words):
    with pytest.raises(InputError, match=words):
        matching(expression, COLUMNS, ROWS)


DOCUMENTS = documents(997)
TYPED = {
    name: Column.of(name, kind, [value_in(record, name) for record in DOCUMENTS])
    for name, kind in SCHEMA.items()
}


def test_filters_over_columns_admit_what_they_do_over_dictionaries():
    rng, seen = random.Random(7), set()
    for _ in range(500):
        wanted = expression(rng)
        found = matching(wanted, TYPED, len(DOCUMENTS))
        assert found.tolist() == [admits(wanted, record) for record in DOCUMENTS], wanted
        seen |= {key for key in wanted if key not in ("must", "should", "must_not", "field")}
        seen.add(int(found.sum()) not in (0, len(DOCUMENTS)))
    assert seen == {"eq", "in", "all_of", "range", "exists", "prefix", True, False}


@pytest.mark.parametrize(
    ("kind", "given", "wanted", "docs"),
    [
        ("integer", [1999, "1999", 2000], {"eq": "1999"}, [0, 1]),
        ("integer", [1, 2, 3], {"range": {"gt": 1.5, "lte": 2.5}}, [1]),
        ("integer", [1, 2, 3], {"range": {"gte": 1.5, "lt": 2.5}}, [1]),
        ("integer", [-1, 0, 1], {"range": {"gte": "-0"}}, [1, 2]),
        ("float", ["12.50", 12.5, 13], {"eq": "12.50"}, [0, 1]),
        ("string", [7, "7", "007"], {"eq": 7}, [0, 1]),
        ("boolean", [True, "true", " False ", "", None, False], {"eq": "TRUE"}, [0, 1]),
        ("boolean", [True, "true", " False ", "", None, False], {"eq": False}, [2, 5]),
        ("boolean", [True, "", None], {"exists": False}, [1, 2]),
        ("date", ["2024-05-31", "2024-06-01"], {"range": {"gte": "2024-06-01T00:00:00Z"}}, [1]),
        ("integer[]", [7, [1, "7"], [], None, [None]], {"eq": 7}, [0, 1]),
        ("integer[]", [7, [1, "7"], [], None, [None]], {"exists": True}, [0, 1]),
        ("integer[]", [[1, 9]], {"range": {"gt": 2, "lt": 8}}, []),  # by one item, not by two
        ("date[]", [["2024-05-31", "2023-01-01"], "2022-01-01"], {"in": ["2023-01-01"]}, [0]),
        ("string[]", [["red", "round"], ["red"], "round"], {"all_of": ["round", "red"]}, [0]),
        ("string[]", [["red", 7], '["red"]'], {"eq": "red"}, [0]),
        ("string[]", [["", "a"], ["b"]], {"eq": ""}, [0]),
        ("float[]", [], {"eq": 1}, []),
    ],
)
def test_values_are_read_as_they_are_written(kind, given, wanted, docs):
    column = Column.of("x", kind, given)
    found = matching({"field": "x", **wanted}, {"x": column}, len(given))
    assert np.flatnonzero(found).tolist() == docs


def test_lists_are_given_back_as_lists_by_an_index_of_vectors_alone(tmp_path):
    given = [[3, 1, 3], [2], None]
    column = Column.of("sizes", "integer[]", given)
    vectors = SparseVectors.from_dicts([{0: 1.0}] * 3, 1)
    index = Index.build(tmp_path / "i", vectors, columns=[column])
    part = index.parts[0]
    held = [json.loads(part.record(doc, index.columns)).get("sizes") for doc in range(3)]
    assert held == [[3, 1], [2], None]
    assert index.values_of("sizes", range(3)) == ["[3,1]", 2, None]


def test_a_filter_too_deep_is_refused():
    expression = {"field": "year", "in": [2000]}
    for _ in range(99):
        expression = {"must": [expression]}
    with pytest.raises(InputError, match="at most 16 deep"):
        matching(expression, COLUMNS, ROWS)


def test_a_value_of_another_type_is_refused_by_document():
    with pytest.raises(InputError, match="for field 'year', found '1999 BC' in document 1"):
        Column.of("year", "integer", [1, "1999 BC"])


@pytest.mark.parametrize(
    ("kind", "given", "held"),
    [
        ("integer", [7, " 7 ", 7.0, "-0", None, "", " ", float("nan")], [7, 7, 7, 0, *[None] * 4]),
        ("float", [7, "12.50", "2e0", "", None], [7.0, 12.5, 2.0, None, None]),
        ("string", ["", " ", "7", 7, 7.5, None], ["", " ", "7", "7", "7.5", None]),
        (
            "date",
            ["1970-01-01", " 1970-01-02 ", "", None],
            ["1970-01-01T00:00:00+00:00", "1970-01-02T00:00:00+00:00", None, None],
        ),
        ("date", [datetime.date(1970, 1, 1)], ["1970-01-01T00:00:00+00:00"]),
    ],
)
def test_a_column_holds_what_its_documents_spell(kind, given, held):
    column = Column.of("x", kind, given)
    assert [column.value(doc) for doc in range(len(given))] == held


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("integer", "007"), ("integer", "7.0"), ("integer", 7.5), ("integer", True),
        ("integer", "9" * 19), ("float", "nan"), ("float", "1e999"), ("float", True),
        ("string", True), ("string", {"a": 1}), ("date", "31.5.2024"), ("date", 7),
    ],
)  # fmt: skip
def test_what_is_spelled_as_another_type_is_refused(kind, given):
    with pytest.raises(InputError, match=f"for field 'x', found {re.escape(repr(given))[:20]}"):
        Column.of("x", kind, [given])


def test_an_empty_string_is_a_value_that_is_found(tmp_path):
    notes = Column.of("note", "string", ["", "a", None, ""])
    vectors = SparseVectors.from_dicts([{0: 1.0}] * 4, 1)
    index = Index.build(tmp_path / "i", vectors, columns=[notes])
    for values, docs in (([""], [0, 3]), (["", "a"], [0, 1, 3])):
        where = {"field": "note", "in": values}
        found = index.search(SparseVectors.from_dicts([{0: 1.0}], 1), where=where)
        assert found.row(0)[0].tolist() == docs
    assert index.values_of("note", range(4)) == ["", "a", None, ""]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    corpus = random_vectors(ROWS, 61, seed=5, weights="ties")
    path = tmp_path_factory.mktemp("filtered") / "index"
    return Index.build(path, corpus, columns=tuple(COLUMNS.values()))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("years", [range(1990, 2030), range(1990, 1992), (1995,)])
def test_a_filtered_search_is_the_filtered_reference(index, years, exact):
    queries = random_vectors(31, 61, seed=6, longest=30, weights="ties")
    where = {"must": [{"field": "year", "in": list(years)}, {"field": "language", "in": ["fr"]}]}
    found = index.search(queries, 10, where=where, exact=exact)
    allowed = matching(where, COLUMNS, ROWS)
    truth = reference.search(random_vectors(ROWS, 61, seed=5, weights="ties"), queries, ROWS)
    for query in range(31):
        docs, scores = truth.row(query)
        kept = allowed[docs]
        assert found.row(query)[0].tolist() == docs[kept][:10].tolist()
        assert found.row(query)[1].tolist() == scores[kept][:10].tolist()


def test_columns_and_vectors_must_be_as_many(tmp_path):
    with pytest.raises(InputError, match="expected 7 values of field 'year', found 2003"):
        Index.build(tmp_path / "i", random_vectors(7, 5, seed=1), columns=[COLUMNS["year"]])


def test_an_index_without_columns_says_so(tmp_path):
    made = Index.build(tmp_path / "index", random_vectors(7, 5, seed=1))
    with pytest.raises(InputError, match=r"expected a declared field \(none\), found 'year'"):
        made.search(random_vectors(2, 5, seed=2), where={"field": "year", "in": [1]})


def test_two_allowed_documents_of_many_are_scored_directly(tmp_path):
    corpus = random_vectors(ROWS, 61, seed=5)
    allowed = np.zeros(ROWS, np.bool_)
    allowed[[7, 1999]] = True
    segment = Index.build(tmp_path / "index", corpus).parts[0].stored.segment
    queries = random_vectors(31, 61, seed=6, longest=30)
    found, read = segment.search(queries, 10, allowed=allowed)
    assert read.sum() == 0
    truth = reference.search(corpus, queries, ROWS)
    for query in range(31):
        docs, _ = truth.row(query)
        assert found.row(query)[0].tolist() == docs[allowed[docs]].tolist()
