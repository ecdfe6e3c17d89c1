"""Search by blocks against the exhaustive reference, and blocks against what they stand for."""

from dataclasses import replace

import numpy as np
import pytest
from vectors_of import random_vectors

from tamis.index import (
    CollectionWriter,
    CorruptionError,
    Index,
    IndexConfig,
    SparseVectors,
    reference,
)
from tamis.index.files import system
from tamis.index.files.storage import Storage
from tamis.index.generations.manifest import parts_of, read_current
from tamis.index.generations.parts import best_of
from tamis.index.generations.settings import CollectionSettings
from tamis.index.segment import blocks
from tamis.index.segment.blocks import order_documents
from tamis.index.segment.calibration import Calibration, Row, calibrate
from tamis.index.segment.loops.arrays import BLOCK, IMAGE_MAX, Knobs
from tamis.index.segment.segment import EXACT
from tamis.index.upkeep.upgrade import upgrade
from tamis.index.writing.creation import create_collection

BY_BLOCKS = Knobs(0.0, 1.0, blocks=True)
TERMS = 97


@pytest.fixture(autouse=True)
def _every_segment_has_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "FROM_DOCUMENTS", 1)


def built(path, documents, precision="f32", weights="float"):
    corpus = random_vectors(documents, TERMS, seed=documents, weights=weights)
    return corpus, Index.build(path / "index", corpus, config=IndexConfig(precision))


def queries_of(count=29, longest=40, weights="float"):
    return random_vectors(count, TERMS, seed=5, longest=longest, weights=weights)


def stored_vectors(index):
    found = index.parts[0].rows(np.arange(len(index)), index.vocab_size)
    return SparseVectors(found.offsets, found.terms, found.weights, index.vocab_size)


@pytest.mark.parametrize("documents", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 1511])
@pytest.mark.parametrize("weights", ["float", "ties"])
def test_exact_search_by_blocks_equals_the_reference(tmp_path, documents, weights):
    corpus, index = built(tmp_path, documents, weights=weights)
    queries = queries_of(weights=weights)
    for k in (1, 10, documents + 3):
        found, _ = index.parts[0].search(queries, k, BY_BLOCKS, 1, None)
        expected = reference.search(corpus, queries, k)
        assert np.array_equal(found.docs, expected.docs)
        assert np.array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("precision", ["u8", "u16", "f16"])
def test_exact_search_by_blocks_is_exact_over_rounded_weights(tmp_path, precision):
    _, index = built(tmp_path, 411, precision)
    found, _ = index.parts[0].search(queries_of(), 10, BY_BLOCKS, 2, None)
    expected = reference.search(stored_vectors(index), queries_of(), 10)
    assert np.array_equal(found.docs, expected.docs)
    assert np.array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9])
@pytest.mark.parametrize("knobs", [BY_BLOCKS, Knobs(0.5, 0.9, blocks=True)])
def test_only_allowed_documents_are_found_and_k_of_them(tmp_path, share, knobs):
    corpus, index = built(tmp_path, 1511, weights="ties")
    allowed = np.random.default_rng(3).random(1511) < share
    queries = queries_of(weights="ties")
    found, _ = index.parts[0].search(queries, 10, knobs, 1, allowed)
    kept = np.flatnonzero(allowed)
    expected = reference.search(corpus.take(kept), queries, 10)
    assert np.array_equal(found.docs >= 0, expected.docs >= 0)
    assert allowed[found.docs[found.docs >= 0]].all()
    if knobs is BY_BLOCKS:
        assert np.array_equal(found.scores, expected.scores)
        there = expected.docs >= 0
        assert np.array_equal(found.docs[there], kept[expected.docs[there]])


def test_every_score_is_the_documents_own_whatever_the_knobs(tmp_path):
    corpus, index = built(tmp_path, 1511)
    queries = queries_of(longest=9)
    found, _ = index.parts[0].search(queries, 10, Knobs(0.3, 0.8, blocks=True), 1, None)
    whole = reference.search(corpus, queries, 1511)
    for row in range(len(queries)):
        scores = dict(zip(whole.docs[row].tolist(), whole.scores[row].tolist(), strict=True))
        docs = [doc for doc in found.docs[row].tolist() if doc >= 0]
        assert [scores[doc] for doc in docs] == found.scores[row][: len(docs)].tolist()


def test_queries_with_and_without_blocks_are_answered_in_one_batch(tmp_path):
    corpus, index = built(tmp_path, 700)
    queries = queries_of(50)
    mixed = Knobs(0.0, 1.0, blocks=np.arange(50) % 7 < 3)
    found, _ = index.parts[0].search(queries, 10, mixed, 2, None)
    assert np.array_equal(found.docs, reference.search(corpus, queries, 10).docs)


@pytest.mark.parametrize("vocab_size", [TERMS, 70_001])
def test_summaries_hold_the_largest_image_of_each_term(tmp_path, vocab_size):
    """A naive reading of the blocks and of the lists of their summaries."""
    corpus = random_vectors(203, TERMS, seed=4)
    far = SparseVectors(corpus.offsets, corpus.terms, corpus.weights, TERMS)
    terms = np.where(corpus.terms < 50, corpus.terms, corpus.terms + vocab_size - TERMS)
    far = SparseVectors(corpus.offsets, terms.astype(np.int32), corpus.weights, vocab_size)
    index = Index.build(tmp_path / "far", far)
    segment = index.parts[0].stored.segment
    found, steps = segment._blocks, segment._lists.steps
    order = found.members
    assert np.array_equal(np.sort(order), np.arange(203))
    for block in range(-(-203 // BLOCK)):
        rows = [segment.row(int(doc)) for doc in order[block * BLOCK : (block + 1) * BLOCK]]
        images = {}
        for held, weights in rows:
            of_row = np.clip(np.ceil(weights / steps[held].astype(float)), 1, IMAGE_MAX)
            for term, image in zip(held.tolist(), of_row.tolist(), strict=True):
                images[term] = max(images.get(term, 0), image)
        assert {t: i for t, i in summary_of(found.lists, block, steps.size).items() if i} == images


def summary_of(lists, block, terms):
    """The images of one block in the lists, read one by one."""
    found = {}
    for term in range(terms):
        row = lists.rows[term]
        if row >= 0:
            start, stop = lists.bases[0] + lists.slices[0, row : row + 2]
            postings = lists.postings[start:stop]
            found[term] = postings["image"][postings["place"] == block].sum()
        else:
            start, stop = lists.rare_starts[term : term + 2]
            postings = lists.rare_postings[start:stop]
            found[term] = postings["image"][postings["doc"] == block].sum()
    return found


def test_documents_of_one_topic_come_together(tmp_path, monkeypatch):
    """Two topics of half the blocks each, in turns: no block but one holds both."""
    rng = np.random.default_rng(0)
    rows = [
        {int(term) + 40 * (doc % 2): 1.0 for term in rng.choice(40, 12, replace=False)}
        for doc in range(30 * BLOCK)
    ]
    index = Index.build(tmp_path / "index", SparseVectors.from_dicts(rows, 80))
    segment = index.parts[0].stored.segment
    topics = segment._blocks.members.reshape(-1, BLOCK) % 2
    assert (topics == topics[:, :1]).all()
    for cores in (1, 3):
        monkeypatch.setattr(system, "usable_cores", lambda cores=cores: cores)
        assert np.array_equal(order_documents(segment.records, 80), segment._blocks.members)


def test_equal_and_empty_documents_have_an_order_too(tmp_path):
    rows = [{}] * 21 + [{3: 1.0}] * 40
    index = Index.build(tmp_path / "index", SparseVectors.from_dicts(rows, 5))
    found, _ = index.parts[0].search(
        SparseVectors.from_dicts([{3: 1.0}, {2: 1.0}, {}], 5), 5, BY_BLOCKS, 1, None
    )
    assert found.docs.tolist() == [[21, 22, 23, 24, 25], [-1] * 5, [-1] * 5]


def test_small_segments_have_no_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "FROM_DOCUMENTS", 41)
    _, index = built(tmp_path, 40)
    assert not index.parts[0].stored.segment.has_blocks
    assert index.manifest.parts == {}


def test_the_bytes_of_blocks_are_expected(tmp_path):
    corpus = random_vectors(4000, 5003, seed=1, longest=80)
    index = Index.build(tmp_path / "index", corpus)
    files = index.manifest.files.items()
    there = sum(entry.size_bytes for name, entry in files if "/blocks." in name)
    assert 0.5 * there < blocks.expected_bytes(4000, corpus.nnz) < 1.6 * there


def with_table(index, *rows):
    part = index.parts[0]
    table = Calibration("queries", 200, (), rows)
    index.parts = (replace(part, entry=replace(part.entry, calibration=table)),)
    return index


def test_the_table_names_blocks_for_its_k_and_class_alone():
    windows = Row(False, 10, 0.95, 0.1, 0.9, 0.96, 5000.0)
    by_blocks = Row(False, 10, 1.0, 0.0, 1.0, 1.0, 9000.0)
    table = Calibration("queries", 200, (windows,), (by_blocks,))
    assert table.knobs(0.95, 10, long=False) == Knobs(0.1, 0.9, blocks=False)
    assert table.knobs(0.99, 10, long=False, blocks=False) is EXACT
    assert table.knobs(0.99, 10, long=False) == BY_BLOCKS
    assert table.knobs(1.0, 10, long=False) == BY_BLOCKS
    assert table.knobs(0.95, 10, long=True) is EXACT
    assert table.knobs(1.0, 11, long=False) is EXACT


def test_exact_searches_go_by_blocks_where_the_table_says_so(tmp_path):
    corpus, index = built(tmp_path, 1511)
    index = with_table(index, Row(False, 10, 1.0, 0.0, 1.0, 1.0, 9000.0))
    queries = queries_of(longest=12)
    found = index.search(queries, 10, exact=True)
    expected, _ = index.parts[0].search(queries, 10, BY_BLOCKS, 1, None)
    assert np.array_equal(found.work, expected.work)
    assert np.array_equal(found.docs, reference.search(corpus, queries, 10).docs)


def test_a_calibration_measures_both_ways_and_its_exact_row_costs_less(tmp_path, monkeypatch):
    from tamis.index.segment import calibration

    monkeypatch.setattr(calibration, "SMALL", 1)
    monkeypatch.setattr(calibration, "WINDOW_COST", 10**9)  # as if windows were very dear
    monkeypatch.setattr(calibration, "SAMPLES", {10: 50})
    _, index = built(tmp_path, 2 * 611)
    monkeypatch.setattr(calibration, "WINDOW", 512)
    table = calibrate(index.parts[0].stored.segment)
    exact = [row for row in table.blocks if row.recall == 1.0]
    assert {(row.long, row.k, row.cut) for row in exact} == {(False, 10, 0.0), (True, 10, 0.0)}
    monkeypatch.setattr(calibration, "WINDOW_COST", -(10**9))  # and as if they were free
    assert calibrate(index.parts[0].stored.segment).blocks == ()


@pytest.mark.parametrize("name", ["members", "lists.ranked", "lists.starts"])
def test_damaged_blocks_are_refused(tmp_path, name):
    built(tmp_path, 700)
    file = tmp_path / f"index/segments/000001/blocks.{name}"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptionError, match=f"blocks.{name}"):
        Index.open(tmp_path / "index")


def test_the_manifest_says_that_nobody_must_know_blocks(tmp_path):
    _, index = built(tmp_path, 40)
    assert index.manifest.parts == {"blocks": "nobody"}
    kept = [name for name in index.manifest.files if "/blocks." not in name]
    assert parts_of({"blocks": "nobody", "other": "writers"}, kept) == {"other": "writers"}


def test_an_upgrade_gives_large_segments_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "FROM_DOCUMENTS", 10**6)
    corpus, index = built(tmp_path, 700)
    before = index.calibration
    assert not index.parts[0].stored.segment.has_blocks
    monkeypatch.setattr(blocks, "FROM_DOCUMENTS", 700)
    assert upgrade(tmp_path / "index") == 3
    generation = read_current(Storage(tmp_path / "index")).generation
    with_blocks = Index.open(tmp_path / "index")
    assert with_blocks.parts[0].stored.segment.has_blocks
    assert with_blocks.manifest.parts == {"blocks": "nobody"}
    assert with_blocks.calibration.rows == before.rows
    found, _ = with_blocks.parts[0].search(queries_of(), 10, BY_BLOCKS, 1, None)
    assert np.array_equal(found.docs, reference.search(corpus, queries_of(), 10).docs)
    assert np.array_equal(index.search(queries_of(), 10).docs, found.docs)  # the old one still
    upgrade(tmp_path / "index")
    assert read_current(Storage(tmp_path / "index")).generation == generation


def test_commits_deletions_and_merges_keep_exact_searches_exact(tmp_path):
    create_collection(tmp_path / "c", vocab_size=TERMS, settings=CollectionSettings())
    corpus = random_vectors(90, TERMS, seed=8, weights="ties")
    queries = queries_of(weights="ties")
    with CollectionWriter.open(tmp_path / "c", merge=False) as writer:
        for first in (0, 60):
            rows = corpus.rows(first, min(first + 60, 90))
            records = [{"_id": f"d{first + at}"} for at in range(len(rows))]
            writer.put(records, rows, wait="searchable")
        gone = [*range(0, 90, 7), 89]
        writer.delete([f"d{doc}" for doc in gone], wait="searchable")
        kept = np.setdiff1d(np.arange(90), gone)
        expected = reference.search(corpus.take(kept), queries, 10)
        for _ in range(2):
            index = writer.index
            found = [
                (part.first, part.search(queries, 10, BY_BLOCKS, 1, part.live)[0])
                for part in index.parts
            ]
            assert all(part.stored.segment.has_blocks for part in index.parts)
            assert index.manifest.parts == {"blocks": "nobody"}
            best = best_of(found, len(queries), 10)
            assert np.array_equal(best.scores, expected.scores)
            ids = [index.doc_id(doc) for doc in best.docs[best.docs >= 0].tolist()]
            assert ids == [f"d{kept[doc]}" for doc in expected.docs[expected.docs >= 0]]
            writer.optimize()
        assert len(writer.index.parts) == 1
