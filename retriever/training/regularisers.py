"""What keeps vectors sparse: penalties on a batch of term weights [N, V], and their schedules."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from tamis.retriever.training.config import Penalty

FREQUENT = 0.1  # alpha of DF-FLOPS: a term in this share of the documents has half its weight
STEEP = 10.0  # beta of DF-FLOPS
MEMORY = 0.99  # of the running document frequencies
STEERING_RATE = 0.02  # relative change of the steering factor for each e-fold of excess terms
STEERING_RANGE = (0.01, 100.0)


def flops(weights: torch.Tensor) -> torch.Tensor:
    """Sum over terms of the squared mean weight (Paria et al., ICLR 2020)."""
    return weights.mean(0).square().sum()


def l1(weights: torch.Tensor) -> torch.Tensor:
    """Mean over documents of the sum of weights."""
    return weights.sum(1).mean()


def df_flops(weights: torch.Tensor, frequency: torch.Tensor) -> torch.Tensor:
    """FLOPS in which each term's mean weight is multiplied by how common the term is.

    Porco et al., DF-FLOPS (SIGIR 2025): terms in few documents cost nearly nothing.

    Args:
        weights: [N, V].
        frequency: [V], share of the collection's documents that hold each term, 0 to 1.
    """
    return (weights.mean(0) * commonness(frequency)).square().sum()


def idf_flops(weights: torch.Tensor, idf: torch.Tensor) -> torch.Tensor:
    """FLOPS in which each term's mean weight is divided by its inverse document frequency.

    Geng et al., arXiv 2411.04403: where queries weigh terms by their IDF, what a document pays for
    a term of low IDF is dear.

    Args:
        weights: [N, V].
        idf: [V], above zero.
    """
    return (weights.mean(0) / idf).square().sum()


def commonness(frequency: torch.Tensor) -> torch.Tensor:
    """``1 / (1 + (x ** log_a(2) - 1) ** b)``: from 0 for rare terms to 1 for terms in all texts.

    At x = a it is one half.
    """
    power = math.log(2) / math.log(FREQUENT)
    base = frequency.clamp(1e-6, 1.0).pow(power) - 1
    return 1 / (1 + base.clamp(min=0).pow(STEEP))


def pair_flops(queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
    """Expected multiplications of a query and a document, softened: sum of mean times mean.

    Args:
        queries: [Q, V] weights.
        documents: [N, V] weights.
    """
    return (queries.mean(0) * documents.mean(0)).sum()


def anti_zero(weights: torch.Tensor) -> torch.Tensor:
    """One over the squared sum of all weights: keeps a batch from vanishing."""
    return 1 / weights.sum().square().clamp(min=1e-12)


def mask_sparse(weights: torch.Tensor, most: int) -> torch.Tensor:
    """The batch with documents of at most ``most`` terms set to 0, so that they cost nothing.

    The l0 mask of arXiv 2504.14839.
    """
    many = (weights > 0).sum(1, keepdim=True) > most
    return weights * many


def quadratic_growth(step: int, warmup_steps: int) -> float:
    """``min(1, (step / warmup) ** 2)``, from the global step, so that resuming continues it."""
    return 1.0 if warmup_steps <= 0 else min(1.0, (step / warmup_steps) ** 2)


def keep_heaviest(weights: torch.Tensor, most: int) -> torch.Tensor:
    """Each row's ``most`` heaviest terms, the rest 0; the gradient reaches all terms.

    A straight-through estimator: a term that was cut can still grow into the row.
    """
    if most >= weights.shape[1]:
        return weights
    least = weights.detach().topk(most, dim=1).values[:, -1:]
    cut = torch.where(weights.detach() >= least, 0.0, weights.detach())
    return weights - cut


@dataclass
class Regulariser:
    """A penalty with its memory: how common terms are, and how hard it has been steered.

    Its scope is the batch that it is called with: all of it, however it was encoded.

    Attributes:
        kind: which penalty.
        weight: largest weight.
        warmup_steps: until it is reached.
        l0_mask: documents with at most this many terms cost nothing.
        target_terms: the steering factor rises while documents have more terms; 0 never steers.
        steering: factor on the weight.
        frequency: [V] running share of documents that hold each term.
        idf: [V] inverse document frequency of each term in the training passages, above zero.
    """

    kind: Penalty
    weight: float
    warmup_steps: int
    l0_mask: int
    target_terms: int
    frequency: torch.Tensor
    idf: torch.Tensor
    steering: float = 1.0

    def remember(self, documents: torch.Tensor) -> None:
        """Update the document frequencies with a batch [N, V]."""
        share = (documents.detach() > 0).float().mean(0)
        self.frequency.lerp_(share, 1 - MEMORY)

    def __call__(self, weights: torch.Tensor) -> torch.Tensor:
        """The penalty of a batch [N, V], before its weight."""
        counted = mask_sparse(weights, self.l0_mask) if self.l0_mask else weights
        if self.kind is Penalty.L1:
            return l1(counted)
        if self.kind is Penalty.DF_FLOPS:
            return df_flops(counted, self.frequency)
        if self.kind is Penalty.IDF_FLOPS:
            return idf_flops(counted, self.idf)
        return flops(counted)

    def growth(self, step: int) -> float:
        """The share of a penalty's weight that counts at a step."""
        return quadratic_growth(step, self.warmup_steps)

    def strength(self, step: int) -> float:
        """The weight of the penalty at a step."""
        return self.weight * self.steering * self.growth(step)

    def steer(self, terms: float, steps: int) -> None:
        """Follow the target, given the mean number of terms over the last ``steps`` steps."""
        if self.target_terms:
            excess = math.log(max(terms, 1.0) / self.target_terms)
            least, most = STEERING_RANGE
            factor = math.exp(STEERING_RATE * steps * max(-1.0, min(1.0, excess)))
            self.steering = max(least, min(most, self.steering * factor))
