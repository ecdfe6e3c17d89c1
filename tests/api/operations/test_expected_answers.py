"""Small queries over a small shop, and the answers that a user of a shop's search would expect.

The answers are worked out by hand from the documents. In them ``|`` stands between what comes
earlier and what comes later; ids with a space between them may come in any order.
"""

import pytest

WARES = [
    {"_id": "lamp", "title": "Red desk lamp", "about": "A lamp with a soft light for reading.",
     "brand": "Acme", "price": 30, "colours": ["red"], "in_stock": True, "added": "2024-01-10",
     "rating": 4.5},
    {"_id": "shade", "title": "Lamp shade", "about": "Fits every desk lamp of Acme.",
     "brand": "Lux", "price": 12, "colours": ["white", "red"], "in_stock": True,
     "added": "2024-03-05"},
    {"_id": "chair", "title": "Office chair", "about": "A red chair for a desk.",
     "brand": "Acme", "price": 120, "colours": ["black", "red"], "in_stock": False,
     "added": "2023-11-20"},
    {"_id": "desk", "title": "Oak desk", "about": "Stands firmly; needs no assembly.",
     "brand": "Holz", "price": 340, "colours": ["brown"], "in_stock": True,
     "added": "2023-06-01", "rating": 4.8},
    {"_id": "jacket", "title": "Rain jacket", "about": "Keeps you dry. Jacket with a hood.",
     "brand": "Nord", "price": 80, "colours": ["blue", "red"], "in_stock": True,
     "added": "2024-02-01", "maker": {"country": "SE"}},
    {"_id": "boots", "title": "Hiking boots", "about": "Waterproof boots for rain and snow.",
     "brand": "Nord", "price": 140, "colours": ["brown"], "in_stock": True,
     "added": "2022-09-15", "maker": {"country": "NO"}},
    {"_id": "novel", "title": "The night watch", "about": "A novel of New York at night.",
     "brand": "Quill", "price": 9.5, "in_stock": True, "added": "2020-05-05"},
    {"_id": "guide", "title": "New York guide", "about": "Hotels and restaurants in New York.",
     "brand": "Quill", "price": 15, "colours": [], "in_stock": False, "added": "2024-04-01"},
    {"_id": "sofa", "title": "Sofa bed", "about": "Sleeps two.",
     "brand": "Holz", "price": 560, "colours": ["blue"], "in_stock": True,
     "added": "2024-05-01"},
    {"_id": "couch", "title": "Corner couch", "about": "Seats five.",
     "brand": "Holz", "price": 790, "colours": ["blue", "black"], "in_stock": False,
     "added": "2023-01-01"},
    {"_id": "table", "title": "Café table", "about": "Round, for a balcony.",
     "brand": "Möbel", "price": 95, "colours": ["white"], "in_stock": True,
     "added": "2022-02-02"},
]  # fmt: skip
SETTINGS = {
    "encoder": None,
    "lexical": {"fields": [{"name": "title", "weight": 3}, {"name": "about"}, {"name": "brand"}]},
    "fields": {
        "brand": "string",
        "price": "float",
        "colours": "string[]",
        "in_stock": "boolean",
        "added": "date",
        "rating": "float",
        "maker.country": "string",
    },
}
TYPED = {"syntax": "operators", "typos": "auto"}  # as in the box of the search page
CHEAP = {"field": "price", "range": {"lte": 50}}

QUERIES = [
    # words, in any searched field, case, number and marks
    ("lamp", {}, "lamp shade"),
    ("LAMPS", {}, "lamp shade"),
    ("oak chairs", {}, "desk chair"),
    ("desk", {}, "desk lamp | shade chair"),  # a title counts three times
    ("acme", {}, "lamp chair shade"),
    ("acme", {"text_boosts": {"brand": 10}}, "lamp chair | shade"),
    ("red desk lamp", {}, "lamp | shade chair desk"),  # every word helps, none is needed
    ("cafe", {}, "table"),
    ("MÖBEL mobel", {}, "table"),
    ("the night", {}, "novel"),
    ("spaceship", {}, ""),
    # words in one field
    ("brand:acme", TYPED, "lamp chair"),
    ("brand:acme lamp", TYPED, "lamp | chair"),
    ("title:lamp", TYPED, "lamp shade"),
    ("about:rain", TYPED, "boots"),
    ("rain -brand:nord", TYPED, ""),
    ("lamp -brand:lux", TYPED, "lamp"),
    ('about:"new york" guide', TYPED, "guide | novel"),
    # phrases and signs
    ('"new york"', TYPED, "guide | novel"),
    ('"york new"', TYPED, ""),
    ('"desk lamp" red', TYPED, "lamp | shade"),
    ('"the night watch"', TYPED, "novel"),
    ("+red desk", TYPED, "lamp | chair"),
    ("rain -jacket", TYPED, "boots"),
    ('desk -"desk lamp"', TYPED, "desk | chair"),
    ("-lamp", TYPED, ""),  # nothing to rank by, which is told
    # prefixes
    ("jack*", TYPED, "jacket"),
    ("ho*", TYPED, "desk sofa couch jacket guide"),  # Holz, hood, hotels
    ("rain -ho*", TYPED, "boots"),
    ("title:co*", TYPED, "couch"),
    ("jack", TYPED, ""),  # a word is found whole: see "What Tamis does not do"
    # typing errors
    ("jakcet", TYPED, "jacket"),
    ("jakcet", {}, ""),
    ("hikng bots", TYPED, "boots"),
    ("resturants", TYPED, "guide"),
    ("lampp chiar", TYPED, "chair | lamp shade"),
    ("newyork", TYPED, "guide | novel"),
    ("water-proof", TYPED, "boots"),
    ("brand:acmee", TYPED, "lamp chair"),
    ("oka", TYPED, ""),  # words of three letters stay as they are
    # synonyms
    ("couch", {}, "couch sofa"),
    ("sofa bed", {}, "sofa | couch"),
    # filters
    ("red", {"filter": CHEAP}, "lamp"),
    ("desk", {"filter": {"field": "in_stock", "eq": False}}, "chair"),
    (None, {"filter": {"field": "colours", "in": ["blue", "black"]}},
     "chair | jacket | sofa | couch"),
    (None, {"filter": {"field": "colours", "all_of": ["blue", "red"]}}, "jacket"),
    (None, {"filter": {"field": "colours", "exists": False}}, "novel | guide"),
    (None, {"filter": {"field": "brand", "prefix": "No"}}, "jacket | boots"),
    (None, {"filter": {"field": "maker.country", "eq": "SE"}}, "jacket"),
    (None, {"filter": {"field": "added", "range": {"gte": "2024-03-05"}}}, "shade | guide | sofa"),
    ("rain desk", {"filter": {"must_not": [{"field": "brand", "in": ["Nord", "Acme"]}]}},
     "desk | shade"),
    (None, {"filter": {"should": [{"field": "price", "range": {"lt": 10}},
                                  {"field": "brand", "eq": "Lux"}]}}, "shade | novel"),
    # orders, pages, groups
    ("desk", {"sort": ["price"]}, "shade | lamp | chair | desk"),
    ("desk", {"sort": [{"field": "price", "order": "desc"}], "k": 2}, "desk | chair"),
    ("desk", {"sort": ["price"], "k": 2, "offset": 2}, "chair | desk"),
    ("desk", {"sort": [{"field": "rating", "order": "desc"}]}, "desk | lamp | shade chair"),
    (None, {"sort": [{"field": "added", "order": "desc"}], "k": 3}, "sofa | guide | shade"),
    ("desk", {"group_by": "brand"}, "desk lamp | shade"),
]  # fmt: skip


@pytest.fixture(scope="module")
def shop(module_home):
    module_home.create("shop", SETTINGS, WARES)
    rules = {"synonyms": ["sofa, couch"]}
    module_home.ask("PUT", "/v1/indexes/shop/synonyms", json=rules)
    return module_home


def ranks(expected):
    """The ids of a row as lists of those that may come in any order."""
    return [sorted(some.split()) for some in expected.split("|")] if expected else []


@pytest.mark.parametrize(("query", "options", "expected"), QUERIES)
def test_a_query_finds_what_its_user_expects(shop, query, options, expected):
    found = iter(shop.found(query, "shop", **options))
    groups = [sorted(next(found, "nothing") for _ in some) for some in ranks(expected)]
    assert [*groups, *found] == ranks(expected)


COUNTS = [
    ("desk", {"count": "words"}, 4, {}),
    ("red desk lamp", {"count": "words"}, 4, {}),
    ("desk", {"count": "filter", "filter": CHEAP}, 4, {}),
    ('"new york"', {"count": "words", **TYPED}, 2, {}),
    ("desk", {"facets": ["brand"]}, 4, {"brand": {"Acme": 2, "Holz": 1, "Lux": 1}}),
    ("desk", {"facets": ["colours"], "filter": CHEAP}, 2, {"colours": {"red": 2, "white": 1}}),
    (None, {"facets": ["in_stock"]}, 11, {"in_stock": {True: 8, False: 3}}),
    (None, {"facets": [{"field": "price", "ranges": [[0, 50], [50, 100], [100, None]]}]}, 11,
     {"price": {(0, 50): 4, (50, 100): 2, (100, None): 5}}),
]  # fmt: skip


@pytest.mark.parametrize(("query", "options", "total", "facets"), COUNTS)
def test_matches_and_their_values_are_counted(shop, query, options, total, facets):
    answer = shop.search(query, "shop", k=1, **options)
    assert answer["total"]["value"] == total
    assert answer["total"]["relation"] == "exact"
    counts = {
        field: {named(one["value"]): one["count"] for one in of_field}
        for field, of_field in (answer["facets"] or {}).items()
    }
    assert counts == facets


def named(value):
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize("options", [{}, {"sort": ["price"]}, {"filter": CHEAP}])
def test_pages_by_cursor_are_the_list_in_parts(shop, options):
    whole, pages, cursor = shop.found("desk lamp", "shop", **options), [], {}
    while True:
        answer = shop.search("desk lamp", "shop", k=2, **options, **cursor)
        pages += [hit["id"] for hit in answer["hits"]]
        if not answer["hits"]:
            break
        cursor = {"cursor": answer["cursor"]}
    assert pages == whole


def test_a_bound_on_scores_keeps_what_reaches_it(shop):
    first, second, *_ = shop.search("desk", "shop")["hits"]
    bound = (first["score"] + second["score"]) / 2
    assert shop.found("desk", "shop", min_score=bound) == [first["id"]]
