"""From attention to scores: how much of the signal tokens' attention each document draws."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Readout:
    """How the log attention mass of one list becomes scores.

    Without ``heads`` a score is the share of attention of BlockRank (Gupta et al., 2025, section
    3.3): a softmax over all documents' tokens, summed by document, averaged over heads and signal
    tokens; the scores of a list sum to 1. With ``heads`` it is a weighted sum of log masses, which
    needs no other document: lists may be split and merged.

    Attributes:
        heads: weight of each head.
        length: weight of the log of a document's tokens, taken off: 1 for the mean instead of the
            sum over tokens.
        prior: weight of the first stage's standardised scores, where they are given.
        null: weight of what each document scores under a query that asks nothing, taken off: some
            documents draw attention whatever is asked (Chen et al., ICLR 2025, section 3.2). With
            ``heads`` the difference is the log of a ratio of masses. Takes a second forward.
    """

    heads: tuple[float, ...] | None = None
    length: float = 0.0
    prior: float = 0.0
    null: float = 0.0

    def scores(self, mass: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The scores ``[documents]`` float32 of one list.

        Args:
            mass: ``[documents, signals, heads]`` log mass.
            lengths: ``[documents]`` tokens.
        """
        mass = mass - self.length * lengths.float().log()[:, None, None]
        if self.heads is None:
            return mass.softmax(0).mean((1, 2))
        return (mass @ torch.tensor(self.heads, device=mass.device)).mean(1)

    def with_prior(self, scores: torch.Tensor, first_stage: torch.Tensor) -> torch.Tensor:
        """Scores and the first stage's, ``[documents]`` both, as one; shares go by their log.

        Shares from which others were taken off may be negative and go as they are.
        """
        if self.heads is None and not self.null:
            scores = scores.clamp_min(torch.finfo(scores.dtype).tiny).log()
        return scores + self.prior * standardised(first_stage)


def standardised(scores: torch.Tensor) -> torch.Tensor:
    """Scores of one list with mean 0 and deviation 1; zeros where all are equal."""
    spread = scores.std(unbiased=False)
    return (scores - scores.mean()) / spread if spread > 0 else torch.zeros_like(scores)


SHARE = Readout()  # of a model that was not trained for another
