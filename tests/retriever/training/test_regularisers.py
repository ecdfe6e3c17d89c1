import math

import numpy as np
import pytest
import torch

from tamis.retriever.training import regularisers
from tamis.retriever.training.config import Penalty
from tamis.retriever.training.regularisers import Regulariser, keep_heaviest

WEIGHTS = torch.tensor([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0]])
IDF = torch.tensor([1.0, 2.0, 4.0])


def test_flops_is_the_sum_of_squared_means():
    assert regularisers.flops(WEIGHTS).item() == 2.0**2 + 1.0**2


def test_l1_is_the_mean_sum():
    assert regularisers.l1(WEIGHTS).item() == 3.0


def test_df_flops_weighs_a_term_by_how_common_it_is():
    frequency = torch.tensor([0.1, 1.0, 0.5])
    expected = (2.0 * 0.5) ** 2 + (1.0 * 1.0) ** 2
    assert regularisers.df_flops(WEIGHTS, frequency).item() == pytest.approx(expected, rel=1e-4)


def test_idf_flops_divides_a_term_by_its_idf():
    assert regularisers.idf_flops(WEIGHTS, IDF).item() == 2.0**2 + (1.0 / 2.0) ** 2


def test_every_penalty_equals_its_formula_term_by_term():
    draw = np.random.default_rng(5)
    weights = draw.random((7, 13)) * (draw.random((7, 13)) < 0.4)
    queries = draw.random((5, 13)) * (draw.random((5, 13)) < 0.4)
    shares, idf = draw.random(13), 0.5 + draw.random(13)
    mean = [sum(row[j] for row in weights) / 7 for j in range(13)]
    asked = [sum(row[j] for row in queries) / 5 for j in range(13)]
    common = [
        1 / (1 + (x ** (math.log(2) / math.log(0.1)) - 1) ** 10) for x in shares
    ]  # fmt: skip
    long_ones = [row for row in weights if sum(value > 0 for value in row) > 5]
    masked = [sum(row[j] for row in long_ones) / 7 for j in range(13)]
    expected = {
        "flops": sum(x**2 for x in mean),
        "l1": sum(sum(row) for row in weights) / 7,
        "df": sum((x * w) ** 2 for x, w in zip(mean, common, strict=True)),
        "idf": sum((x / w) ** 2 for x, w in zip(mean, idf, strict=True)),
        "pair": sum(x * y for x, y in zip(mean, asked, strict=True)),
        "anti": 1 / sum(sum(row) for row in weights) ** 2,
        "l0": sum(x**2 for x in masked),
    }
    w, q, s, i = (torch.from_numpy(one) for one in (weights, queries, shares, idf))
    found = {
        "flops": regularisers.flops(w),
        "l1": regularisers.l1(w),
        "df": regularisers.df_flops(w, s),
        "idf": regularisers.idf_flops(w, i),
        "pair": regularisers.pair_flops(q, w),
        "anti": regularisers.anti_zero(w),
        "l0": regularisers.flops(regularisers.mask_sparse(w, 5)),
    }
    assert {name: one.item() for name, one in found.items()} == pytest.approx(expected, rel=1e-9)


def test_commonness_rises_from_zero_to_one():
    shares = torch.tensor([1e-6, 1e-3, 0.05, 0.1, 0.2, 1.0])
    values = regularisers.commonness(shares)
    assert values[0] < 1e-6
    assert values[3].item() == pytest.approx(0.5, abs=1e-4)
    assert values[-1].item() == 1.0
    assert (values.diff() >= 0).all()


def test_pair_flops_multiplies_the_mean_query_and_the_mean_document():
    queries = torch.tensor([[1.0, 0.0, 5.0], [1.0, 2.0, 5.0]])
    assert regularisers.pair_flops(queries, WEIGHTS).item() == 1.0 * 2.0 + 1.0 * 1.0


def test_anti_zero_grows_as_weights_vanish():
    assert regularisers.anti_zero(WEIGHTS).item() == pytest.approx(1 / 36)
    assert math.isfinite(regularisers.anti_zero(torch.zeros(2, 3)).item())


def test_the_l0_mask_spares_documents_with_few_terms():
    assert regularisers.mask_sparse(WEIGHTS, 1).tolist() == [[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]]


def test_growth_is_quadratic_and_ends_at_one():
    growth = [regularisers.quadratic_growth(step, 10) for step in (0, 5, 10, 20)]
    assert growth == [0.0, 0.25, 1.0, 1.0]
    assert regularisers.quadratic_growth(0, 0) == 1.0


def test_the_heaviest_terms_stay_and_the_gradient_reaches_all():
    weights = torch.tensor([[1.0, 4.0, 3.0, 2.0]], requires_grad=True)
    kept = keep_heaviest(weights, 2)
    assert kept.tolist() == [[0.0, 4.0, 3.0, 0.0]]
    kept.sum().backward()
    assert weights.grad.tolist() == [[1.0, 1.0, 1.0, 1.0]]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Penalty.L1, 3.0),
        (Penalty.FLOPS, 5.0),
        (Penalty.DF_FLOPS, 0.0),
        (Penalty.IDF_FLOPS, 2.0**2 + (1.0 / 2.0) ** 2),
    ],
)
def test_a_regulariser_applies_its_formula(kind, expected):
    one = Regulariser(kind, 1.0, 0, 0, 0, torch.zeros(3), IDF)
    assert one(WEIGHTS).item() == pytest.approx(expected, abs=1e-6)  # all terms are rare at first


def test_a_regulariser_remembers_how_common_terms_are():
    one = Regulariser(Penalty.DF_FLOPS, 1.0, 0, 0, 0, torch.zeros(3), IDF)
    for _ in range(2):
        one.remember(WEIGHTS)
    expected = [1 - 0.99**2, 0.5 * (1 - 0.99**2), 0.0]
    assert one.frequency.tolist() == pytest.approx(expected)


def test_steering_follows_the_target_and_stays_in_range():
    one = Regulariser(Penalty.FLOPS, 2.0, 10, 0, 100, torch.zeros(3), IDF)
    one.steer(terms=300.0, steps=10)
    assert one.steering == pytest.approx(math.exp(0.02 * 10))  # more than e-fold excess counts as 1
    assert one.strength(5) == pytest.approx(2.0 * 0.25 * one.steering)
    for _ in range(1000):
        one.steer(terms=1.0, steps=10)
    assert one.steering == pytest.approx(0.01)


def test_without_a_target_nothing_is_steered():
    one = Regulariser(Penalty.FLOPS, 2.0, 10, 0, 0, torch.zeros(3), IDF)
    one.steer(terms=300.0, steps=10)
    assert one.steering == 1.0
