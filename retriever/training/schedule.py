"""Everything that changes with the step. All follow from the global step, never from a clock."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from tamis.retriever.training.draws import draw_of

if TYPE_CHECKING:
    from tamis.retriever.training.config import OptimiserConfig, SparsityConfig

LAST_RATE = 0.01  # of the full rate, at the last step


def rate_factor(step: int, config: OptimiserConfig, started_at: int = 0) -> float:
    """Factor on the learning rates: linear warm-up, then a cosine to almost nothing.

    Args:
        step: from 0.
        config: gives the steps in all and of the warm-up.
        started_at: step at which a fresh optimiser took over: warmed up from there again.
    """
    warm = min(1.0, (step - started_at + 1) / max(1, config.warmup_steps))
    decay = 0.5 * (1 + math.cos(math.pi * min(1.0, step / config.steps)))
    return warm * (LAST_RATE + (1 - LAST_RATE) * decay)


def terms_kept(step: int, steps: int, config: SparsityConfig, seed: int) -> int | None:
    """How many of a document's terms count in a step; None: all.

    All at first, then a number that falls in a straight line from ``top_start`` to ``top_end``;
    each batch draws its own between ``top_least`` and that.
    """
    share = step / steps
    if share < config.dense_share:
        return None
    length = max(config.falling_until - config.dense_share, 1e-9)
    fallen = min(1.0, (share - config.dense_share) / length)
    due = round(config.top_start + (config.top_end - config.top_start) * fallen)
    least = min(config.top_least, due)
    draw = draw_of(seed, step + 1)
    return int(torch.randint(least, due + 1, (), generator=draw))
