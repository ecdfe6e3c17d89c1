"""A training stops, and says why, when numbers are none, and when vectors vanish or become one."""

import pytest
import torch

from tamis.retriever.training.health import (
    TrainingError,
    check_finite,
    check_health,
    check_weights,
)

HEALTHY = {"loss": 0.4, "terms": 90.0, "query_terms": 9.0, "same": 0.06}


def test_a_healthy_training_goes_on():
    check_health(HEALTHY, 100)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"terms": 0.0}, "expected documents with terms, found 0 a text"),
        ({"terms": 0.0117}, "expected documents with terms, found 0.0117 a text"),  # nearly all
        ({"query_terms": 0.01}, "expected queries with terms, found 0.01 a text"),
        ({"same": 0.9999}, "found the same vector for all"),
    ],
)
def test_a_training_that_went_wrong_stops(wrong, told):
    with pytest.raises(TrainingError, match=f"step 100: .*{told}"):
        check_health(HEALTHY | wrong, 100)


BAD = [float("nan"), float("inf"), -float("inf")]


@pytest.mark.parametrize("bad", BAD)
def test_a_loss_or_gradient_that_is_no_number_stops_it(bad):
    good, wrong = torch.tensor(0.5), torch.tensor(bad)
    check_finite(good, good, 7, remedy="r")
    for pair in ((wrong, good), (good, wrong)):
        with pytest.raises(
            TrainingError, match=r"step 7: expected a finite loss and gradient.*; r"
        ):
            check_finite(*pair, 7, remedy="r")


@pytest.mark.parametrize("bad", BAD)
def test_weights_that_are_no_numbers_are_named(bad):
    weights = {"a": torch.ones(2), "b": torch.ones(3, 2)}
    check_weights(weights.items(), 7, remedy="r")
    weights["b"][2, 1] = bad
    with pytest.raises(TrainingError, match=r"step 7: expected finite weights.*in b; r"):
        check_weights(weights.items(), 7, remedy="r")
