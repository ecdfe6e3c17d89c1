"""When a training must not go on: numbers that are none, vectors that vanish or become one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tamis.index.errors import TamisError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LEAST_TERMS = 0.5  # of a text, on average: with fewer most texts have none
ALL_THE_SAME = 0.9995  # of ``same``, see `check_health`


class TrainingError(TamisError):
    """A training that went wrong: not a number, or vectors that vanished or became one."""

    code = "training_failed"


def check_finite(loss: torch.Tensor, gradient: torch.Tensor, step: int, *, remedy: str) -> None:
    """Stop a training before a step that would spoil its weights. Waits for the device.

    Args:
        loss: of the step.
        gradient: norm of its gradient.
        step: for the message.
        remedy: what to do.

    Raises:
        TrainingError: one of the two is NaN or infinite.
    """
    found = torch.stack([loss.detach().float(), gradient.detach().float().to(loss.device)])
    if not torch.isfinite(found).all():
        one, norm = found.tolist()
        raise TrainingError(
            f"step {step}: expected a finite loss and gradient, found a loss of {one:.4g} and a "
            f"gradient of {norm:.4g}; {remedy}"
        )


def check_weights(weights: Iterable[tuple[str, torch.Tensor]], step: int, *, remedy: str) -> None:
    """Refuse to keep weights that are no numbers.

    Args:
        weights: names and tensors.
        step: for the message.
        remedy: what to do.

    Raises:
        TrainingError: one holds NaN or infinity.
    """
    for name, tensor in weights:
        if not torch.isfinite(tensor).all():
            raise TrainingError(
                f"step {step}: expected finite weights, found NaN or infinity in {name}; {remedy}"
            )


def check_health(means: Mapping[str, float], step: int) -> None:
    """Stop a training whose vectors nobody would want.

    Args:
        means: over the last batches, by name: among them ``terms`` of a document and
            ``query_terms`` of a query, and ``same``, 1 where all documents are one, as
            `objective.health` makes it.
        step: for the message.

    Raises:
        TrainingError: most vectors are empty, or all are the same.
    """
    for name, texts in (("terms", "documents"), ("query_terms", "queries")):
        if means[name] < LEAST_TERMS:
            raise TrainingError(
                f"step {step}: expected {texts} with terms, found {means[name]:.3g} a text since "
                "the last line of the log; lower optimiser.rate or sparsity.weight and go on from "
                "the last checkpoint with --resume"
            )
    if means["same"] > ALL_THE_SAME:
        raise TrainingError(
            f"step {step}: expected documents that differ, found the same vector for all; lower "
            "optimiser.rate or sparsity.weight, or give the loss more weight, and go on from the "
            "last checkpoint with --resume"
        )
