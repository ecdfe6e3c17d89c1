from pathlib import Path

import numpy as np
import pytest
import torch

from tamis.index.vectors import SparseVectors
from tamis.retriever.training.batches import Hard, hard_groups
from tamis.retriever.training.data.training_data import (
    NOTHING_LISTED,
    Listed,
    Pairs,
    load_or_prepare,
)
from tamis.retriever.training.device_rows import Ragged
from tamis.retriever.training.homes import Homes
from tamis.retriever.training.mining import mine, search_dense, search_sparse, sparse_vectors
from tamis.retriever.training.student import load_student
from tamis.retriever.training.teachers import DenseTeacher
from tamis.retriever.training.trainer import Trainer

PAIRS = Pairs(
    np.array([0, 0, 1, 2], np.int32),
    np.array([3, 4, 0, 1], np.int32),
    np.array([False, True, True, False]),
)


def rows_of(hard):
    return [
        hard.candidates.values[hard.candidates.flat(torch.tensor([i])).entry].tolist()
        for i in range(len(hard.homes))
    ]


def test_a_query_stands_by_what_answers_it_or_by_the_best_of_its_candidates():
    homes = Homes(PAIRS, NOTHING_LISTED)
    assert homes.queries.tolist() == [0, 1]
    assert homes.passages.tolist() == [4, 0]
    listed = Listed(*(np.array([2, 2], np.int32),) * 2, np.array([1.0, 2.0], np.float32))
    homes = Homes(PAIRS, listed)
    assert homes.queries.tolist() == [0, 1, 2]
    assert homes.passages.tolist() == [4, 0, 1]


def test_answers_and_homes_are_no_negatives_and_each_comes_once():
    homes = Homes(PAIRS, NOTHING_LISTED)
    found = np.array([[4, 3, 2], [2, 0, -1]])
    kept = homes.without_answers(found)
    assert kept.tolist() == [[-1, 3, 2], [2, -1, -1]]
    hard = homes.groups([kept, np.array([[2], [5]])], torch.device("cpu"))
    assert rows_of(hard) == [[2, 3], [2, 5]]


def test_what_a_teacher_likes_as_much_as_the_answer_is_left_out():
    homes = Homes(PAIRS, NOTHING_LISTED)
    passages = torch.tensor([[1.0], [0.2], [0.96], [0.94], [1.0], [0.5]])
    teacher = DenseTeacher(passages, torch.tensor([[1.0], [2.0], [1.0]]))
    found = np.array([[3, 2, -1], [5, 2, 1]])  # homes 4 and 0, both scored 1 by a query of 1
    kept = homes.without_false_negatives(found, teacher, margin=0.95)
    assert kept[0, 0] == 3
    assert kept[0, 1] == -1
    assert kept[1].tolist() == [5, -1, 1]


def test_candidates_of_the_sources_stand_by_their_query():
    listed = Listed(
        np.array([0, 0, 1], np.int32), np.array([2, 5, 1], np.int32), np.full(3, np.nan, np.float32)
    )
    assert Homes(PAIRS, listed).listed(listed).tolist() == [[2, 5], [1, -1]]
    assert Homes(PAIRS, NOTHING_LISTED).listed(NOTHING_LISTED).shape == (2, 0)


def test_both_kinds_of_index_find_what_exhaustive_search_finds():
    draw = np.random.default_rng(3)
    queries, passages = (draw.random((count, 7)).astype(np.float32) for count in (5, 31))
    expected = np.argsort(-(queries @ passages.T), axis=1, kind="stable")[:, :4]
    assert search_dense(queries, passages, 4).tolist() == expected.tolist()
    weights = torch.from_numpy(passages) * (torch.from_numpy(draw.random((31, 7))) < 0.6)
    held = sparse_vectors(lambda rows: weights[rows], torch.arange(31))
    asked = SparseVectors.from_dicts([{j: float(x) for j, x in enumerate(q)} for q in queries], 7)
    found = search_sparse(asked, held, 4, torch.device("cpu"))
    expected = np.argsort(-(queries @ weights.numpy().T), axis=1, kind="stable")[:, :4]
    assert found.tolist() == expected.tolist()
    np.testing.assert_allclose(held.to_scipy().toarray(), weights.numpy(), rtol=0, atol=1e-6)


def test_groups_are_a_home_and_its_own_candidates():
    offsets, values = torch.tensor([0, 2, 2, 5]), torch.tensor([10, 11, 12, 13, 14])
    hard = Hard(torch.arange(3), torch.tensor([0, 1, 2]), Ragged(offsets, values))
    own = [{10, 11}, {1}, {12, 13, 14}]  # the second has none: its home stands for them
    seen = set()
    for seed in range(20):
        rows = hard_groups(hard, 2, 9, torch.Generator().manual_seed(seed)).view(3, 3)
        for home, *negatives in rows.tolist():
            assert set(negatives) <= own[home]
            seen.update(negatives)
    assert seen == set.union(*own)


@pytest.mark.parametrize("asked", ["student", "bm25", "dense"])
def test_what_is_mined_never_answers_and_fills_the_batches(make_config, data_folder, asked):
    who = {name: name == asked for name in ("student", "bm25", "dense")}
    config = make_config(
        data={"dev": [], "sources": [{"path": "places"}]},
        batch={"negatives": 3, "random_share": 0.0, "passages": 16},
        loss={"dense": 1.0, "bm25": 1.0},
        mining={"every": 1, "depth": 12, "margin": 1e9} | who,
    )
    student = load_student(config, torch.device("cpu"))
    data = load_or_prepare(
        config.data, student.tokenizer, data_folder, Path(config.data.prepared), 1
    )
    trainer = Trainer(config, student, data)
    hard = mine(config, trainer._data, student)
    judged = {(q, p) for q, p in zip(data.pairs.queries, data.pairs.passages, strict=True)}
    rows = rows_of(hard)
    assert sum(map(len, rows)) > 24
    for query, negatives in zip(hard.queries.tolist(), rows, strict=True):
        assert not {(query, passage) for passage in negatives} & judged
    if asked == "bm25":  # a word that asks for a topic stands in three passages of others
        assert np.mean([len(row) for row in rows]) == 3
    trainer._data.batches.hard = hard
    batch = trainer._data.batches.batch(0)
    groups = {int(home): set(row) for home, row in zip(hard.homes, rows, strict=True)}
    together = set(batch.passages.tolist())
    assert sum(home in together and bool(row & together) for home, row in groups.items()) >= 3
