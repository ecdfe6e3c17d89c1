"""Commands that change an index, keep it elsewhere, or bring it to another format."""

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from tamis.index import Collection
from tamis.index.files.storage import Storage
from tamis.index.generations.manifest import publish, read_current

GOLDEN = Path(__file__).parent.parent / "index/golden/format-1.zip"


def document(result, code=0):
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def built(tamis, tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(
        "".join(json.dumps({"_id": f"d{i}", "text": f"owl number {i}"}) + "\n" for i in range(9))
    )
    document(tamis("index", corpus, "--out", tmp_path / "c", "--encoder", "bm25", "--json"))
    return tmp_path / "c"


def lines(tmp_path, *documents):
    path = tmp_path / "more.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in documents))
    return path


def ids(tamis, folder, text):
    found = document(tamis("search", folder, text, "--json"))
    return [hit["id"] for hit in found["hits"]]


def test_added_documents_are_found_and_replaced_ones_are_not(tamis, built, tmp_path):
    more = lines(tmp_path, {"_id": "new", "text": "a heron"}, {"_id": "d3", "text": "two herons"})
    found = document(tamis("add", built, more, "--json"))
    assert found["written"] == 2
    assert found["documents"] == 10
    assert set(ids(tamis, built, "heron")) == {"new", "d3"}
    assert "d3" not in ids(tamis, built, "owl number")


def test_changed_fields_are_filtered_by(tamis, built, tmp_path):
    changes = lines(tmp_path, {"_id": "d1", "price": 2}, {"_id": "gone", "price": 1})
    found = document(
        tamis("patch", built, changes, "--fields", "price:float,tags:string[]", "--json")
    )
    assert (found["changed"], found["missing_ids"]) == (1, ["gone"])
    cheap = '{"field": "price", "exists": true}'
    answer = document(tamis("search", built, "--filter", cheap, "--facet", "price", "--json"))
    assert [hit["id"] for hit in answer["hits"]] == ["d1"]
    assert answer["facets"] == {"price": [{"value": 2.0, "count": 1}]}
    said = tamis(
        "search", built, "owl", "--count", "words", "--sort", "price:desc", "-k", "2"
    ).stdout
    assert "2 hits of 9 matches (by words)" in said
    assert "price 2" not in tamis("search", built, "owl", "--facet", "tags").stdout
    assert (
        "price: ..10 1"
        in tamis(
            "search", built, "owl", "--facet", '{"field": "price", "ranges": [[null, 10]]}'
        ).stdout
    )
    none = '{"field": "price", "range": {"gt": 2}}'
    assert "no document passes the filter" in tamis("search", built, "--filter", none).stdout
    assert tamis("patch", built).exit_code == 2
    assert "write price:float" in tamis("patch", built, "--fields", "price").output
    faulty = lines(tmp_path, {"price": 2})
    assert "more.jsonl:1: expected an object with an _id" in tamis("patch", built, faulty).output


def test_deleted_documents_are_not_found(tamis, built):
    found = document(tamis("delete", built, "d1", "d2", "missing", "--json"))
    assert (found["deleted"], found["documents"]) == (2, 7)
    assert not {"d1", "d2"} & set(ids(tamis, built, "owl number 1 2"))
    assert "1 of 1 ids deleted" in tamis("delete", built, "-", stdin="d4\r\n\n").stdout


def test_info_counts_the_words_of_now(tamis, built, tmp_path):
    def words():
        return document(tamis("info", built, "--json"))["lexical"]["words"]

    before = words()
    document(tamis("add", built, lines(tmp_path, {"_id": "x", "text": "owl and heron"}), "--json"))
    assert words() == before + 1
    document(tamis("delete", built, "x", "--json"))
    document(tamis("optimize", built, "--json"))
    assert words() == before


def test_optimize_leaves_one_segment(tamis, built, tmp_path):
    text = " ".join(f"heron{number}" for number in range(150_000))  # too large to be gathered
    document(tamis("add", built, lines(tmp_path, {"_id": "y", "text": text}), "--json"))
    document(tamis("add", built, lines(tmp_path, {"_id": "x", "text": "a heron"}), "--json"))
    assert document(tamis("info", built, "--json"))["segments"] == 2
    document(tamis("delete", built, "y", "--json"))
    found = document(tamis("optimize", built, "--json"))
    assert (found["segments"], found["documents"]) == (1, 10)
    assert ids(tamis, built, "heron") == ["x"]


def test_a_snapshot_is_restored_elsewhere(tamis, built, tmp_path):
    kept = document(tamis("snapshot", built, "--out", tmp_path / "kept", "--json"))
    document(tamis("delete", built, "d1", "--json"))
    again = document(tamis("restore", tmp_path / "kept", "--out", tmp_path / "again", "--json"))
    assert again["identity"] == kept["identity"]
    assert "d1" in ids(tamis, tmp_path / "again", "owl number 1")
    assert tamis("restore", built, "--out", tmp_path / "no").exit_code == 2


def test_upgrade_brings_the_golden_index_of_format_1_here(tamis, tmp_path):
    with zipfile.ZipFile(GOLDEN) as golden:
        golden.extractall(tmp_path / "old")
    refused = tamis("info", tmp_path / "old")
    assert refused.exit_code == 2
    assert "bring it to this format with `tamis upgrade DIR`" in refused.stderr
    upgraded = document(tamis("upgrade", tmp_path / "old", "--json"))
    assert (upgraded["from"], upgraded["to"], upgraded["analysed"]) == (1, 3, True)
    with Collection.open(tmp_path / "old") as collection:
        assert len(collection) == 30
        assert collection.document(4)["text"] == "passage 4 about cats"
    assert document(tamis("info", tmp_path / "old", "--json"))["format"] == 3
    assert tamis("upgrade", tmp_path / "old").stdout.endswith("has format 3 already\n")
    assert document(tamis("verify", tmp_path / "old", "--json"))["ok"]


def test_upgrade_encodes_again_into_another_index(tamis, built, tmp_path):
    arguments = ("--encoder", "default", "--out", tmp_path / "new")
    first = document(tamis("upgrade", built, *arguments, "--json"))
    assert (first["encoded"], first["kept"], first["removed"]) == (9, 0, 0)
    again = tamis("upgrade", built, *arguments)
    assert again.stdout.endswith("new: 0 documents encoded, 9 kept, 0 removed\n")
    refused = tamis("upgrade", built, "--encoder", "default")
    assert (refused.exit_code, "--encoder and --out together" in refused.stderr) == (2, True)


def test_an_index_without_a_stemmer_s_version_opens_with_a_warning(tamis, tmp_path):
    with zipfile.ZipFile(GOLDEN.with_name("format-2.zip")) as golden:
        golden.extractall(tmp_path / "old")
    storage = Storage(tmp_path / "old")
    manifest = read_current(storage)
    words = structs.replace(manifest.settings.lexical, stemmer=None)
    settings = structs.replace(manifest.settings, lexical=words, encoder=None)
    publish(storage, replace(manifest, generation=3, settings=settings, vocab_size=65))
    new = tmp_path / "new.jsonl"
    new.write_text('{"_id": "new", "text": "cat"}\n')

    refused = tamis("add", tmp_path / "old", new)
    assert refused.exit_code == 2
    told = refused.stderr.splitlines()
    assert [line for line in told if "analysed again with `tamis upgrade DIR`" in line] == told
    assert document(tamis("upgrade", tmp_path / "old", "--json"))["analysed"]
    done = tamis("add", tmp_path / "old", new, "--json")
    assert (done.exit_code, done.stderr) == (0, "")


def test_an_estimate_is_near_what_indexing_takes(tamis, tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(
        "".join(
            json.dumps({"_id": f"d{i}", "text": " ".join(f"w{i * j % 971}" for j in range(30))})
            + "\n"
            for i in range(3000)
        )
    )
    arguments = ["--encoder", "bm25", "--json"]
    found = document(tamis("estimate", corpus, "--sample", 300, *arguments))
    real = document(tamis("index", corpus, "--out", tmp_path / "c", *arguments))
    assert found["documents"] == real["documents"] == 3000
    assert found["sampled"] == 300
    assert found["disk_bytes"] == pytest.approx(real["size_bytes"], rel=0.25)


def test_verify_repairs_what_it_can(tamis, built):
    (built / "CURRENT").write_text("nonsense\n")
    found = document(tamis("verify", built, "--json"), code=2)
    assert "run `tamis verify DIR --repair`" in found["problems"][0]["repair"]
    assert document(tamis("verify", built, "--repair", "--json"))["ok"]
    shutil.rmtree(built / "segments")
    assert document(tamis("verify", built, "--json"), code=2)["problems"]


@pytest.fixture
def library(tamis, tmp_path):
    corpus = tmp_path / "books.csv"
    rows = [f"b{i},a book,{1990 + i},{'en' if i % 2 else 'fr'}" for i in range(8)]
    corpus.write_text("\n".join(["id,text,year,language", *rows, ""]))
    options = ["--fields", "year,language", "--encoder", "bm25"]
    built = tamis("index", corpus, "--out", tmp_path / "library", *options)
    assert built.stdout.splitlines()[1:] == ["field year: integer", "field language: string"]
    return tmp_path / "library"


def test_a_search_is_filtered_by_declared_fields(tamis, library):
    where = {"must": [{"field": "year", "range": {"gte": 1995}}]}
    where["must_not"] = [{"field": "language", "in": ["fr"]}]
    found = document(tamis("search", library, "book", "--filter", json.dumps(where), "--json"))
    assert {hit["id"] for hit in found["hits"]} == {"b5", "b7"}
    assert document(tamis("info", library, "--json"))["fields"] == {
        "year": "integer",
        "language": "string",
    }


def test_documents_are_deleted_by_a_filter(tamis, library):
    where = '{"field": "language", "in": ["fr"]}'
    shown = tamis("delete", library, "--filter", where).stdout
    assert ": 4 documents deleted, 4 documents left" in shown
    assert set(ids(tamis, library, "book")) == {"b1", "b3", "b5", "b7"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--filter", "year > 3"], "expected JSON after --filter"),
        (["--filter", "[]"], "expected a JSON object after --filter"),
        (["--filter", '{"in": [1], "in": [2]}'], "'in' twice"),
        (["--filter", '{"field": "yaer", "in": [1]}'], "declared field (year, language)"),
        ([], "give ids or --filter JSON"),
        (["b1", "--filter", "{}"], "give ids or --filter JSON"),
    ],
)
def test_a_faulty_deletion_says_why(tamis, library, arguments, words):
    refused = tamis("delete", library, *arguments)
    assert refused.exit_code == 2
    assert words in refused.stderr


def test_everything_is_deleted_by_saying_so_alone(tamis, library):
    for nothing in ({"must": []}, {"must_not": [{"must": []}]}, {}):
        refused = tamis("delete", library, "--filter", json.dumps(nothing))
        assert refused.exit_code == 2
        assert "expected a filter" in refused.stderr
    assert tamis("delete", library, "b1", "--all").exit_code == 2
    assert ": 8 documents deleted, 0 documents left" in tamis("delete", library, "--all").stdout
    assert tamis("verify", library).exit_code == 0


def test_long_documents_are_divided_grouped_and_deleted_whole(tamis, tmp_path):
    corpus = lines(
        tmp_path,
        {"_id": "long", "title": "Birds", "text": "An owl hunts. " * 9 + "A heron fishes. " * 9},
        {"_id": "short", "text": "An owl and a heron."},
    )
    arguments = [corpus, "--encoder", "bm25", "--chunk", "12:3"]
    estimated = document(tamis("estimate", *arguments, "--json"))
    built = document(tamis("index", *arguments, "--out", tmp_path / "i", "--json"))
    assert built["documents"] == estimated["documents"] > 4
    assert built["chunk"] == {"tokens": 12, "overlap": 3}
    found = tamis("search", tmp_path / "i", "owl heron", "--group-by", "parent", "--json")
    hits = document(found)["hits"]
    assert [hit["group"] for hit in hits] == ["short", "long"]
    assert len(hits[1]["passages"]) == 3
    assert hits[1]["passages"][0]["id"] == hits[1]["id"]
    shown = tamis("search", tmp_path / "i", "owl heron", "--group-by", "parent").stdout
    assert all(passage["id"] in shown for passage in hits[1]["passages"])
    assert document(tamis("delete", tmp_path / "i", "long", "--json"))["documents"] == 1
    assert tamis("index", *arguments[:-1], "12:7", "--out", tmp_path / "j").exit_code == 2


def test_fields_are_searched_with_weights(tamis, tmp_path):
    rows = [
        {"_id": "a", "title": "red lamp", "about": "for desks", "brand": "acme"},
        {"_id": "b", "title": "shade", "about": "for an acme lamp", "brand": ["lux", "best"]},
    ]
    corpus, folder = lines(tmp_path, *rows), tmp_path / "fields"
    fields = ["--text-field", "title:3,about,brand"]
    command = ["index", corpus, "--out", folder, "--encoder", "bm25"]
    assert tamis(*command, *fields, "--check").exit_code == 0
    document(tamis(*command, *fields, "--json"))
    assert ids(tamis, folder, "brand:acme") == ["a"]
    assert ids(tamis, folder, "acme") != []
    found = document(tamis("search", folder, "acme", "--text-boosts", "brand:9", "--json"))
    assert found["hits"][0]["id"] == "a"
    more = lines(tmp_path, {"_id": "c", "brand": "acme"})
    assert document(tamis("add", folder, more, "--json"))["written"] == 1
    assert set(ids(tamis, folder, "brand:acme")) == {"a", "c"}
    assert "brand 0." in tamis("search", folder, "brand:lux", "--explain").output
    assert tamis("add", folder, more, *fields).exit_code == 2
    assert tamis(*command[:3], tmp_path / "x", *command[4:], "--text-field", "a,a").exit_code == 2
