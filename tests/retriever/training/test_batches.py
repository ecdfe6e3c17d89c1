import numpy as np
import pytest
import torch

from tamis.index.errors import InputError
from tamis.retriever.training.batches import Batches
from tamis.retriever.training.config import BatchConfig
from tamis.retriever.training.data.training_data import Pairs
from tamis.retriever.training.teachers import DenseTeacher

PASSAGES, QUERIES = 60, 90


@pytest.fixture
def pairs():
    draw = np.random.default_rng(0)
    queries = np.repeat(np.arange(QUERIES, dtype=np.int32), 2)
    passages = draw.integers(0, PASSAGES, len(queries)).astype(np.int32)
    return Pairs(queries, passages, draw.random(len(queries)) < 0.5)


@pytest.fixture
def teacher():
    torch.manual_seed(0)
    embeddings = torch.nn.functional.normalize(torch.randn(PASSAGES, 8), dim=1)
    return DenseTeacher(embeddings, torch.randn(QUERIES, 8))


def batches(pairs, teacher, **changes):
    config = BatchConfig(**({"passages": 20, "queries": 15, "cluster": 6} | changes))
    return Batches(pairs, torch.arange(PASSAGES).flip(0), teacher, config, seed=1)


def test_nothing_comes_twice_in_a_batch_and_passages_rise_by_length(pairs, teacher):
    maker = batches(pairs, teacher)
    for number in range(30):
        batch = maker.batch(number)
        assert len(batch.passages) == len(batch.passages.unique()) == 20
        assert len(batch.queries) == len(batch.queries.unique()) <= 15
        assert (batch.passages.diff() < 0).all()  # the lengths fall with the number here


def test_every_query_stands_by_a_passage_of_the_batch_and_judgements_are_those_of_the_pairs(
    pairs, teacher
):
    known = {
        (int(q), int(p)): bool(j)
        for q, p, j in zip(pairs.queries, pairs.passages, pairs.judged, strict=True)
    }
    judged = {key for key, value in known.items() if value}
    for q, p, j in zip(pairs.queries, pairs.passages, pairs.judged, strict=True):
        if j:
            judged.add((int(q), int(p)))
    maker = batches(pairs, teacher)
    for number in range(20):
        batch = maker.batch(number)
        for i, query in enumerate(batch.queries.tolist()):
            assert any((query, passage) in known for passage in batch.passages.tolist())
            found = {
                p
                for p, is_judged in zip(batch.passages.tolist(), batch.judged[i], strict=True)
                if is_judged
            }
            assert found == {p for p in batch.passages.tolist() if (query, p) in judged}


def test_a_batch_follows_from_its_number(pairs, teacher):
    first, again = batches(pairs, teacher).batch(3), batches(pairs, teacher).batch(3)
    assert first.passages.tolist() == again.passages.tolist()
    assert first.queries.tolist() == again.queries.tolist()
    assert first.passages.tolist() != batches(pairs, teacher).batch(4).passages.tolist()


def test_clusters_are_neighbourhoods(pairs, teacher):
    similarity = teacher.passages @ teacher.passages.T
    near = batches(pairs, teacher, random_share=0.0, cluster=20)
    spread = batches(pairs, None)
    mean = {}
    for name, maker in (("near", near), ("spread", spread)):
        rows = [maker.batch(number).passages for number in range(20)]
        mean[name] = float(torch.stack([similarity[r][:, r].mean() for r in rows]).mean())
    assert mean["near"] > mean["spread"] + 0.05


def test_a_batch_may_be_the_whole_corpus_but_no_more(pairs):
    whole = batches(pairs, None, passages=PASSAGES, queries=200)
    assert sorted(whole.batch(0).passages.tolist()) == list(range(PASSAGES))
    assert len(whole.batch(0).queries) == QUERIES
    with pytest.raises(InputError, match=r"at least batch\.passages = 61"):
        batches(pairs, None, passages=PASSAGES + 1)
