"""Declared fields: inferred, stored as their type, filtered by, and kept through every change."""

import datetime

import pytest

from tamis.index import Collection, InputError
from tamis.index.upkeep.snapshot import restore, write_snapshot
from tamis.retriever import Editor, Passage, Searcher, create_index, index_corpus
from tamis.retriever.corpus.fields import check_fields, common_kind, kind_of, parse_fields, typed


def books(*years, first=0):
    return [
        Passage(f"b{n}", "a book", fields={"year": year, "note": "x"}, line=n + 1, file="b.csv")
        for n, year in enumerate(years, first)
    ]


def found(path, where):
    (result,) = Searcher.open(path).search(["book"], 100, filter=where)
    return sorted(hit.doc_id for hit in result.hits)


SINCE_2000 = {"field": "year", "range": {"gte": 2000}}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("1999", "integer"),
        ("-7", "integer"),
        (" 12 ", "integer"),
        ("007", "string"),
        ("1_000", "string"),
        ("9" * 19, "float"),
        ("3.50", "float"),
        ("1e999", "string"),
        ("nan", "string"),
        ("2024-05-31", "date"),
        ("2024-05-31T12:00:00Z", "date"),
        ("2024-13-01", "string"),
        ("31/05/2024", "string"),
        ("31.5.2024", "string"),
        ("May 31, 2024", "string"),
        ("20240531", "integer"),
        ("", None),
        (None, None),
        (float("nan"), None),
        (7, "integer"),
        (2**70, "float"),
        (0.5, "float"),
        (True, "boolean"),
        ("False", "boolean"),
        ([], None),
        ([None], None),
        (["a", 7], "string[]"),
        ([1, 2.5], "float[]"),
        (datetime.date(2024, 5, 31), "date"),
    ],
)
def test_a_value_has_the_narrowest_type_it_is_spelled_as(value, kind):
    assert kind_of(value) == kind


@pytest.mark.parametrize(
    ("kinds", "common"),
    [
        ({"integer"}, "integer"),
        ({"integer", "float"}, "float"),
        ({"integer", "date"}, "string"),
        (set(), "string"),
        ({"integer[]", "integer"}, "integer[]"),
        ({"integer[]", "string"}, "string[]"),
    ],
)
def test_values_of_several_types_share_one(kinds, common):
    assert common_kind(kinds) == common


def test_types_are_inferred_from_the_first_documents_whose_values_stay_as_they_are():
    given = ["1999", None, "2001", ""]
    schema, passages = typed(books(*given), {"year": None, "note": "string"})
    assert schema == {"year": "integer", "note": "string"}
    assert [passage.fields["year"] for passage in passages] == given
    schema, _ = typed(books(datetime.datetime(2024, 5, 31, 12)), {"year": None})
    assert schema == {"year": "date"}


PRICES = ["12.50", 7, " 30 ", "", None, "1e1"]


@pytest.mark.parametrize("put", [False, True])
def test_documents_store_what_they_were_given_and_filters_take_it(tmp_path, put):
    path, fields = tmp_path / "c", {"year": "float", "note": "string"}
    documents = [
        Passage(f"b{n}", "a book", fields={"year": price, "note": note})
        for n, (price, note) in enumerate(zip(PRICES, ["", 7, "7", " ", None, "x"], strict=True))
    ]
    if put:
        create_index(path, encoder=None, fields=fields)
        with Editor.open(path) as editor:
            editor.put(documents)
    else:
        index_corpus(documents, path, encoder=None, fields=fields)
    for _ in range(2):
        collection = Collection.open(path)
        stored = [collection.document(doc) for doc in range(6)]
        assert [one["year"] for one in stored] == PRICES
        assert [one["note"] for one in stored] == ["", 7, "7", " ", None, "x"]
        assert found(path, {"field": "year", "range": {"gte": 10, "lt": 20}}) == ["b0", "b5"]
        assert found(path, {"field": "year", "range": {"gte": 0}}) == ["b0", "b1", "b2", "b5"]
        assert found(path, {"field": "note", "in": [""]}) == ["b0"]
        assert found(path, {"field": "note", "in": ["7", " "]}) == ["b1", "b2", "b3"]
        with Editor.open(path) as editor:
            editor.optimize()


def test_a_later_value_of_another_type_is_named_by_file_and_line():
    years = ["1999"] * 1500 + ["n.d."]
    _, passages = typed(books(*years), {"year": None})
    with pytest.raises(InputError, match=r"b\.csv:1501: expected a whole number .* found 'n\.d\.'"):
        list(passages)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"from": 1999}, "an object in document 'b0'; name the value within it, such as year.from"),
        ([["1999"]], r"\['1999'\] in document 'b0'"),
        (True, ""),
    ],
)
def test_a_value_that_is_no_plain_one_is_refused(value, said):
    _, passages = typed(books(value), {"year": "string"})
    words = rf"b\.csv:1: expected a string for field 'year', found {said}"
    with pytest.raises(InputError, match=words):
        list(passages)


def test_a_list_in_a_field_of_numbers_is_refused():
    _, passages = typed(books([1999]), {"year": "integer"})
    with pytest.raises(InputError, match=r"found a list in document .* year:integer\[\]"):
        list(passages)


def test_a_field_within_a_field_is_named_with_a_dot(tmp_path):
    given = [{"from": 1999}, {"from": "2001", "to": {"x": 1}}, {}, None, 7]
    passages = list(books(*given))
    index_corpus(passages, tmp_path / "i", encoder=None, fields={"year.from": None})
    assert Collection.open(tmp_path / "i").index.columns == {"year.from": "integer"}
    late = {"field": "year.from", "range": {"gte": 2000}}
    assert found(tmp_path / "i", late) == ["b1"]
    with pytest.raises(InputError, match=r"expected the field 'year\.until' in the first 5"):
        typed(iter(passages), {"year.until": None})


def test_a_list_of_strings_holds_where_a_filter_names_an_item(tmp_path):
    given = [["a", "b"], "a", ["b"], [], None, ["a", 7], '["a"]', "[x"]
    path = tmp_path / "i"
    index_corpus(books(*given), path, encoder=None, fields={"year": "string"})
    for _ in range(2):  # as it was made, and written anew
        assert found(path, {"field": "year", "in": ["a"]}) == ["b0", "b1", "b5"]
        assert found(path, {"field": "year", "in": ["b", "7"]}) == ["b0", "b2", "b5"]
        assert found(path, {"field": "year", "in": ['["a"]']}) == ["b6"]
        assert found(path, {"field": "year", "in": ["[x"]}) == ["b7"]
        assert found(path, {"must_not": [{"field": "year", "in": ["a"]}]}) == [
            "b2", "b3", "b4", "b6", "b7",
        ]  # fmt: skip
        collection = Collection.open(path)
        assert [collection.document(doc)["year"] for doc in range(4)] == given[:4]
        assert collection.index.docs_with("year", ["a", '["a"]']).tolist() == [1, 6]
        with Editor.open(path) as editor:
            editor.optimize()


@pytest.mark.parametrize(
    ("text", "is_date"),
    [
        ("2024-05-31", True),
        ("2024-05-31T10:00:00Z", True),
        ("2024-05-31 10:00:00+02:00", True),
        ("20240531", True),
        ("2024-W22-5", True),
        ("31.05.2024", False),
        ("05/31/2024", False),
        ("31 May 2024", False),
        ("May 31, 2024", False),
        ("1717110000", False),
    ],
)
def test_a_declared_date_is_one_of_iso_8601_or_refused(text, is_date):
    _, passages = typed(books(text), {"year": "date"})
    if is_date:
        assert next(passages).fields["year"] == text
    else:
        with pytest.raises(InputError, match=rf"b\.csv:1: expected an ISO 8601 .* found '{text}'"):
            next(passages)


def test_a_field_that_no_document_has_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="'yaer' in the first 2 documents, found note, year;"):
        typed(books(1, 2), {"yaer": None})
    assert typed(books(1, 2), {"later": "date"})[0] == {"later": "date"}


@pytest.mark.parametrize("text", ["", "year,", "year,year", "year:number", "title", "_id:string"])
def test_faulty_declarations_are_refused(text):
    with pytest.raises(InputError, match="expected"):
        parse_fields(text)


def test_declarations_are_read():
    assert parse_fields("year:integer, language") == {"year": "integer", "language": None}
    check_fields({"seen": "date"})


@pytest.fixture
def built(tmp_path):
    path = tmp_path / "books"
    index_corpus(books(1999, "2001", None, 2003), path, encoder=None, fields={"year": None})
    return path


def test_a_filter_limits_what_is_found(built):
    assert found(built, SINCE_2000) == ["b1", "b3"]
    assert found(built, None) == ["b0", "b1", "b2", "b3"]
    assert Collection.open(built).document(1)["year"] == "2001"
    with pytest.raises(InputError, match=r"expected a declared field \(year\), found 'note'"):
        found(built, {"field": "note", "in": ["x"]})


def test_fields_survive_every_change(built, tmp_path):
    with Editor.open(built) as editor:
        editor.put(books("2010", "1990", first=4), wait="searchable")
        assert found(built, SINCE_2000) == ["b1", "b3", "b4"]
        editor.put([Passage("b1", "a book", fields={"year": 1950})], wait="searchable")
        assert found(built, SINCE_2000) == ["b3", "b4"]
        editor.writer.merge()
        assert found(built, SINCE_2000) == ["b3", "b4"]
        editor.optimize()
        assert found(built, SINCE_2000) == ["b3", "b4"]
        with pytest.raises(InputError, match="expected a whole number"):
            editor.put([Passage("b9", "a book", fields={"year": "soon"})])
        assert editor.delete_where({"field": "year", "range": {"lt": 1960}}) == 1
    write_snapshot(built, tmp_path / "kept")
    restore(tmp_path / "kept", tmp_path / "again")
    assert found(tmp_path / "again", SINCE_2000) == ["b3", "b4"]
    assert found(tmp_path / "again", None) == ["b0", "b2", "b3", "b4", "b5"]


def test_an_optimized_index_is_the_one_built_at_once_to_the_byte(built, tmp_path):
    with Editor.open(built) as editor:
        editor.put(books(2010, first=4))
        editor.optimize()
    years = [1999, "2001", None, 2003, 2010]
    fresh = index_corpus(books(*years), tmp_path / "f", encoder=None, fields={"year": "integer"})
    sums = [
        sorted(entry.xxh3 for entry in collection.index.manifest.files.values())
        for collection in (fresh, Collection.open(built))
    ]
    assert sums[0] == sums[1]


def test_an_index_without_documents_knows_its_fields(tmp_path):
    create_index(tmp_path / "c", encoder=None, fields={"year": "integer"})
    with Editor.open(tmp_path / "c") as editor:
        editor.put(books(1999, 2001), wait="searchable")
    assert found(tmp_path / "c", SINCE_2000) == ["b1"]
    with pytest.raises(InputError, match="expected a type of string, integer, float, bool"):
        create_index(tmp_path / "d", encoder=None, fields={"year": "number"})


def test_a_resumed_build_keeps_the_inferred_types(tmp_path):
    from letter_encoder import LetterEncoder

    class Stops(LetterEncoder):
        def encode_documents(self, texts, *, progress=None):
            raise KeyboardInterrupt

    fields = {"year": None}
    with pytest.raises(KeyboardInterrupt):
        index_corpus(books(1, 2), tmp_path / "c", encoder=Stops(), fields=fields)
    made = index_corpus([], tmp_path / "c", encoder=LetterEncoder(), fields=fields, resume=True)
    assert made.index.columns == {"year": "integer"}
