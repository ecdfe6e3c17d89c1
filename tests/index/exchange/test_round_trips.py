"""What leaves an index in any format comes back as it was, whatever ids and terms it has."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tamis.index import SparseVectors
from tamis.index.exchange.ciff import read_ciff, renumbered, write_ciff
from tamis.index.exchange.engines import engine_lines
from tamis.index.exchange.interchange import write_json_vectors, write_lines
from tamis.index.exchange.json_vectors import JsonVectors, number_of
from tamis.index.exchange.matrices import read_ids, read_vectors, write_csr
from tamis.index.vectors import MAX_TERMS

ids = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=9)
terms = st.integers(0, 9) | st.integers(0, MAX_TERMS - 1)
whole = st.integers(1, 2**24).map(float)  # what float32 and CIFF hold alike
real = st.floats(0, 2.0**100, width=32, exclude_min=True)


def documents(weights):
    row = st.dictionaries(terms, weights, max_size=5)
    return st.dictionaries(ids, row, min_size=1, max_size=5)


def read_json(path):
    found = JsonVectors.survey(path)
    rows = [row for batch in found.batches() for row in batch.to_dicts()]
    return dict(zip([one.doc_id for one in found.documents()], rows, strict=True))


@pytest.mark.long
@settings(max_examples=30, deadline=None, derandomize=True)
@given(documents(real))
@example({"\ufeffbegins with a byte order mark": {0: 1.0}, "\ufeff": {}})
@example({"a\x85line\u2028break": {0: 2.0**-149}, " blanks ": {MAX_TERMS - 1: 2.0}})
def test_weights_come_back_to_the_last_bit(given):
    names, vectors = list(given), SparseVectors.from_dicts(given.values(), MAX_TERMS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write_json_vectors(path / "anserini.jsonl.gz", [(names, vectors)])
        for engine in ("seismic", "opensearch", "qdrant"):
            batch = names, vectors, [{"title": "t", "year": 7}] * len(names)
            write_lines(path / f"{engine}.jsonl", engine_lines([batch], engine))
        for file in path.glob("*.jsonl*"):
            assert read_json(file) == given, file.name
        for name in ("v.npz", "w.safetensors"):
            write_csr(path / name, vectors, names)
            assert read_ids(path / name) == names
            assert read_vectors(path / name).to_dicts() == list(given.values())


@pytest.mark.long
@settings(max_examples=20, deadline=None, derandomize=True)
@given(documents(whole))
@example({"\ufeff": {}})
def test_inverted_lists_come_back(given):
    vectors = SparseVectors.from_dicts(given.values(), MAX_TERMS)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("v.ciff", "v.ciff.gz"):
            write_ciff(Path(folder) / name, vectors, list(given))
            found = read_ciff(Path(folder) / name)
            assert found.ids == list(given)
            rows = renumbered(found, MAX_TERMS, number_of).to_dicts()
            assert rows == list(given.values())
