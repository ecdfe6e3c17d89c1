import math

import numpy as np
import pytest
import torch

from tamis.retriever.training.losses import (
    ensemble,
    info_nce,
    kl_divergence,
    margin_mse,
    min_max,
)


def test_kl_divergence_of_two_coins_is_worked_by_hand():
    teacher = torch.tensor([[math.log(3.0), 0.0]])  # 3/4 and 1/4
    student = torch.tensor([[0.0, 0.0]])  # 1/2 and 1/2
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert kl_divergence(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_kl_divergence_is_a_mean_over_queries_and_zero_at_the_teacher():
    teacher = torch.tensor([[math.log(3.0), 0.0], [1.0, 2.0]])
    student = torch.tensor([[0.0, 0.0], [11.0, 12.0]])  # a shifted row is the same distribution
    one = kl_divergence(student[:1], teacher[:1])
    assert kl_divergence(student, teacher).item() == pytest.approx(one.item() / 2, rel=1e-5)


def test_info_nce_leaves_other_judged_passages_out_of_the_sum():
    student = torch.tensor([[1.0, 2.0, 0.0]])
    judged = torch.tensor([[True, True, False]])
    first = -math.log(math.e / (math.e + 1))
    second = -math.log(math.e**2 / (math.e**2 + 1))
    assert info_nce(student, judged).item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_info_nce_has_finite_gradients_where_everything_or_nothing_is_judged():
    student = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    info_nce(student, torch.tensor([[True, True], [False, False]])).backward()
    assert torch.isfinite(student.grad).all()
    assert info_nce(student, torch.zeros(2, 2, dtype=torch.bool)).item() == 0


def test_margin_mse_compares_each_judged_passage_with_each_other_one():
    student = torch.tensor([[5.0, 1.0, 2.0]])
    teacher = torch.tensor([[4.0, 2.0, 0.0]])
    judged = torch.tensor([[True, False, False]])
    # margins: student 4 and 3, teacher 2 and 4
    assert margin_mse(student, teacher, judged).item() == pytest.approx((4 + 1) / 2)


def test_every_loss_equals_its_formula_pair_by_pair():
    draw = np.random.default_rng(7)
    student, teacher = draw.normal(size=(2, 4, 6)) * 2
    judged = draw.random((4, 6)) < 0.3
    kl, nce, margins, answers = 0.0, 0.0, [], 0
    for q in range(4):
        t = np.exp(teacher[q]) / sum(np.exp(teacher[q]))
        s = np.exp(student[q]) / sum(np.exp(student[q]))
        kl += sum(t[p] * math.log(t[p] / s[p]) for p in range(6)) / 4
        others = [p for p in range(6) if not judged[q, p]]
        for p in np.flatnonzero(judged[q]):
            below = sum(math.exp(student[q, o]) for o in others)
            nce -= math.log(math.exp(student[q, p]) / (math.exp(student[q, p]) + below))
            answers += 1
            for o in others:
                ours, theirs = student[q, p] - student[q, o], teacher[q, p] - teacher[q, o]
                margins.append((ours - theirs) ** 2)
    s, t, j = torch.tensor(student), torch.tensor(teacher), torch.tensor(judged)
    assert kl_divergence(s, t).item() == pytest.approx(kl, rel=1e-5)
    assert info_nce(s, j).item() == pytest.approx(nce / answers, rel=1e-5)
    assert margin_mse(s, t, j).item() == pytest.approx(np.mean(margins), rel=1e-5)


def test_min_max_brings_each_query_to_zero_and_one():
    scores = torch.tensor([[2.0, 4.0, 3.0], [-1.0, -3.0, -2.0]])
    expected = torch.tensor([[0.0, 1.0, 0.5], [1.0, 0.0, 0.5]])
    torch.testing.assert_close(min_max(scores), expected, atol=1e-5, rtol=0)


def test_the_ensemble_weighs_teachers_and_adds_a_bonus_to_judged_passages():
    teachers = [(3.0, torch.tensor([[0.0, 10.0]])), (1.0, torch.tensor([[8.0, 4.0]]))]
    judged = torch.tensor([[True, False]])
    expected = torch.tensor([[0.25 + 0.5, 0.75]])
    torch.testing.assert_close(ensemble(teachers, judged, 0.5), expected, atol=1e-5, rtol=0)


def test_a_teacher_that_sees_no_difference_counts_as_zero():
    flat = min_max(torch.full((1, 4), 7.0))
    assert flat.tolist() == [[0.0] * 4]
