import math

import pytest
import torch

from tamis.retriever.training.validation import means, ndcg, rounded_width


def test_ndcg_is_worked_by_hand():
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.1]])
    gains = torch.tensor([[0.0, 2.0, 0.0, 1.0]])
    found = 2 / math.log2(3) + 1 / math.log2(5)
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert ndcg(scores, gains).tolist() == pytest.approx([found / ideal], rel=1e-5)
    short = 2 / math.log2(3) / ideal
    assert ndcg(scores, gains, cut=2).tolist() == pytest.approx([short], rel=1e-5)


def test_passages_that_score_nothing_are_not_found_and_unjudged_queries_do_not_count():
    scores = torch.tensor([[0.5, 0.0], [1.0, 2.0]])
    gains = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    assert ndcg(scores, gains).tolist() == [0.0]


def test_every_collection_counts_the_same_in_the_mean():
    one, other = torch.tensor([0.0, 1.0]), torch.tensor([0.2])
    table = {"small": {"200/0": other}, "large": {"200/0": one}}
    found = means(table)
    assert found["large"] == {"200/0": 0.5}
    assert found["mean"]["200/0"] == pytest.approx((0.5 + 0.2) / 2)


def test_widths_are_few_and_never_over_the_longest():
    assert [rounded_width(n, 100) for n in (1, 32, 33, 97, 500)] == [32, 32, 64, 100, 100]
