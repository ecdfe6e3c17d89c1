"""Every step of every seed draws something of its own, and the same each time."""

import torch

from tamis.retriever.training.draws import draw_of


def drawn(seed, number):
    return tuple(torch.randint(1 << 30, (4,), generator=draw_of(seed, number)).tolist())


def test_seeds_and_steps_draw_differently():
    pairs = [(seed, number) for seed in range(5) for number in range(40)]
    assert len({drawn(*pair) for pair in pairs}) == len(pairs)


def test_the_same_step_draws_the_same():
    assert drawn(3, 7) == drawn(3, 7)
