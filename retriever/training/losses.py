"""What a student's scores are held to: teachers' scores and judgements. Tensors in, a scalar out.

Every function takes the scores of all queries for all passages of a batch, ``[Q, P]``.
"""

from __future__ import annotations

import torch
from torch.nn import functional

EPSILON = 1e-6
NEVER = -1e9  # a score that takes no part; an infinite one has no gradient


def ensemble(
    teachers: list[tuple[float, torch.Tensor]], judged: torch.Tensor, bonus: float
) -> torch.Tensor:
    """One score between 0 and about 1 out of several teachers'.

    Each teacher's scores are brought to 0..1 for each query by its least and largest score, then
    averaged (heterogeneous ensemble distillation, Geng et al., arXiv 2411.04403).

    Args:
        teachers: weight and scores [Q, P] of each.
        judged: [Q, P] bool, passages judged to answer the query.
        bonus: added to their score.

    Returns:
        [Q, P] float32.
    """
    total = sum(weight for weight, _ in teachers)
    parts = [weight / total * min_max(scores) for weight, scores in teachers]
    return torch.stack(parts).sum(0) + bonus * judged


def min_max(scores: torch.Tensor) -> torch.Tensor:
    """Scores [Q, P] moved and scaled so that each query's least is 0 and its largest 1."""
    scores = scores.float()
    least = scores.amin(1, keepdim=True)
    return (scores - least) / (scores.amax(1, keepdim=True) - least + EPSILON)


def kl_divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean over queries of KL(softmax(teacher) || softmax(student)); scores are scaled already."""
    wanted = functional.log_softmax(teacher.float(), 1)
    found = functional.log_softmax(student.float(), 1)
    return functional.kl_div(found, wanted, reduction="batchmean", log_target=True)


def info_nce(student: torch.Tensor, judged: torch.Tensor) -> torch.Tensor:
    """Mean over judged pairs of -log softmax of the judged passage among those not judged.

    A query's other judged passages are left out of its sum. 0 where nothing is judged.

    Args:
        student: scores [Q, P], scaled already.
        judged: [Q, P] bool.
    """
    student = student.float()
    others = student.masked_fill(judged, NEVER).logsumexp(1, keepdim=True)
    losses = torch.logaddexp(student, others) - student
    return torch.where(judged, losses, 0.0).sum() / judged.sum().clamp(min=1)


def margin_mse(student: torch.Tensor, teacher: torch.Tensor, judged: torch.Tensor) -> torch.Tensor:
    """Mean squared error of the margins between judged and other passages (arXiv 2010.02666).

    All pairs of a judged and another passage of a query count. 0 where nothing is judged.

    Args:
        student: scores [Q, P].
        teacher: scores [Q, P] of the same scale.
        judged: [Q, P] bool.
    """
    query, passage = judged.nonzero(as_tuple=True)
    error = student.float() - teacher.float()
    margins = error[query, passage][:, None] - error[query]
    others = ~judged[query]
    return torch.where(others, margins.square(), 0.0).sum() / others.sum().clamp(min=1)
