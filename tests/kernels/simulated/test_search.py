"""Exact search on a GPU, against a dense product in float64 and a stable sort."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from tamis.kernels.search import loops, naive, ops
from tamis.kernels.search.loops import TILE
from tamis.kernels.search.tiles import tiles_of

VOCAB = 50


def rows_of(count, terms, seed, values=None):
    """Random sparse rows: begins, terms, weights; ``terms`` a row on average, some without any."""
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(rng.random(VOCAB) < terms / VOCAB) for _ in range(count)]
    begins = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    found = np.concatenate([*rows, np.empty(0)]).astype(np.int32)
    weights = rng.lognormal(0, 1, len(found)) if values is None else rng.choice(values, len(found))
    return begins, found, weights.astype(np.float32)


def dense(rows):
    begins, terms, weights = rows
    whole = torch.zeros(len(begins) - 1, VOCAB, dtype=torch.float32)
    for row in range(len(begins) - 1):
        part = slice(begins[row], begins[row + 1])
        whole[row, terms[part].astype(np.int64)] = torch.from_numpy(weights[part])
    return whole


def on(device, rows, pieces=1):
    begins, terms, weights = (torch.from_numpy(array) for array in rows)
    parts = zip(terms.chunk(pieces), weights.chunk(pieces), strict=True)
    return tiles_of(begins.to(device), parts, VOCAB)


def check(device, documents, queries, k, allowed=None):
    search = ops.TileSearch(on(device, documents))
    found = search.search(ops.Queries(*queries), k, allowed)
    whole = dense(documents)
    if allowed is not None:
        whole[torch.from_numpy(~allowed)] = 0
    best, scores = naive.search(whole, dense(queries), k)
    assert_array_equal(found.docs, best)
    assert_array_equal(found.scores, scores)
    return found


@pytest.mark.parametrize("documents", [1, TILE - 1, TILE, TILE + 1, 20 * TILE + 7])
def test_the_best_and_their_scores_are_the_exhaustive_ones(device, documents):
    check(device, rows_of(documents, 6, seed=documents), rows_of(5, 4, seed=1), k=10)


def test_more_results_are_asked_for_than_documents_match(device):
    found = check(device, rows_of(30, 2, seed=3), rows_of(3, 2, seed=4), k=40)
    assert (found.docs == -1).any()


def test_ties_go_by_document_number(device):
    """Two weights alone: nearly every score is shared by many documents."""
    check(
        device,
        rows_of(6 * TILE, 4, seed=5, values=(1.0, 2.0)),
        rows_of(4, 3, seed=6, values=(1.0,)),
        k=7,
    )


def test_more_ties_than_there_is_room_for_are_all_scored(device, monkeypatch):
    monkeypatch.setattr(ops, "FOUND", 8)
    monkeypatch.setattr(ops, "SPARE", 2)
    ones = (np.arange(3 * TILE + 1), np.zeros(3 * TILE, np.int32), np.ones(3 * TILE, np.float32))
    found = check(device, ones, (np.array([0, 1]), ones[1][:1], ones[2][:1]), k=3)
    assert found.work.item() == 3 * TILE


def test_the_best_may_stand_in_the_tile_that_is_visited_last(device, monkeypatch):
    monkeypatch.setattr(ops, "SAMPLE", 1)
    begins, terms, weights = rows_of(9 * TILE, 5, seed=8)
    last = int(on(device, (begins, terms, weights)).order[-1])
    weights[begins[last * TILE] : begins[(last + 1) * TILE]] *= 100
    check(device, (begins, terms, weights), rows_of(3, 4, seed=9), k=5)


def test_documents_that_are_not_allowed_are_not_found(device):
    documents = rows_of(4 * TILE, 5, seed=10)
    allowed = np.random.default_rng(1).random(4 * TILE) < 0.3
    check(device, documents, rows_of(4, 4, seed=11), k=9, allowed=allowed)


def test_weights_of_very_different_sizes_keep_their_order(device):
    begins, terms, weights = rows_of(3 * TILE, 5, seed=12)
    weights *= np.float32(10.0) ** np.random.default_rng(2).integers(-15, 15, weights.size)
    check(device, (begins, terms, weights.astype(np.float32)), rows_of(4, 5, seed=13), k=20)


def test_a_query_without_terms_or_of_unknown_ones_finds_nothing(device):
    documents = (np.array([0, 1, 2]), np.array([3, 4], np.int32), np.ones(2, np.float32))
    queries = (np.array([0, 0, 1, 2]), np.array([7, 3], np.int32), np.ones(2, np.float32))
    assert check(device, documents, queries, k=2).docs.tolist() == [[-1, -1], [-1, -1], [0, -1]]


def test_no_queries_and_no_documents(device):
    empty = (np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    assert check(device, rows_of(9, 4, seed=1), empty, k=2).docs.shape == (0, 2)
    check(device, empty, rows_of(2, 4, seed=1), k=2)


def test_batches_and_pieces_change_nothing(device, monkeypatch):
    monkeypatch.setattr(ops, "QUERIES", 2)
    documents, queries = rows_of(2 * TILE, 6, seed=14), rows_of(7, 4, seed=15)
    check(device, documents, queries, k=5)
    one, three = on(device, documents), on(device, documents, pieces=3)
    for name in one.__slots__:
        assert torch.equal(getattr(one, name), getattr(three, name)), name


def test_documents_must_lie_on_a_gpu(monkeypatch):
    monkeypatch.setattr(ops, "SIMULATED", False)
    with pytest.raises(ValueError, match=r"expected documents on a GPU, found them on cpu"):
        ops.TileSearch(on("cpu", rows_of(3, 4, seed=1)))


def test_one_search_after_the_other_leaves_nothing_behind(device):
    """Room is used again: batches of other sizes, other k, longer queries."""
    documents = rows_of(6 * TILE, 6, seed=20)
    search, whole = ops.TileSearch(on(device, documents)), dense(documents)
    for seed, (count, terms, k) in enumerate([(5, 4, 9), (1, 2, 3), (4, 20, 9), (5, 4, 9)]):
        queries = rows_of(count, terms, seed=30 + seed)
        found = search.search(ops.Queries(*queries), k)
        best, scores = naive.search(whole, dense(queries), k)
        assert_array_equal(found.docs, best)
        assert_array_equal(found.scores, scores)


def test_a_query_of_more_terms_than_are_read_together(device):
    """Under the simulator four lists are read as one; on a GPU 256."""
    many = 3 * loops.TERMS + 1
    rng = np.random.default_rng(5)
    dense_rows = rng.lognormal(size=(TILE, many)).astype(np.float32)
    begins = np.arange(TILE + 1) * many
    terms = np.tile(np.arange(many, dtype=np.int32), TILE)
    tiles = tiles_of(
        torch.from_numpy(begins).to(device),
        [(torch.from_numpy(terms), torch.from_numpy(dense_rows.ravel()))],
        many,
    )
    weights = rng.lognormal(size=many).astype(np.float32)
    asked = ops.Queries(np.array([0, many]), np.arange(many, dtype=np.int32), weights)
    best, scores = naive.search(torch.from_numpy(dense_rows), torch.from_numpy(weights)[None], 5)
    found = ops.TileSearch(tiles).search(asked, 5)
    assert_array_equal(found.docs, best)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-6)  # the product adds in another order
