"""An index brought to a GPU, against the exact search of the index itself."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from search_contract import IndexContract

from tamis.index import (
    Index,
    IndexConfig,
    InputError,
    MismatchError,
    SparseVectors,
    reference,
)
from tamis.kernels.search import ops
from tamis.retriever import gpu_index
from tamis.retriever.gpu_index import GpuIndex, search_vectors

VOCAB = 70


def vectors(rows, terms, seed, vocab=VOCAB):
    rng = np.random.default_rng(seed)
    held = [np.flatnonzero(rng.random(vocab) < terms / vocab) for _ in range(rows)]
    weights = [rng.lognormal(0, 1, row.size).astype(np.float32) for row in held]
    return SparseVectors.from_dicts(
        [
            dict(zip(row.tolist(), w.tolist(), strict=True))
            for row, w in zip(held, weights, strict=True)
        ],
        vocab_size=vocab,
    )


@pytest.fixture
def card(device, monkeypatch):
    """The device's name; the simulator stands for a card with 64 GiB."""
    if device.type == "cpu":
        monkeypatch.setattr(gpu_index, "_card", torch.device)
        monkeypatch.setattr(gpu_index, "_free_bytes", lambda card: 64 << 30)
    return str(device)


class TestContract(IndexContract):
    @pytest.fixture
    def search_of(self, card, tmp_path):
        def search_of(documents):
            return GpuIndex.from_index(Index.build(tmp_path / "c", documents), [card]).search

        return search_of


def same(found, truth):
    assert_array_equal(found.docs, truth.docs)
    assert_array_equal(found.scores, truth.scores)


@pytest.mark.parametrize("precision", ["u8", "u16", "f16", "f32"])
def test_documents_and_scores_are_those_of_the_index(card, tmp_path, precision):
    index = Index.build(tmp_path / "index", vectors(300, 9, 1), config=IndexConfig(precision))
    queries = vectors(6, 5, 2)
    same(
        GpuIndex.from_index(index, [card]).search(queries, 12),
        index.search(queries, 12, exact=True),
    )


def test_terms_past_two_bytes_are_read(card, tmp_path):
    documents = SparseVectors.from_dicts(
        [{3: 1.0, 70_000: 2.0}, {69_999: 1.0}, {70_000: 1.0}], vocab_size=70_001
    )
    index = Index.build(tmp_path / "index", documents)
    found = GpuIndex.from_index(index, [card]).search(documents, 3)
    same(found, index.search(documents, 3, exact=True))


def test_pieces_that_come_and_go_give_the_same(card, tmp_path, monkeypatch):
    index = Index.build(tmp_path / "index", vectors(300, 9, 3))
    queries = vectors(4, 5, 4)
    monkeypatch.setattr(gpu_index, "BYTES_BESIDE", 0)
    monkeypatch.setattr(gpu_index, "_free_bytes", lambda card: 20_000)
    on_card = GpuIndex.from_index(index, [card])
    assert not on_card.resident
    assert len(on_card._pieces) > 3
    same(on_card.search(queries, 8), index.search(queries, 8, exact=True))


@pytest.mark.parametrize("cards", [2, 7])
def test_documents_are_divided_between_cards_evenly(card, tmp_path, cards):
    documents = vectors(300, 9, 5)
    index = Index.build(tmp_path / "index", documents)
    queries = vectors(4, 5, 6)
    on_cards = GpuIndex.from_index(index, [card] * cards)
    entries = [piece.entries for piece in on_cards._pieces]
    assert sum(entries) == documents.nnz
    assert len(entries) == cards
    uneven = max(abs(one - documents.nnz / cards) for one in entries)
    assert uneven < max(np.diff(documents.offsets))  # a whole document goes to one of them
    same(on_cards.search(queries, 8), index.search(queries, 8, exact=True))


def test_more_cards_than_documents_leave_some_without(card, tmp_path):
    index = Index.build(tmp_path / "index", vectors(3, 9, 5))
    queries = vectors(4, 5, 6)
    on_cards = GpuIndex.from_index(index, [card] * 8)
    assert len(on_cards._pieces) <= 3
    same(on_cards.search(queries, 8), index.search(queries, 8, exact=True))


def test_a_filter_holds(card, tmp_path):
    from tamis.index.segment.columns import Column

    years = Column.of("year", "integer", [1990 + i % 20 for i in range(200)])
    index = Index.build(tmp_path / "index", vectors(200, 9, 7), columns=[years])
    queries, where = vectors(4, 5, 8), {"field": "year", "range": {"lt": 1995}}
    found = GpuIndex.from_index(index, [card]).search(queries, 8, where=where)
    same(found, index.search(queries, 8, exact=True, where=where))


def test_a_device_that_is_no_gpu_is_refused(tmp_path):
    index = Index.build(tmp_path / "index", vectors(3, 9, 9))
    for device in ("cpu", "cuda:99"):
        with pytest.raises(InputError, match=r"CUDA GPUs, found"):
            GpuIndex.from_index(index, [device])


def test_a_card_without_room_for_a_document_is_refused(card, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_index, "_free_bytes", lambda card: gpu_index.BYTES_BESIDE + 10)
    index = Index.build(tmp_path / "index", vectors(3, 9, 9))
    with pytest.raises(InputError, match=r"free memory and room for a document"):
        GpuIndex.from_index(index, [card])


def test_bad_calls_are_refused_as_by_the_index(card, tmp_path):
    index = Index.build(tmp_path / "index", vectors(30, 9, 9))
    on_card = GpuIndex.from_index(index, [card])
    with pytest.raises(InputError, match=r"expected k"):
        on_card.search(vectors(1, 5, 1), 0)
    with pytest.raises(MismatchError):
        on_card.search(vectors(1, 5, 1, vocab=VOCAB + 1), 5)


def test_batches_are_answered_like_one(card, tmp_path, monkeypatch):
    index = Index.build(tmp_path / "index", vectors(100, 9, 10))
    queries = vectors(7, 5, 11)
    monkeypatch.setattr(ops, "QUERIES", 3)
    same(
        GpuIndex.from_index(index, [card]).search(queries, 9), index.search(queries, 9, exact=True)
    )


def test_vectors_are_searched_without_an_index(device):
    documents, queries = vectors(150, 9, 12), vectors(5, 5, 13)
    same(search_vectors(queries, documents, 6, device), reference.search(documents, queries, 6))


def test_room_goes_with_the_terms_and_not_with_their_numbers(device):
    documents, queries = (
        few.renumbered(few.terms * (2**31 // VOCAB), 2**31)
        for few in (vectors(50, 9, 14), vectors(3, 5, 15))
    )
    same(search_vectors(queries, documents, 6, device), reference.search(documents, queries, 6))
