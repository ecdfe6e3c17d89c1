"""What is drawn at a step: it follows from the seed and the step's number alone."""

from __future__ import annotations

import numpy as np
import torch


def draw_of(seed: int, number: int) -> torch.Generator:
    """A generator on the host for one step of one seed, unlike that of any other.

    Both are mixed into 32 bits, since torch's generator reads no more of its seed.
    """
    (mixed,) = np.random.SeedSequence([seed, number]).generate_state(1)
    return torch.Generator().manual_seed(int(mixed))
