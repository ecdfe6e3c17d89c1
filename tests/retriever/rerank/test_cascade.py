"""Stored keys choose, a full reading ranks."""

import numpy as np
import pytest
import torch
from tiny_rerankers import texts, write_reranker

from tamis.index.errors import InputError
from tamis.retriever.rerank.block_reranker import BlockReranker
from tamis.retriever.rerank.cascade import Cascade
from tamis.retriever.rerank.store import DocumentStore

QUERY, DOCUMENTS = texts()
IDS = [f"d{i}" for i in range(5)]


@pytest.fixture
def cascade(tmp_path):
    weights = {"heads": [1.0, -0.5, 2.0, 0.3]}
    folder = write_reranker(
        tmp_path / "model", "bert", readouts={"query": weights, "none": weights}, reads_from=2
    )
    careful = BlockReranker.from_pretrained(str(folder), device="cpu", dtype=torch.float32)
    store = DocumentStore.build(
        BlockReranker(careful.parts, "none"),
        zip(IDS, DOCUMENTS, strict=True),
        tmp_path / "keys",
        budget_bytes=1 << 20,
    )
    return Cascade(careful, store, best=2)


def test_the_best_by_stored_keys_are_read_and_the_others_stand_below(cascade):
    quick = BlockReranker(cascade.reranker.parts, "none").score(QUERY, DOCUMENTS)
    order = np.argsort(-quick).tolist()
    careful = cascade.reranker.score(QUERY, [DOCUMENTS[at] for at in order[:2]])
    found = cascade.rank(QUERY, IDS, DOCUMENTS)
    assert [score for _, score in found[:2]] == pytest.approx(sorted(careful, reverse=True))
    assert [doc for doc, _ in found[:2]] == [IDS[order[at]] for at in np.argsort(-careful)]
    assert [doc for doc, _ in found[2:]] == [IDS[at] for at in order[2:]]
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)


def test_no_candidates_and_candidates_without_texts(cascade):
    assert cascade.rank(QUERY, [], []) == []
    with pytest.raises(InputError, match="expected a text an id, found 0 for 1"):
        cascade.rank(QUERY, ["d0"], [])
