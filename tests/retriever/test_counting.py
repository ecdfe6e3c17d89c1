"""Counts, facets, orders and listings: a table of small requests, worked out by hand.

Eight articles of a shop. What a request finds can be read off this table::

    id  text               brand  price  tags            sold   since       maker.city
    a   red owl lamp       acme   10.0   [owl, lamp]     true   2024-01-01  Bonn
    b   owl clock          acme   25.5   [owl]           false  2023-06-15  Bern
    c   red bicycle        zeta   250    []              false  2022-03-01  Bonn
    d   lamp               acme   7      [lamp, old]     true   2021-01-01
    e   red red owl        beta          [owl, red]             2024-01-01  Berlin
    f   clock lamp         zeta   12     [lamp, clock]   false  2023-06-15
    g   bicycle bell       beta   5      [bell]          true               Bonn
    h   owl                                                     2020-05-05
"""

import pytest
from letter_encoder import LetterEncoder

from tamis.index import InputError
from tamis.retriever import Editor, Passage, Searcher, create_index, index_corpus

ROWS = """
a|red owl lamp|acme|10.0|owl lamp|true|2024-01-01|Bonn
b|owl clock|acme|25.5|owl|false|2023-06-15|Bern
c|red bicycle|zeta|250||false|2022-03-01|Bonn
d|lamp|acme|7|lamp old|true|2021-01-01|
e|red red owl|beta||owl red||2024-01-01|Berlin
f|clock lamp|zeta|12|lamp clock|false|2023-06-15|
g|bicycle bell|beta|5|bell|true||Bonn
h|owl||||||2020-05-05|
""".replace("h|owl||||||2020-05-05|", "h|owl|||||2020-05-05|")
FIELDS = {
    "brand": "string",
    "price": "float",
    "tags": "string[]",
    "sold": "boolean",
    "since": "date",
    "maker.city": "string",
}


def passages():
    for row in ROWS.strip().splitlines():
        doc_id, text, brand, price, tags, sold, since, city = row.split("|")
        given = {"brand": brand or None, "price": price, "sold": sold, "since": since}
        if tags:
            given["tags"] = tags.split()
        yield Passage(doc_id, text, fields=given | ({"maker": {"city": city}} if city else {}))


@pytest.fixture(scope="module", params=["whole", "segments"])
def searcher(request, tmp_path_factory):
    """The articles as one segment; or as three, one of them changed and one deleted since."""
    path = tmp_path_factory.mktemp("shop") / "shop"
    if request.param == "whole":
        index_corpus(passages(), path, encoder=None, fields=FIELDS)
        return Searcher.open(path)
    create_index(path, encoder=None, fields=FIELDS)
    with Editor.open(path, merge=False) as editor:
        editor.writer._publisher._gather = False
        gone = Passage("x", "red owl", fields={"brand": "acme"})
        editor.put([gone, Passage("a", "old owl", fields={"price": 1})], wait="searchable")
        articles = list(passages())
        editor.delete(["x"])
        editor.put(articles[:3], wait="searchable")
        editor.put(articles[3:], wait="searchable")
    found = Searcher.open(path)
    assert len(found.collection.index.parts) > 1
    return found


def ids(result):
    return "".join(hit.doc_id for hit in result.hits)


def field(name, **condition):
    return {"field": name, **condition}


@pytest.mark.parametrize(
    ("query", "options", "total"),
    [
        ("owl", {"count": "words"}, 4),
        ("red owl", {"count": "words"}, 5),
        ("zebra", {"count": "words"}, 0),
        ("owl", {"count": "filter"}, 8),
        ("owl", {"count": "words", "lexical_weight": 0}, 4),
        ({"=owl": 2.0}, {"count": "words"}, 4),
        ({"=owl": 2.0, "=clock": 1.0}, {"count": "words"}, 5),
        ("owl", {"count": "words", "filter": field("brand", eq="acme")}, 2),
        ("owl", {"count": "filter", "filter": field("brand", eq="acme")}, 3),
        ("owl lamp", {"count": "words", "filter": field("tags", all_of=["lamp", "owl"])}, 1),
        ("red", {"count": "words", "filter": field("price", exists=False)}, 1),
        ("owl", {"count": "words", "filter": field("maker.city", prefix="Ber")}, 2),
        (None, {"filter": field("sold", eq=True)}, 3),
        (None, {"filter": {"should": [field("sold", eq=True), field("brand", eq="zeta")]}}, 5),
        ('"red owl"', {"count": "words", "syntax": "operators"}, 2),
        ('"red owl"', {"count": "filter", "syntax": "operators"}, 2),
        ("red -owl", {"count": "words", "syntax": "operators"}, 1),
        ("+owl clock", {"count": "words", "syntax": "operators"}, 4),
        (None, {"filter": {"must_not": [field("brand", exists=True)]}}, 1),
        (None, {"filter": field("since", range={"gte": "2023-06-15", "lt": "2024-01-01"})}, 2),
    ],
)  # fmt: skip
def test_the_number_of_matches(searcher, query, options, total):
    for k in (1, 10):
        (result,) = searcher.search([query], k, **options)
        assert result.counts.total.value == total
        assert result.counts.total.relation == "exact"


@pytest.mark.parametrize(
    ("query", "facets", "options", "expected"),
    [
        ("owl", ["brand"], {}, {"brand": {"acme": 2, "beta": 1}}),
        ("owl", ["brand"], {"count": "filter"}, {"brand": {"acme": 3, "beta": 2, "zeta": 2}}),
        (None, ["brand"], {}, {"brand": {"acme": 3, "beta": 2, "zeta": 2}}),
        ("lamp", ["tags"], {}, {"tags": {"lamp": 3, "clock": 1, "old": 1, "owl": 1}}),
        ("red", ["sold", "brand"], {"filter": field("price", range={"lt": 99})},
         {"sold": {True: 1}, "brand": {"acme": 1}}),
        (None, ["maker.city"], {}, {"maker.city": {"Bonn": 3, "Berlin": 1, "Bern": 1}}),
        ("lamp", ["price"], {}, {"price": {7.0: 1, 10.0: 1, 12.0: 1}}),
        ("zebra", ["brand"], {}, {"brand": {}}),
        (
            None,
            [{"field": "price", "ranges": [[0, 10], [10, 20], [20, None], [None, None]]}],
            {},
            {"price": {(0, 10): 2, (10, 20): 2, (20, None): 2, (None, None): 6}},
        ),
        (
            "owl",
            [{"field": "since", "ranges": [["2023-01-01", "2024-01-01"], [None, "2023-01-01"]]}],
            {},
            {"since": {("2023-01-01", "2024-01-01"): 1, (None, "2023-01-01"): 1}},
        ),
        (
            "owl",
            ["since"],
            {"filter": field("price", exists=False)},
            {"since": {"2020-05-05T00:00:00+00:00": 1, "2024-01-01T00:00:00+00:00": 1}},
        ),
    ],
)  # fmt: skip
def test_facets(searcher, query, facets, options, expected):
    (result,) = searcher.search([query], 2, facets=facets, **options)
    found = {
        name: [(one.value, one.count) for one in counts]
        for name, counts in result.counts.facets.items()
    }
    assert found == {name: list(values.items()) for name, values in expected.items()}
    assert result.counts.facets_cut == {}


def test_the_values_that_a_facet_leaves_out_are_told(searcher):
    (result,) = searcher.search([None], facets=[{"field": "tags", "limit": 2}])
    assert [one.value for one in result.counts.facets["tags"]] == ["lamp", "owl"]
    assert result.counts.facets_cut == {"tags": 4}


@pytest.mark.parametrize(
    ("query", "options", "expected"),
    [
        (None, {"sort": ["price"]}, "gdafbceh"),
        (None, {"sort": [{"field": "price", "order": "desc"}]}, "cbfadgeh"),
        (None, {"sort": ["brand", {"field": "price", "order": "desc"}]}, "badgecfh"),
        (None, {"sort": ["since", "price"], "k": 3}, "hdc"),
        (None, {"sort": ["tags"], "k": 4}, "gfad"),
        (None, {"sort": [{"field": "tags", "order": "desc"}], "k": 3}, "eab"),
        (None, {"filter": field("tags", eq="owl")}, "abe"),
        (None, {"filter": field("tags", eq="owl"), "offset": 1, "k": 1}, "b"),
        ("owl", {"sort": ["price"]}, "abeh"),
        ('"red owl"', {"sort": [{"field": "brand", "order": "desc"}], "syntax": "operators"}, "ea"),
        ("owl", {"sort": ["sold"], "count": "filter", "k": 4}, "bcfa"),
        ("red owl", {"sort": [{"field": "since", "order": "desc"}]}, "aebch"),
    ],
)
def test_orders_and_listings(searcher, query, options, expected):
    options = {"k": 10} | options
    (result,) = searcher.search([query], **options)
    assert ids(result) == expected
    pages, seen = "", None
    options = options | {"k": 2, "offset": 0}
    while len(pages) < len(expected) and "offset" in options:
        (page,) = searcher.search([query], **options, seen=seen)
        if not page.hits:
            break
        assert [hit.rank for hit in page.hits] == list(
            range(len(pages) + 1, len(pages) + 1 + len(page.hits))
        )
        pages, seen = pages + ids(page), page.seen
    assert pages.startswith(expected) or expected == "b"


def test_hits_in_the_order_of_a_field_keep_their_scores(searcher):
    (by_score,) = searcher.search(["red owl"], 10)
    (by_price,) = searcher.search(["red owl"], 10, sort=["price"], explain=True)
    scores = {hit.doc_id: hit.score for hit in by_score.hits}
    assert {hit.doc_id: hit.score for hit in by_price.hits} == pytest.approx(scores)
    for hit in by_price.hits:
        total = sum(term.contribution for term in hit.matched_terms)
        assert total == pytest.approx(hit.score, abs=1e-4)
    (listed,) = searcher.search([None], 10)
    assert {hit.score for hit in listed.hits} == {0.0}


def test_hits_below_a_score_are_left_out(searcher):
    (every,) = searcher.search(["red owl"], 10)
    bound = every.hits[2].score
    (some,) = searcher.search(["red owl"], 10, min_score=bound, count="words")
    assert some.hits == tuple(hit for hit in every.hits if hit.score >= bound)
    assert some.counts.total.value == 5  # it counts what matches, whatever the scores


@pytest.mark.parametrize(
    ("query", "options", "words"),
    [
        ("owl", {"facets": ["text"]}, r"expected a declared field \(brand, .* found 'text'"),
        ("owl", {"facets": ["brand", {"field": "brand"}]}, "expected each field once in facets"),
        ("owl", {"facets": "brand"}, "expected a list of at most 32 fields in facets"),
        ("owl", {"facets": [{"field": "brand", "ranges": [[1, 2]]}]}, "found the string field"),
        ("owl", {"facets": [{"feld": "brand"}]}, "expected a field or .* in facets, found"),
        ("owl", {"facets": [{"field": "price", "ranges": [[1]]}]}, "expected a field or"),
        ("owl", {"facets": [{"field": "price", "limit": 0}]}, "expected a field or"),
        ("owl", {"sort": ["colour"]}, "expected a declared field"),
        ("owl", {"sort": [{"field": "price", "order": "up"}]}, "expected a field or .* in sort"),
        ("owl", {"sort": ["price"], "group_by": "brand"}, "for group_by, found one with sort"),
        ("owl", {"sort": ["price"], "min_score": 1.0}, "for min_score, found one with sort"),
        (None, {"group_by": "brand"}, "for group_by, found one with no query"),
        (None, {"count": "words"}, "expected a query with words to count"),
        ("owl", {"sort": "price"}, "expected a list of at most 32 fields in sort"),
        ("owl", {"min_score": float("nan")}, "expected a finite min_score, found nan"),
    ],
)
def test_what_cannot_be_is_refused(searcher, query, options, words):
    with pytest.raises(InputError, match=words):
        searcher.search([query], **options)


def test_learned_terms_do_not_count(tmp_path):
    encoder = LetterEncoder()
    index_corpus(passages(), tmp_path / "both", encoder=encoder, fields=FIELDS)
    (result,) = Searcher.open(tmp_path / "both", encoder=encoder).search(["owl"], count="words")
    assert len(result.hits) == 8  # letters are shared by all
    assert result.counts.total.value == 4
    index_corpus(passages(), tmp_path / "learned", encoder=encoder, lexical=None, fields=FIELDS)
    learned = Searcher.open(tmp_path / "learned", encoder=encoder)
    (result,) = learned.search(["owl"], facets=["brand"])
    assert (result.counts.total.value, result.counts.total.count) == (8, "filter")
    with pytest.raises(InputError, match="or an index without words"):
        learned.search(["owl"], count="words")
