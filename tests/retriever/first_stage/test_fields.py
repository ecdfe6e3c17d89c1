"""Searched fields in queries and documents: answers worked out by hand."""

import json

import pytest

from tamis.index.errors import InputError
from tamis.index.exchange.interchange import stored_vectors, write_json_vectors
from tamis.index.upkeep.snapshot import restore, write_snapshot
from tamis.retriever import Editor, LexicalConfig, Passage, Searcher, create_index, index_corpus
from tamis.retriever.builds.importing import import_vectors
from tamis.retriever.corpus.advice import CorpusWarning
from tamis.retriever.corpus.passages import read_passages
from tamis.retriever.highlights import highlight
from tamis.retriever.words.fields import parse_text_fields

FIELDS = "title:3,text,brand,_id"
SHOP = [
    Passage("AC-528/0001", "A lamp for running desks.", "Red lamp", {"brand": "Acme"}),
    Passage(
        "AC-528/0002", "Acme makes this lamp shade.", "Shade", {"brand": ["Lux", "Best Light"]}
    ),
    Passage("QX-100/0001", "Light and cheap, unlike acme.", "Best lamps", {"brand": "Runner"}),
    Passage("QX-100/0002", "No brand at all on a desk.", "Acme desk"),
]


def built(path, passages=SHOP, fields=FIELDS, **options):
    config = LexicalConfig(fields=parse_text_fields(fields))
    return index_corpus(passages, path, encoder=None, lexical=config, **options)


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    return Searcher.open(built(tmp_path_factory.mktemp("shop") / "index").path)


def found(searcher, query, **options):
    (result,) = searcher.search([query], **{"syntax": "operators", **options})
    return result


def ids(searcher, query, **options):
    return {hit.doc_id[0] + hit.doc_id[-1] for hit in found(searcher, query, **options).hits}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("acme", {"A1", "A2", "Q1", "Q2"}),
        ("brand:acme", {"A1"}),
        ("brand:ACME", {"A1"}),
        ("title:acme", {"Q2"}),
        ("text:acme", {"A2", "Q1"}),
        ("acme -brand:acme", {"A2", "Q1", "Q2"}),
        ("acme -text:acme", {"A1", "Q2"}),
        ("+brand:lux lamp", {"A2"}),
        ('brand:"best light"', {"A2"}),
        ('brand:"lux best"', set()),  # two items of a list
        ('"best lamps"', {"Q1"}),
        ('"lamps light"', set()),  # the end of a title and the beginning of its text
        ('title:"best light"', set()),
        ("title:lamps", {"A1", "Q1"}),  # words in fields are stems
        ("text:run", {"A1"}),
        ("brand:runners", {"Q1"}),
        ("brand:l*", {"A2"}),
        ("title:la*", {"A1", "Q1"}),
        ("text:la*", {"A1", "A2"}),
        ("-brand:a* lamp", {"A2", "Q1"}),
        ("brand:nobody lamp", set()),
        ("AC-528/0001", {"A1"}),
        ("_id:528", {"A1", "A2"}),
        ("_id:AC-528/0001", {"A1"}),
        ("shop:acme", {"A1", "A2", "Q1", "Q2"}),  # no field: text
    ],
)
def test_a_field_before_a_word_asks_for_it_there(searcher, query, expected):
    if query == "AC-528/0001":
        assert found(searcher, query).hits[0].doc_id == query
    else:
        assert ids(searcher, query) == expected


@pytest.mark.parametrize(
    ("query", "meant", "expected"),
    [
        ("brand:acmee", "brand:acme", {"A1"}),
        ("brand:Runer lamp", "brand:runner", {"Q1"}),
        ("title:runer", None, set()),  # no title has runner
        ("brand:shade", None, set()),  # other fields have it, and no brand is like it
        ("text:lampp", "text:lamp", {"A1", "A2"}),
        ("+brand:acmee", None, set()),  # after a sign words are meant as they are
    ],
)
def test_an_error_in_a_field_is_one_of_the_words_there(searcher, query, meant, expected):
    result = found(searcher, query, typos="auto")
    told = [] if meant is None else [{"from": query.split()[0], "to": meant}]
    assert list(result.corrections) == told
    assert {hit.doc_id[0] + hit.doc_id[-1] for hit in result.hits} == expected


def test_the_answer_tells_what_a_field_meant(searcher):
    understood = found(searcher, 'brand:acme -title:desk text:"a lamp" brand:a*').understood
    assert understood.must == ("brand:acme", 'text:"a lamp"', "brand:a*")
    assert understood.must_not == ("title:desk",)
    assert [one.prefix for one in understood.prefixes] == ["brand:a"]
    (note,) = found(searcher, "shop:acme").understood.notes
    assert "shop" in note
    assert "title, text, brand, _id" in note
    assert found(searcher, "brand:acme", syntax="plain").understood.notes
    assert found(searcher, "acme", syntax="plain").understood is None


def test_boosts_order_by_fields(searcher):
    first = found(searcher, "acme", text_boosts={"brand": 9}).hits[0]
    assert first.doc_id == "AC-528/0001"
    (term,) = [
        one
        for one in found(searcher, "acme", text_boosts={"brand": 9}, explain=True)
        .hits[0]
        .matched_terms
        if one.term == "=brand:acm"
    ]
    assert term.fields is None
    assert found(searcher, "acme", text_boosts={"title": 9}).hits[0].doc_id == "QX-100/0002"


@pytest.mark.parametrize(
    ("boosts", "said"),
    [
        ({"colour": 2}, "title, text, brand, _id, found 'colour'"),
        ({"title": -1}, "at least 0"),
        ({"title": float("nan")}, "at least 0"),
        ({"title": float("inf")}, "at least 0"),
    ],
)
def test_boosts_that_cannot_be_are_refused(searcher, boosts, said):
    with pytest.raises(InputError, match=said):
        found(searcher, "acme", text_boosts=boosts)


def test_an_index_without_fields_has_none_to_boost(tmp_path):
    index_corpus(SHOP, tmp_path / "index", encoder=None)
    plain = Searcher.open(tmp_path / "index")
    with pytest.raises(InputError, match="--text-field"):
        found(plain, "acme", text_boosts={"title": 2})
    assert ids(plain, "brand:acme") == {"A2", "Q1", "Q2"}  # text, and brand is not read


def test_typing_errors_and_suggestions_are_of_words_in_any_field(searcher):
    assert found(searcher, "runer", typos="auto").corrections[0]["to"] == "runner"
    assert [one.text for one in searcher.suggest("acm")] == ["acme"]
    assert [one.text for one in searcher.suggest("bran")] == ["brand"]
    assert searcher.suggest(":brand") == ()
    assert found(searcher, "desck", typos="auto").corrections[0]["to"] == "desk"


def test_highlights_stand_in_their_fields(searcher):
    hit = found(searcher, "lux desk", explain=True, k=4).hits
    marked = {one.doc_id: highlight(searcher, one) for one in hit}
    assert [span.text for span in marked["AC-528/0002"]["brand"] if span.match] == ["Lux"]
    assert [span.text for span in marked["QX-100/0002"]["title"] if span.match] == ["desk"]
    (hit,) = found(searcher, {"=title:desk": 1.0}, explain=True).hits
    assert not any(span.match for span in highlight(searcher, hit)["text"])


def test_words_in_fields_are_terms_with_names(searcher):
    vocabulary = searcher.vocabulary
    names = [vocabulary.name(term) for term in range(vocabulary.size)]
    assert {"=acm", "=brand:acm", "=title:desk"} <= set(names)
    assert not any(name.startswith("=text:") for name in names)  # the main field
    assert [vocabulary.term(name) for name in names] == list(range(vocabulary.size))


def test_a_patch_of_a_searched_field_is_refused(tmp_path):
    built(tmp_path / "index", [Passage("a", "x", fields={"brand": "b", "price": 1})], "text,brand")
    with Editor.open(tmp_path / "index") as editor:
        editor.patch({"a": {"price": 2}})
        for change in ({"brand": "c"}, {"text": "c"}, {"title": "c"}):
            with pytest.raises(InputError, match="not searched"):
                editor.patch({"a": change})


@pytest.mark.parametrize("value", [7, True, ["a", 7], {"name": "a"}, ["a", None]])
def test_fields_that_hold_no_texts_are_refused(tmp_path, value):
    faulty = Passage("a", "x", fields={"brand": value}, line=3, file="shop.jsonl")
    with pytest.raises(InputError, match=r"shop.jsonl:3: expected a string or a list of strings"):
        built(tmp_path / "index", [faulty], "text,brand")
    create_index(
        tmp_path / "live", encoder=None, lexical=LexicalConfig(fields=parse_text_fields("brand"))
    )
    with Editor.open(tmp_path / "live") as editor, pytest.raises(InputError, match="'brand'"):
        editor.put([faulty])


def test_a_field_within_an_object_is_searched(tmp_path):
    passage = Passage("a", "x", fields={"made": {"by": "acme"}})
    path = built(tmp_path / "index", [passage], "text,made.by").path
    assert [hit.doc_id for hit in found(Searcher.open(path), "made.by:acme").hits] == ["a"]


def test_a_field_that_no_document_has_is_told(tmp_path):
    with pytest.warns(CorpusWarning, match="'colour'"):
        built(tmp_path / "index", SHOP, "text,colour")


def test_records_need_no_text_where_fields_are_searched(tmp_path):
    corpus = tmp_path / "shop.jsonl"
    rows = [{"id": "a", "title": "Lamp", "about": "red"}, {"id": "b", "about": ["blue", "wide"]}]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match="expected a text"):
        list(read_passages(corpus))
    passages = read_passages(corpus, searched=["title", "about"])
    searcher = Searcher.open(built(tmp_path / "index", passages, "title:3,about").path)
    assert [hit.doc_id for hit in found(searcher, "blue").hits] == ["b"]
    with pytest.raises(InputError, match="expected a text"):
        list(read_passages(corpus, searched=["title"]))


ASKED = [
    ("acme", {}),
    ("brand:acme lamp", {"syntax": "operators"}),
    ("acme lamp", {"text_boosts": {"brand": 9, "title": 2}}),
    ("brand:acmee", {"syntax": "operators", "typos": "auto"}),
]


def scores(searcher, query, **options):
    (result,) = searcher.search([query], exact=True, **options)
    return [(hit.doc_id, hit.score) for hit in result.hits]


def test_a_restored_collection_answers_in_its_fields_as_before(searcher, tmp_path):
    write_snapshot(searcher.collection.path, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "restored")
    restored = Searcher.open(tmp_path / "restored")
    assert restored.collection.settings.text_fields == searcher.collection.settings.text_fields
    for query, options in ASKED:
        assert scores(restored, query, **options) == scores(searcher, query, **options) != []
    with Editor.open(tmp_path / "restored") as editor:
        editor.put([Passage("new", "", "Bell", {"brand": "Acme"})])
        editor.commit()
    grown = Searcher.open(tmp_path / "restored")
    assert "new" in dict(scores(grown, "brand:acme", syntax="operators"))


def test_vectors_of_fields_score_the_same_once_exported_and_imported(searcher, tmp_path):
    write_json_vectors(tmp_path / "v.jsonl", stored_vectors(searcher.collection.index))
    imported = Searcher.open(import_vectors(tmp_path / "v.jsonl", tmp_path / "imported").path)
    for query, options in (ASKED[0], ASKED[2]):
        (weights,) = searcher.read([query], **options).vectors.to_dicts()
        named = {str(term): weight for term, weight in weights.items()}
        found, expected = scores(imported, named), scores(searcher, query, **options)
        assert dict(found) == pytest.approx(dict(expected), rel=1e-6)
