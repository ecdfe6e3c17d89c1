"""Several indexes searched as one, against one index of all their documents."""

import random
from dataclasses import replace
from itertools import chain

import pytest

from tamis.index import InputError
from tamis.retriever import Passage, Searcher, SearchOptions, index_corpus, search_several
from tamis.retriever.answers import Shown
from tamis.retriever.fusion.several_indexes import seen_with
from tamis.retriever.types import NOTHING_SEEN
from tamis.retriever.words.analysis import LexicalConfig
from tamis.retriever.words.fields import parse_text_fields

WORDS = ["owl", "heron", "kite", "wren", "reed", "night", "field", "river", "song", "nest"]
COLUMNS = {"year": "integer", "colour": "string"}
COLOURS = ["red", "grey", "brown"]


def passages(first, count):
    """Documents of eight words each, so that any collection of them has one average length."""
    generator = random.Random(first)
    return [
        Passage(
            f"n{number}",
            " ".join(generator.choices(WORDS, weights=range(1, 11), k=8)),
            fields={"year": 2000 + number % 7, "colour": COLOURS[number % 3]},
        )
        for number in range(first, first + count)
    ]


def build(path, documents, **options):
    index_corpus(documents, path, encoder=None, fields=COLUMNS, **options)
    return Searcher.open(path)


@pytest.fixture(scope="module")
def searchers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    parts = {"a": passages(0, 37), "b": passages(100, 23), "c": passages(200, 5)}
    found = {name: build(folder / name, documents) for name, documents in parts.items()}
    return found, build(folder / "all", list(chain(*parts.values())))


def several(searchers, query, **options):
    shown = Shown(explain=options.pop("explain", False))
    seen = options.pop("seen", None) if options.get("seen") is not NOTHING_SEEN else None
    return search_several(searchers, query, SearchOptions(**options), shown, seen)


@pytest.mark.parametrize("query", ["owl heron", "kite river song", "a wren by the night"])
@pytest.mark.parametrize("options", [{}, {"offset": 4}, {"filter": {"field": "year", "eq": 2003}}])
def test_scores_are_those_of_one_index_of_all_documents(searchers, query, options):
    parts, whole = searchers
    found = several(parts, query, k=10, exact=True, explain=True, **options)
    (expected,) = whole.search([query], k=70, exact=True, **{**options, "offset": 0})
    scores = {hit.doc_id: hit.score for hit in expected.hits}
    first = options.get("offset", 0)
    wanted = sorted(scores.values(), reverse=True)[first : first + 10]
    assert found.merged == "score"
    assert [hit.score for hit in found.hits] == pytest.approx(wanted, 1e-5)
    for rank, hit in enumerate(found.hits, start=first + 1):
        assert hit.rank == rank
        assert hit.score == hit.score_in_index == pytest.approx(scores[hit.id], 1e-5)
        assert sum(one.contribution for one in hit.matched_terms) == pytest.approx(hit.score, 1e-4)
        assert parts[hit.index].collection.doc(hit.id) is not None
    assert sum(one.hits for one in found.indexes) == len(found.hits)


def test_operators_are_read_and_prefixes_weighed_by_all_documents_too(searchers):
    parts, whole = searchers
    options = {"k": 5, "exact": True, "syntax": "operators"}
    found = several(parts, "+owl song ri*", **options)
    (expected,) = whole.search(["+owl song ri*"], **options)
    assert [hit.score for hit in found.hits] == pytest.approx(
        [hit.score for hit in expected.hits], 1e-5
    )


def test_counts_and_facets_are_added_up(searchers):
    parts, whole = searchers
    facets = ["colour", {"field": "year", "ranges": [[None, 2003], [2003, None]]}]
    asked = {"count": "words", "facets": facets}
    found = several(parts, "owl", **asked)
    (expected,) = whole.search(["owl"], **asked)
    assert found.total == expected.counts.total
    assert dict(found.facets) == dict(expected.counts.facets)
    narrow = {"facets": [{"field": "year", "limit": 2}]}
    found, (expected,) = several(parts, "owl", **narrow), whole.search(["owl"], **narrow)
    assert found.facets_cut == dict(expected.counts.facets_cut)
    assert [one.count for one in found.facets["year"]] == [
        one.count for one in expected.counts.facets["year"]
    ]


def test_min_score_holds_over_all(searchers):
    parts, _ = searchers
    every = several(parts, "owl heron", k=60, exact=True)
    bound = every.hits[7].score
    found = several(parts, "owl heron", k=60, exact=True, min_score=bound)
    assert [hit.id for hit in found.hits] == [hit.id for hit in every.hits if hit.score >= bound]


SORTS = [
    ["year"],
    [{"field": "colour", "order": "desc"}, "year"],
]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("query", ["owl heron", None])
def test_orders_by_fields_are_those_of_one_index_of_all_documents(searchers, sort, query):
    parts, whole = searchers
    found = several(parts, query, k=20, offset=3, sort=sort)
    (expected,) = whole.search([query], k=20, offset=3, sort=sort)  # a's documents come first there
    assert found.merged == "sort"
    assert [hit.id for hit in found.hits] == [hit.doc_id for hit in expected.hits]
    assert [hit.rank for hit in found.hits] == list(range(4, 24))


def test_documents_without_a_value_come_last_of_all(searchers, tmp_path):
    none = [Passage("x", "owl owl", fields={"year": None}), Passage("y", "owl", fields={"year": 0})]
    parts = {"none": build(tmp_path / "none", none), "a": searchers[0]["a"]}
    found = [hit.id for hit in several(parts, "owl", k=60, sort=["year"]).hits]
    assert (found[0], found[-1]) == ("y", "x")


@pytest.mark.parametrize(
    ("names", "options"), [("abc", {}), ("abc", {"sort": ["year"]}), (("a", "long"), {})]
)
def test_pages_after_what_was_seen_are_the_list_in_parts(searchers, unlike, names, options):
    parts = {name: {**searchers[0], **unlike}[name] for name in names}
    every = several(parts, "owl heron", k=60, exact=True, **options).hits
    pages, seen = [], {}
    while True:
        page = several(parts, "owl heron", k=7, exact=True, seen=seen, **options)
        pages += page.hits
        if not page.hits:
            break
        seen = seen_with(page, seen)
    assert [(hit.index, hit.id) for hit in pages] == [(hit.index, hit.id) for hit in every]
    assert [hit.rank for hit in pages] == list(range(1, len(every) + 1))
    assert [hit.score for hit in pages] == pytest.approx([hit.score for hit in every], 1e-5)
    assert len(every) > 14


@pytest.fixture(scope="module")
def unlike(searchers, tmp_path_factory):
    """Beside a: documents of another length, and words of another analysis."""
    folder = tmp_path_factory.mktemp("unlike")
    long = [Passage(f"l{number}", "owl " + "reed " * 30, fields={}) for number in range(4)]
    return {
        "a": searchers[0]["a"],
        "long": build(folder / "long", long),
        "none": build(folder / "none", passages(300, 4), lexical=LexicalConfig(language="none")),
    }


@pytest.mark.parametrize(
    ("other", "why"), [("long", "words on average"), ("none", "analysed or weighed differently")]
)
def test_unlike_indexes_are_merged_by_ranks_and_say_why(unlike, other, why):
    pair = {name: unlike[name] for name in ("a", other)}
    found = several(pair, "owl", k=6, exact=True)
    assert found.merged == "rrf"
    assert why in found.why
    alone = {name: one.search(["owl"], k=6, exact=True)[0].hits for name, one in pair.items()}
    expected = [
        (hits[rank].doc_id, 1 / (61 + rank))
        for rank in range(6)
        for hits in alone.values()
        if rank < len(hits)
    ][:6]
    assert [hit.id for hit in found.hits] == [doc_id for doc_id, _ in expected]
    assert [hit.score for hit in found.hits] == pytest.approx([score for _, score in expected])
    for hit in found.hits:
        scores = {one.doc_id: one.score for one in alone[hit.index]}
        assert hit.score_in_index == scores[hit.id]


def test_weights_of_words_compare_no_better_than_texts(unlike):
    pair = {name: unlike[name] for name in ("a", "long")}
    assert several(pair, {"=owl": 1.0}).merged == "rrf"


def test_unknown_terms_are_those_of_every_index(unlike):
    pair = {name: unlike[name] for name in ("a", "long")}
    found = several(pair, "zebra heron")
    assert found.unknown_terms == ("=zebra",)
    assert [one.unknown_terms for one in found.indexes] == [("=zebra",), ("=zebra", "=heron")]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sort": ["size"]}, "index a: "),
        ({"sort": ["year"], "min_score": 1.0}, "index a: expected a search by score"),
        ({"seen": NOTHING_SEEN}, "expected what was seen by index"),
        ({"group_by": "colour"}, "expected groups by 'parent' alone"),
        ({"facets": ["size"]}, "index a: "),
        ({"filter": {"field": "size", "eq": 1}}, "index a: "),
        ({"offset": 9995}, "index a: "),
        ({"rerank": 5}, "expected a depth to rerank of at least k and offset together, 10"),
    ],
)
def test_what_several_indexes_cannot_do_is_refused(searchers, options, told):
    with pytest.raises(InputError, match=f"^{told}"):
        several(searchers[0], "owl", **options)


def test_what_ranks_cannot_do_is_refused(unlike, tmp_path):
    pair = {name: unlike[name] for name in ("a", "long")}
    with pytest.raises(InputError, match="expected no min_score, as their documents have"):
        several(pair, "owl", min_score=1.0)
    texts = [Passage("x", "owl", fields={"year": "2001"})]
    index_corpus(texts, tmp_path / "text", encoder=None, fields={"year": "string"})
    other = {"a": unlike["a"], "text": Searcher.open(tmp_path / "text")}
    with pytest.raises(InputError, match="of one type in all indexes, found integer, string"):
        several(other, "owl", facets=["year"])
    with pytest.raises(InputError, match="expected at least one index"):
        several({}, "owl")


def test_indexes_with_the_same_searched_fields_compare_where_these_are_as_long(tmp_path):
    config = LexicalConfig(fields=parse_text_fields("title:2,text"))

    def titled(name, title, first):
        documents = [replace(one, title=title) for one in passages(first, 20)]
        return build(tmp_path / name, documents, lexical=config)

    pair = {"a": titled("a", "owl reed", 0), "b": titled("b", "kite reed", 20)}
    both = [replace(one, title="owl reed") for one in passages(0, 20)]
    both += [replace(one, title="kite reed") for one in passages(20, 20)]
    whole = build(tmp_path / "whole", both, lexical=config)
    asked = {"k": 40, "exact": True, "text_boosts": {"title": 1}}
    found, (expected,) = several(pair, "owl", **asked), whole.search(["owl"], **asked)
    assert found.merged == "score"
    assert [hit.score for hit in found.hits] == pytest.approx(
        [hit.score for hit in expected.hits], 1e-5
    )
    longer = {"a": pair["a"], "c": titled("c", "owl owl reed", 40)}
    assert "their fields 'title' have 2 to 3 words" in several(longer, "owl", k=5).why
