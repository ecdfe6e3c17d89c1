"""A training stops, and says why, when its vectors vanish or become one."""

import pytest

from tamis.retriever.training.health import TrainingError, check_health

HEALTHY = {"loss": 0.4, "terms": 90.0, "query_terms": 9.0, "same": 0.06}


def test_a_healthy_training_goes_on():
    check_health(HEALTHY, 100)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"loss": float("nan")}, "expected finite losses"),
        ({"terms": 0.0}, "expected documents with terms, found 0 a text"),
        ({"terms": 0.0117}, "expected documents with terms, found 0.0117 a text"),  # nearly all
        ({"query_terms": 0.01}, "expected queries with terms, found 0.01 a text"),
        ({"same": 0.9999}, "found the same vector for all"),
    ],
)
def test_a_training_that_went_wrong_stops(wrong, told):
    with pytest.raises(TrainingError, match=f"step 100: .*{told}"):
        check_health(HEALTHY | wrong, 100)
