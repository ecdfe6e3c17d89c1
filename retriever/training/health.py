"""When a training must not go on: what its log says that nobody would want."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tamis.index.errors import TamisError

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_TERMS = 0.5  # of a text, on average: with fewer most texts have none
ALL_THE_SAME = 0.9995  # of ``same``, see `check_health`


class TrainingError(TamisError):
    """A training that went wrong: not a number, or vectors that vanished or became one."""

    code = "training_failed"


def check_health(means: Mapping[str, float], step: int) -> None:
    """Stop a training that has gone wrong.

    Args:
        means: over the last batches, by name: among them ``terms`` of a document and
            ``query_terms`` of a query, and ``same``, 1 where all documents are one, as
            `objective.health` makes it.
        step: for the message.

    Raises:
        TrainingError: a number is none, or most vectors are empty, or all the same.
    """
    if not all(map(math.isfinite, means.values())):
        raise TrainingError(
            f"step {step}: expected finite losses, found {dict(means)}; lower optimiser.rate and go"
            " on from the last checkpoint with --resume"
        )
    for name, texts in (("terms", "documents"), ("query_terms", "queries")):
        if means[name] < LEAST_TERMS:
            raise TrainingError(
                f"step {step}: expected {texts} with terms, found {means[name]:.3g} a text since "
                "the last line of the log; lower optimiser.rate or sparsity.weight"
            )
    if means["same"] > ALL_THE_SAME:
        raise TrainingError(
            f"step {step}: expected documents that differ, found the same vector for all; lower "
            "optimiser.rate or sparsity.weight, or give the loss more weight"
        )
