"""Boosts against the whole list: every document's score by hand, sorted."""

import math
import random
from datetime import UTC, datetime, timedelta

import pytest

from tamis.index import InputError
from tamis.index.generations.settings import QueryWords
from tamis.retriever import Passage, Searcher, index_corpus
from tamis.retriever.answers import explain_answer
from tamis.retriever.first_stage import boosts
from tamis.retriever.first_stage.query_words import set_query_words

FIELDS = {"published": "date", "sales": "integer", "rating": "float", "brand": "string"}
CHEAP = {"field": "sales", "range": {"lt": 90}}
ORIGIN = "2024-01-31"
ASKED = [
    {"field": "published", "recency": {"half_life_days": 10, "origin": ORIGIN}, "weight": 2},
    {"field": "sales", "saturation": 50, "weight": 1.5},
    {"field": "rating", "log": 5},
]


def by_hand(fields):
    """What the three boosts add, from their formulas."""
    total = 0.0
    if "published" in fields:
        day = datetime.fromisoformat(fields["published"]).replace(tzinfo=UTC)
        age = max(0, (datetime(2024, 1, 31, tzinfo=UTC) - day).days)
        total += 2 * 0.5 ** (age / 10)
    if (sales := fields.get("sales")) is not None:
        total += 1.5 * max(sales, 0) / (max(sales, 0) + 50)
    if (rating := fields.get("rating")) is not None:
        total += min(1, math.log(1 + max(rating, 0)) / math.log(6))
    return total


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A searcher of 700 documents, and the fields of each."""
    generator, documents = random.Random(3), {}
    passages = []
    for number in range(700):
        day = datetime(2024, 1, 1) + timedelta(days=generator.randrange(60))
        fields = {
            "published": day.date().isoformat(),
            "sales": generator.randrange(-5, 500),
            "rating": generator.choice([0.0, 2.5, 5.0, 9.0]),
            "brand": "acme",
        }
        for name in generator.sample(sorted(fields), generator.randrange(3)):
            del fields[name]
        text = " ".join(generator.choices(["owl", "kite", "wren", "reed"], (1, 5, 9, 20), k=6))
        passages.append(Passage(f"n{number}", text, fields=fields))
        documents[f"n{number}"] = fields
    path = tmp_path_factory.mktemp("boosted") / "index"
    index_corpus(passages, path, encoder=None, fields=FIELDS)
    set_query_words(path, QueryWords(synonyms=["strix => owl"]))
    return Searcher.open(path), documents


@pytest.mark.parametrize("query", ["owl", "wren reed", "reed"])
@pytest.mark.parametrize(
    "page", [{}, {"offset": 30}, {"filter": {"field": "sales", "range": {"lt": 90}}}]
)
def test_hits_are_the_best_of_the_whole_list(found, monkeypatch, query, page):
    monkeypatch.setattr(boosts, "FIRST_DEPTH", 12)  # so that it has to look further
    searcher, documents = found
    filter_ = page.get("filter")
    (every,) = searcher.search([query], 700, exact=True, filter=filter_)
    whole = {hit.doc_id: hit.score + by_hand(documents[hit.doc_id]) for hit in every.hits}
    wanted = sorted(whole.values(), reverse=True)[page.get("offset", 0) :][:10]
    (boosted,) = searcher.search([query], 10, exact=True, boosts=ASKED, explain=True, **page)
    assert [hit.score for hit in boosted.hits] == pytest.approx(wanted, 1e-5)
    for hit in boosted.hits:
        assert hit.score == pytest.approx(whole[hit.doc_id], 1e-5)
        assert sum(one.contribution for one in hit.matched_terms) == pytest.approx(hit.score, 1e-4)
        added = [one for one in hit.matched_terms if one.term.startswith("boost:")]
        expected = by_hand(documents[hit.doc_id])
        assert sum(one.contribution for one in added) == pytest.approx(expected)
        assert all(0 < one.doc_weight <= 1 for one in added)


def test_pages_by_what_was_seen_are_slices_of_one_list(found):
    searcher, _ = found
    options = {"exact": True, "boosts": ASKED}
    (whole,) = searcher.search(["wren"], 30, **options)
    (first,) = searcher.search(["wren"], 10, **options)
    (second,) = searcher.search(["wren"], 20, seen=first.seen, **options)
    pages = [*first.hits, *second.hits]
    assert [hit.doc_id for hit in pages] == [hit.doc_id for hit in whole.hits]


def test_a_document_that_a_synonym_finds_is_boosted_once(found):
    searcher, documents = found
    (plain,) = searcher.search(["strix"], 5, exact=True)
    (boosted,) = searcher.search(["strix"], 700, exact=True, boosts=ASKED)
    scores = {hit.doc_id: hit.score for hit in boosted.hits}
    for hit in plain.hits:
        expected = hit.score + by_hand(documents[hit.doc_id])
        assert scores[hit.doc_id] == pytest.approx(expected, 1e-5)


def test_operators_groups_counts_and_bounds_hold_with_boosts(found):
    searcher, documents = found
    (every,) = searcher.search(["wren"], 700, exact=True, boosts=ASKED)
    scores = {hit.doc_id: hit.score for hit in every.hits}
    (phrases,) = searcher.search(['"wren owl"'], 5, syntax="operators", boosts=ASKED)
    assert phrases.hits
    assert all("wren owl" in hit.document["text"] for hit in phrases.hits)
    assert [hit.score for hit in phrases.hits] == sorted(
        (hit.score for hit in phrases.hits), reverse=True
    )
    (grouped,) = searcher.search(["wren"], 5, group_by="rating", group_size=1, boosts=ASKED)
    best = {}
    for doc_id, score in scores.items():
        group = documents[doc_id].get("rating", doc_id)
        best[group] = max(best.get(group, 0), score)
    assert [hit.score for hit in grouped.hits] == pytest.approx(sorted(best.values())[:-6:-1], 1e-5)
    bound = sorted(scores.values())[-20]
    (bounded,) = searcher.search(["wren"], 700, exact=True, boosts=ASKED, min_score=bound)
    assert len(bounded.hits) == 20
    (counted,) = searcher.search(["wren"], 1, boosts=ASKED, count="words")
    assert counted.counts.total.value == len(scores)


def test_explain_tells_of_boosts(found):
    searcher, documents = found
    (hits,) = searcher.search(["owl"], 1, boosts=ASKED)
    (hit,) = hits.hits
    told = explain_answer(searcher, "owl", searcher.collection.doc(hit.doc_id), boosts=ASKED)
    assert told.score == pytest.approx(hit.score, 1e-5)
    unmatched = next(
        doc_id for doc_id, _ in documents.items() if "owl" not in text_of(searcher, doc_id)
    )
    told = explain_answer(searcher, "owl", searcher.collection.doc(unmatched), boosts=ASKED)
    assert (told.score, told.matched_terms) == (0, ())


def text_of(searcher, doc_id):
    return searcher.collection.document(searcher.collection.doc(doc_id))["text"]


def test_what_may_be_missing_is_told(found, monkeypatch):
    searcher, _ = found
    monkeypatch.setattr(boosts, "FIRST_DEPTH", 10)
    monkeypatch.setattr(boosts, "MAX_K", 20)
    (cut,) = searcher.search(["wren"], 10, boosts=ASKED)
    assert cut.understood.notes[0].startswith("boosts looked at the 10,000 best")
    monkeypatch.setattr(boosts, "MAX_K", 10_000)
    (whole,) = searcher.search(["wren"], 10, boosts=ASKED)
    assert whole.understood is None


@pytest.mark.parametrize(
    ("boost", "told"),
    [
        ({"field": "sales"}, "expected one of recency, saturation and log"),
        ({"field": "sales", "log": 5, "saturation": 5}, "expected one of recency, saturation"),
        ({"field": "sales", "log": math.inf}, "expected a boost such as"),
        ({"field": "sales", "log": math.nan}, "expected a boost such as"),
        ({"field": "sales", "log": 5, "weight": math.inf}, "expected a boost such as"),
        ({"field": "sales", "log": 5, "weight": math.nan}, "expected a boost such as"),
        ({"field": "sales", "log": 5, "weight": -1}, "expected a boost such as"),
        ({"field": "sales", "log": 0}, "expected a boost such as"),
        ({"field": "size", "log": 5}, "expected a declared field"),
        ({"field": "brand", "log": 5}, "expected a field of type integer or float to boost by log"),
        ({"field": "sales", "recency": {"half_life_days": 3}}, "expected a field of type date"),
        ({"field": "published", "saturation": 3}, "expected a field of type integer or float"),
        ({"field": "published", "recency": {"half_life_days": 0}}, "expected a boost such as"),
        ({"field": "published", "recency": {"half_life_days": 1, "origin": "soon"}}, "ISO 8601"),
        ({"field": "sales", "log": 5, "boost": 2}, "expected a boost such as"),
        ("sales", "expected a boost such as"),
    ],
)
def test_what_is_no_boost_is_refused(found, boost, told):
    with pytest.raises(InputError, match=told):
        found[0].search(["owl"], boosts=[boost])


def test_boosts_that_do_not_go_together_are_refused(found):
    searcher, _ = found
    with pytest.raises(InputError, match="one with sort"):
        searcher.search(["owl"], boosts=ASKED, sort=["sales"])
    with pytest.raises(InputError, match="each field boosted once in one way"):
        searcher.search(["owl"], boosts=[ASKED[1], ASKED[1]])
    with pytest.raises(InputError, match="at most 16 boosts"):
        searcher.search(["owl"], boosts=[ASKED[1]] * 17)
    with pytest.raises(InputError, match="a search by score for boosts, found one with no query"):
        searcher.search([None], boosts=ASKED)
