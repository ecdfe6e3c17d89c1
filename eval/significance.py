"""Is one system better than another, or was it luck? Per-query values in, p-values out.

The paired randomisation test and percentile bootstrap as recommended for retrieval by Smucker,
Allan and Carterette (CIKM 2007); Holm's step-down correction (1979) for many comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

EXACT_UP_TO = 16  # queries: 2**16 sign patterns are enumerated
_CHUNK_VALUES = 1 << 22  # float64 values held at once, 32 MiB


@dataclass(frozen=True, slots=True)
class Comparison:
    """A system against a baseline on the same queries.

    Attributes:
        difference: mean of system minus baseline.
        low: lower end of the 95 % bootstrap interval of the difference.
        high: its upper end.
        p: of the two-sided paired randomisation test.
        wins: queries on which the system is better.
        losses: queries on which it is worse.
        ties: the others.
    """

    difference: float
    low: float
    high: float
    p: float
    wins: int
    losses: int
    ties: int


def compare(
    system: Sequence[float],
    baseline: Sequence[float],
    *,
    seed: int = 0,
    samples: int = 10_000,
) -> Comparison:
    """Compare the per-query values of two systems.

    Args:
        system: value of each query.
        baseline: value of the same queries in the same order.
        seed: of both resamplings.
        samples: sign patterns and bootstrap samples to draw.

    Raises:
        InputError: the lengths differ or there is no query.
    """
    if len(system) != len(baseline) or not len(system):
        raise InputError(
            f"expected values of the same queries, found {len(system)} and {len(baseline)}; "
            "evaluate both systems on the same queries"
        )
    differences = np.asarray(system, np.float64) - np.asarray(baseline, np.float64)
    low, high = bootstrap_interval(differences, seed=seed, samples=samples)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return Comparison(
        float(differences.mean()),
        low,
        high,
        randomisation_test(differences, seed=seed, samples=samples),
        wins,
        losses,
        len(differences) - wins - losses,
    )


def randomisation_test(
    differences: NDArray[np.float64], *, seed: int = 0, samples: int = 10_000
) -> float:
    """Two-sided p-value of the mean difference under random swaps of the two systems.

    Each query's sign is flipped with probability one half. Up to 16 queries that differ, all sign
    patterns are enumerated; beyond, ``samples`` are drawn and the observed one counts as one more,
    so the p-value is never 0.
    """
    moving = differences[differences != 0]
    if not moving.size:
        return 1.0
    observed = abs(moving.sum()) * (1 - 1e-12)  # a pattern equal but for rounding counts
    if moving.size <= EXACT_UP_TO:
        patterns = np.arange(2**moving.size)[:, None] >> np.arange(moving.size) & 1
        return float((np.abs((patterns * 2 - 1) @ moving) >= observed).mean())
    random = np.random.default_rng(seed)
    extreme = 0
    for size in _chunks(samples, moving.size):
        signs = random.integers(0, 2, (size, moving.size), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ moving) >= observed).sum())
    return (extreme + 1) / (samples + 1)


def bootstrap_interval(
    values: NDArray[np.float64],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    samples: int = 10_000,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over queries."""
    random = np.random.default_rng(seed)
    means = np.concatenate(
        [
            values[random.integers(0, len(values), (size, len(values)))].mean(axis=1)
            for size in _chunks(samples, len(values))
        ]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number by Holm's step-down method, in the order given."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in corrected]


def _chunks(samples: int, width: int) -> list[int]:
    step = max(1, _CHUNK_VALUES // width)
    return [min(step, samples - start) for start in range(0, samples, step)]
