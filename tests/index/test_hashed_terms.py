"""Terms whose numbers are hashes of 31 bits: room goes with the terms there are."""

import resource
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.index import Collection, Index, SparseVectors, reference
from tamis.index.exchange.ciff import read_ciff, renumbered, write_ciff
from tamis.index.exchange.engines import engine_lines, stored_documents
from tamis.index.exchange.interchange import (
    stored_vectors,
    whole_numbers,
    write_json_vectors,
    write_lines,
)
from tamis.index.exchange.json_vectors import JsonVectors, number_of
from tamis.index.exchange.matrices import read_vectors, write_csr
from tamis.index.segment.measured_terms import MeasuredTerms
from tamis.index.upkeep.inspection import posting_lengths
from tamis.index.upkeep.tuning import tune
from tamis.index.upkeep.verification import examine
from tamis.index.vectors import MAX_TERMS
from tamis.index.writing.creation import create_collection
from tamis.index.writing.writer import CollectionWriter
from tamis.retriever.fusion import sparse_rocchio

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is told in /proc")
MORE_BYTES = 3 << 29  # that the tests may ask for; one byte for each number would take 4 << 29
RNG = np.random.default_rng(22)
HASHES = np.unique([0, 1, MAX_TERMS - 1, *RNG.integers(0, MAX_TERMS, 400)])


@pytest.fixture(autouse=True)
def _room():
    """Memory ends a little above what the process has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MORE_BYTES, hard))
    with pytest.raises(MemoryError):
        np.zeros(MAX_TERMS, np.uint8)
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def hashed(rows, seed, longest=20):
    """Rows of hashes, some more common than others; the last row holds the first and the last."""
    rng = np.random.default_rng(seed)
    drawn = [
        {
            int(HASHES[at]): float(rng.choice([0.5, 1.0, 3.0]))
            for at in rng.integers(0, HASHES.size, rng.integers(0, longest)) ** 2 // HASHES.size
        }
        for _ in range(rows - 1)
    ]
    return SparseVectors.from_dicts([*drawn, {0: 1.0, MAX_TERMS - 1: 2.0}], MAX_TERMS)


DOCUMENTS, QUERIES = hashed(300, 1), hashed(40, 2, longest=8)
IDS = [f"d{number}" for number in range(300)]


def assert_finds(index, documents):
    """As the reference does over these documents; `index` may number them otherwise."""
    expected, found = reference.search(documents, QUERIES, 10), index.search(QUERIES, exact=True)
    np.testing.assert_array_equal(found.scores, expected.scores)
    live = index.live_docs()
    np.testing.assert_array_equal(
        found.docs, np.where(expected.docs < 0, -1, live[np.maximum(expected.docs, 0)])
    )


def test_an_index_of_hashes_answers_as_the_reference(tmp_path):
    index = Index.build(tmp_path / "c", [DOCUMENTS.rows(0, 100), DOCUMENTS.rows(100, 300)], IDS)
    assert_finds(index, DOCUMENTS)
    terms, counts = index.frequencies()
    expected = np.unique(DOCUMENTS.terms, return_counts=True)
    np.testing.assert_array_equal(terms, expected[0])
    np.testing.assert_array_equal(counts, expected[1])
    assert sum(found.terms for found in posting_lengths(tmp_path / "c")) == terms.size
    tune(tmp_path / "c", SparseVectors.concatenate([QUERIES, QUERIES]))
    assert not examine(tmp_path / "c").problems


def test_they_are_written_merged_and_deleted(tmp_path):
    create_collection(tmp_path / "c", vocab_size=MAX_TERMS)
    with CollectionWriter.open(tmp_path / "c", merge=False) as writer:
        for first in range(0, 300, 60):
            records = [{"_id": name} for name in IDS[first : first + 60]]
            writer.put(records, DOCUMENTS.rows(first, first + 60), wait="searchable")
        writer.delete(IDS[:30], wait="searchable")
        left = DOCUMENTS.rows(30, 300)
        assert_finds(writer.index, left)
        writer.optimize()
        assert_finds(writer.index, left)
    with Collection.open(tmp_path / "c") as collection:
        assert [len(part.live_docs) for part in collection.index.parts] == [270]
        assert_finds(collection.index, left)


def test_they_leave_and_come_back(tmp_path):
    index = Index.build(tmp_path / "c", DOCUMENTS, IDS)
    rows = DOCUMENTS.to_dicts()
    write_json_vectors(tmp_path / "anserini.jsonl", stored_vectors(index))
    for engine in ("seismic", "opensearch", "qdrant"):
        lines = engine_lines(stored_documents(index), engine)
        write_lines(tmp_path / f"{engine}.jsonl", lines)
    for file in tmp_path.glob("*.jsonl"):
        found = JsonVectors.survey(file)
        assert found.vocab_size == MAX_TERMS
        assert [row for batch in found.batches() for row in batch.to_dicts()] == rows, file
    for name in ("v.npz", "v.safetensors"):
        write_csr(tmp_path / name, DOCUMENTS, IDS)
        assert read_vectors(tmp_path / name).to_dicts() == rows
    whole = whole_numbers(DOCUMENTS, 2)
    write_ciff(tmp_path / "v.ciff", whole, IDS)
    assert (
        renumbered(read_ciff(tmp_path / "v.ciff"), None, number_of).to_dicts() == whole.to_dicts()
    )


def test_feedback_adds_hashes():
    found = sparse_rocchio(QUERIES.rows(39, 40), DOCUMENTS.rows(0, 50), terms=5)
    assert found.nnz == 7
    assert found.vocab_size == MAX_TERMS


@settings(deadline=None)
@given(
    st.lists(
        st.lists(
            st.dictionaries(
                st.sampled_from([0, 1, 7, 2**15, 2**16, 2**30, MAX_TERMS - 1])
                | st.integers(0, MAX_TERMS - 1),
                st.sampled_from([0.5, 1.0, 2.0]),
                max_size=8,
            ),
            max_size=6,
        ),
        max_size=5,
    )
)
def test_terms_are_counted_as_a_dictionary_counts(batches):
    measured, counts, largest = MeasuredTerms(), dict[int, int](), dict[int, float]()
    for rows in batches:
        measured.take(SparseVectors.from_dicts(rows, MAX_TERMS))
        for term, weight in [pair for row in rows for pair in row.items()]:
            counts[term] = counts.get(term, 0) + 1
            largest[term] = max(largest.get(term, 0), weight)
    found = [part.tolist() for part in measured.rising()]
    assert found[0] == sorted(counts)
    assert dict(zip(found[0], found[1], strict=True)) == counts
    assert dict(zip(found[0], found[2], strict=True)) == largest


def test_room_for_terms_grows_with_them():
    measured, numbers = MeasuredTerms(), np.arange(5000, dtype=np.int32) * 429_000
    for first in range(0, 5000, 500):
        row = numbers[first : first + 500]
        ones = np.ones(500, np.float32)
        measured.take(SparseVectors(np.array([0, 500]), row, ones, MAX_TERMS))
    terms, counts, _ = measured.rising()
    np.testing.assert_array_equal(terms, numbers)
    assert (counts == 1).all()
