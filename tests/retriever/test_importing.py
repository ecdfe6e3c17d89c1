"""Imported vectors: stored with what stood beside them, and searched as any collection."""

import json

import numpy as np
import pytest
import scipy.sparse

from tamis.index import Index, InputError, MismatchError, SparseVectors
from tamis.index.exchange import json_vectors
from tamis.index.exchange.json_vectors import JsonVectors
from tamis.index.exchange.matrices import write_csr
from tamis.retriever import Editor, Passage, Searcher, index_corpus
from tamis.retriever.builds.importing import import_vectors
from tamis.retriever.models.lazy_encoder import LazyEncoder

BATCH, ROWS = 13, 61


def vectors(rows=ROWS, vocab_size=97, seed=5):
    rng = np.random.default_rng(seed)
    terms = [rng.choice(vocab_size, 7, False).tolist() for _ in range(rows)]
    return [dict.fromkeys(row, float(n + 1)) for n, row in enumerate(terms)]


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """A file of documents, read in batches of 13."""
    monkeypatch.setattr(json_vectors, "_ROWS", BATCH)
    path = tmp_path / "v.jsonl"
    rows = (
        {"id": n, "contents": f"text {n}", "year": 1990 + n, "vector": row}
        for n, row in enumerate(vectors())
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class StoppedError(Exception):
    """The power of this test."""


def stops_at(monkeypatch, row, asked=None):
    """Have the reading of vectors fail at a row, if any; ``asked`` hears where it began."""
    batches = JsonVectors.batches

    def stopping(self, first=0):
        if asked is not None:
            asked.append(first)
        done = first
        for batch in batches(self, first):
            if row is not None and done >= row:
                raise StoppedError
            yield batch
            done += len(batch)

    monkeypatch.setattr(JsonVectors, "batches", stopping)


def contents(path):
    return {file.name: file.read_bytes() for file in (path / "segments/000001").iterdir()}


@pytest.mark.parametrize("stop", [0, 1, 2 * BATCH, 50])
def test_an_import_goes_on_where_it_stopped(tmp_path, lines, monkeypatch, stop):
    asked = []
    with monkeypatch.context() as patched:
        stops_at(patched, stop)
        with pytest.raises(StoppedError):
            import_vectors(lines, tmp_path / "stopped")
    with monkeypatch.context() as patched:
        stops_at(patched, None, asked)
        import_vectors(lines, tmp_path / "stopped", resume=True)
    import_vectors(lines, tmp_path / "whole")
    assert asked == [-(-stop // BATCH) * BATCH]
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    assert not (tmp_path / "stopped/build").exists()


def test_an_unfinished_import_is_neither_mixed_nor_overwritten_unasked(
    tmp_path, lines, monkeypatch
):
    with monkeypatch.context() as patched:
        stops_at(patched, BATCH)
        with pytest.raises(StoppedError):
            import_vectors(lines, tmp_path / "c")
    with pytest.raises(InputError, match="found an unfinished build; go on with --resume"):
        import_vectors(lines, tmp_path / "c")
    with pytest.raises(MismatchError, match="vocab_size 500 where it was 97"):
        import_vectors(lines, tmp_path / "c", vocab_size=500, resume=True)
    assert len(import_vectors(lines, tmp_path / "c", resume=True)) == ROWS
    with pytest.raises(InputError, match="expected no index there yet"):
        import_vectors(lines, tmp_path / "c", resume=True)


def test_a_faulty_line_leaves_nothing_behind(tmp_path, lines):
    for faulty, words in (
        ('{"id": "x", "vector": {"1": -1}}', r"v\.jsonl:62: expected a finite number"),
        ('{"id": "x", "title": 5, "vector": {}}', r"v\.jsonl:62: expected a string as title"),
        ('{"id": 7, "vector": {}}', "expected each id once, found '7' for records 8 and 62"),
    ):
        with pytest.raises(InputError, match=words):
            import_vectors(appended(lines, faulty), tmp_path / "c")
        assert not (tmp_path / "c").exists()


def appended(lines, line):
    path = lines.with_name("more") / lines.name
    path.parent.mkdir(exist_ok=True)
    path.write_text(lines.read_text() + line + "\n")
    return path


def test_terms_that_no_document_holds_are_told_whatever_their_numbers(tmp_path, lines):
    import_vectors(lines, tmp_path / "c", vocab_size=2**31 - 1)
    held = {str(term) for row in vectors() for term in row}
    asked = ["3", "96", "97", "150", "2147483646"]
    (result,) = Searcher.open(tmp_path / "c").search([dict.fromkeys(asked, 1.0)], 3)
    assert result.unknown_terms == tuple(term for term in asked if term not in held)
    assert result.unknown_terms[-3:] == ("97", "150", "2147483646")


def test_documents_are_found_by_weights_and_filters_and_shown_whole(tmp_path, lines):
    made = import_vectors(lines, tmp_path / "c", fields={"year": None})
    assert made.index.columns == {"year": "integer"}
    searcher, rows = Searcher.open(tmp_path / "c"), vectors()
    query = {"3": 2.0, "50": 1.0, "96": 0.5, "97": 1.0, "03": 1.0, "=owl": 1.0}
    where = {"field": "year", "range": {"gte": 2000}}
    (result,) = searcher.search([query], 5, exact=True, filter=where, explain=True)
    truth = {
        n: sum(row.get(term, 0) * weight for term, weight in ((3, 2.0), (50, 1.0), (96, 0.5)))
        for n, row in enumerate(rows)
        if n >= 10
    }
    best = sorted(truth, key=lambda n: (-truth[n], n))[:5]
    assert [(hit.doc_id, hit.score) for hit in result.hits] == [(str(n), truth[n]) for n in best]
    assert result.unknown_terms == ("97", "03", "=owl")
    first = result.hits[0]
    assert dict(first.document) == {
        "_id": str(best[0]), "title": "", "text": f"text {best[0]}", "year": 1990 + best[0],
    }  # fmt: skip
    assert {term.term for term in first.matched_terms} <= {"3", "50", "96"}
    with pytest.raises(InputError, match="found a text: the index holds imported vectors"):
        searcher.search(["owl"])


def test_imported_vectors_change_as_any_collection(tmp_path, lines):
    import_vectors(lines, tmp_path / "c", fields={"year": "integer"})
    with Editor.open(tmp_path / "c") as editor:
        editor.put_weighted([Passage("7", "new", fields={"year": 1})], [{"3": 9.0}])
        assert editor.delete(["8", "none"]) == 1
        for name in ("97", "03", "=owl", "owl"):
            with pytest.raises(InputError, match="as numbers below 97"):
                editor.put_weighted([Passage("x", "")], [{name: 1.0}])
        with pytest.raises(InputError, match="expected documents with a vector, found a text"):
            editor.put([Passage("x", "owl")])
        editor.optimize()
    searcher = Searcher.open(tmp_path / "c")
    assert len(searcher.collection) == ROWS - 1
    (result,) = searcher.search([{"3": 1.0}], 99, filter={"field": "year", "range": {"lt": 1991}})
    assert "7" in [hit.doc_id for hit in result.hits]


TEXTS = ["the owl hunts at night", "a drum sieve for flour", "bats at night in 2003", ""]


@pytest.mark.long
def test_with_the_encoder_of_the_vectors_texts_are_searched_as_in_its_own_index(tmp_path):
    encoder = LazyEncoder.of("default")
    given = encoder.encode_documents(TEXTS)
    with (tmp_path / "v.jsonl").open("w") as file:
        for n, row in enumerate(given.to_dicts()):
            named = {encoder.vocabulary.name(term): weight for term, weight in row.items()}
            file.write(json.dumps({"id": f"d{n}", "vector": named}) + "\n")
    import_vectors(tmp_path / "v.jsonl", tmp_path / "c", encoder=encoder)
    write_csr(tmp_path / "v.npz", given, [f"d{n}" for n in range(4)])
    import_vectors(tmp_path / "v.npz", tmp_path / "m", encoder=encoder)
    passages = [Passage(f"d{n}", text) for n, text in enumerate(TEXTS)]
    index_corpus(passages, tmp_path / "own", encoder=encoder, lexical=None)
    queries = ["owls at night", "2003", "flour and sieves"]
    own, *imported = (Searcher.open(tmp_path / name) for name in ("own", "c", "m"))
    truth = [[(hit.doc_id, hit.score) for hit in one.hits] for one in own.search(queries)]
    assert all(truth)
    for searcher in imported:
        found = [[(hit.doc_id, hit.score) for hit in one.hits] for one in searcher.search(queries)]
        assert found == truth
    with Editor.open(tmp_path / "c") as editor:
        editor.put([Passage("more", "an owl")], wait="searchable")
    (result,) = Searcher.open(tmp_path / "c").search(["owl"])
    assert {hit.doc_id for hit in result.hits} == {"d0", "more"}


@pytest.mark.parametrize("name", ["v.npz", "v.safetensors"])
def test_matrices_have_ids_or_numbers_and_fit_their_vocabulary(tmp_path, name):
    given = SparseVectors.from_dicts(vectors(4), 97)
    write_csr(tmp_path / name, given, ["a", "b", "c", "d"])
    made = import_vectors(tmp_path / name, tmp_path / "c", vocab_size=1000)
    assert [made.doc_id(doc) for doc in range(4)] == ["a", "b", "c", "d"]
    assert made.index.vocab_size == 1000
    with pytest.raises(InputError, match=r"expected vectors over at most 96 terms, found 97"):
        import_vectors(tmp_path / name, tmp_path / "d", vocab_size=96)
    (tmp_path / "v.ids.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match="expected one id a vector, found 2 ids and 4 vectors"):
        import_vectors(tmp_path / name, tmp_path / "d")
    (tmp_path / "v.ids.txt").unlink()
    made = import_vectors(tmp_path / name, tmp_path / "d")
    assert [made.doc_id(doc) for doc in range(4)] == ["0", "1", "2", "3"]
    assert made.document(2) == {"_id": "2", "title": "", "text": ""}


@pytest.mark.parametrize("name", ["v.npz", "v.jsonl"])
def test_no_documents_are_an_index_too(tmp_path, name):
    if name == "v.npz":
        scipy.sparse.save_npz(tmp_path / name, scipy.sparse.csr_array((0, 5)))
    else:
        (tmp_path / name).write_text("\n")
    made = import_vectors(tmp_path / name, tmp_path / "c")
    assert len(made) == 0
    (result,) = Searcher.open(tmp_path / "c").search([{"0": 1.0}])
    assert result.hits == ()


def test_an_index_of_vectors_alone_is_a_collection_of_ids_and_fields(tmp_path):
    from tamis.index.segment.columns import Column

    columns = [Column.of("year", "integer", [1999, None, 2003])]
    rows = SparseVectors.from_dicts([{0: 1.0}, {0: 2.0, 4: 1.0}, {4: 3.0}], 5)
    Index.build(tmp_path / "i", rows, ["a", "b", "c"], columns=columns)
    stored = {"a": {"_id": "a", "year": 1999}, "b": {"_id": "b"}, "c": {"_id": "c", "year": 2003}}
    for change in (None, "put", "optimize"):
        if change is not None:
            with Editor.open(tmp_path / "i") as editor:
                if change == "put":
                    editor.put_weighted([Passage("c", "new", fields={"year": 5})], [{"4": 0.5}])
                    stored["c"] = {"_id": "c", "title": "", "text": "new", "year": 5}
                else:
                    editor.optimize()
        searcher = Searcher.open(tmp_path / "i")
        (result,) = searcher.search([{"0": 1.0, "4": 1.0}], exact=True)
        assert {hit.doc_id: dict(hit.document) for hit in result.hits} == stored
        (result,) = searcher.search([{"0": 1.0}], filter={"field": "year", "in": [1999]})
        assert [hit.doc_id for hit in result.hits] == ["a"]
