"""What a block reranker learns from: labels and a teacher's scores, list by list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from tamis.retriever.rerank.readout import Readout

if TYPE_CHECKING:
    from tamis.retriever.rerank.layout import BlockLayout
    from tamis.retriever.rerank.prompt import Conditioning


class LearnedReadout(nn.Module):
    """The parameters of a `Readout` of head weights, one set a conditioning."""

    def __init__(self, heads: int, start: float, conditionings: tuple[Conditioning, ...]) -> None:
        """Begin with equal weights ``start`` and with the mean over a document's tokens."""
        super().__init__()
        self.conditionings = conditionings
        self.heads = nn.ParameterDict(
            {name: nn.Parameter(torch.full((heads,), start)) for name in conditionings}
        )
        self.length = nn.ParameterDict(
            {name: nn.Parameter(torch.ones(())) for name in conditionings}
        )

    def forward(
        self,
        mass: torch.Tensor,
        signals: torch.Tensor,
        lengths: torch.Tensor,
        conditioning: str,
    ) -> torch.Tensor:
        """The scores ``[documents]`` of a batch; see `Readout.scores`.

        Args:
            mass: ``[documents, most signals, heads]``, 0 beyond a list's signals.
            signals: ``[documents]``, how many score each document.
            lengths: ``[documents]`` tokens.
            conditioning: which weights.
        """
        heads = self.heads[conditioning]
        real = torch.arange(mass.shape[1], device=mass.device) < signals[:, None]
        scores = ((mass @ heads) * real).sum(1) / signals
        found: torch.Tensor = scores - self.length[conditioning] * heads.sum() * lengths.log()
        return found

    def settings(self) -> dict[Conditioning, Readout]:
        """What `reranker.json` stores."""
        return {
            name: Readout(tuple(self.heads[name].tolist()), float(self.length[name].item()))
            for name in self.conditionings
        }


def list_loss(
    scores: torch.Tensor, positive: torch.Tensor, teacher: torch.Tensor, share: float
) -> torch.Tensor:
    """Cross-entropy of each list with its labels, softened by a teacher; the mean over lists.

    Args:
        scores: ``[lists, documents]``.
        positive: the same shape, bool; a list without any learns from the teacher alone.
        teacher: the same shape, the teacher's logits.
        share: weight of the teacher where there are labels.
    """
    labelled = positive.any(1, keepdim=True)
    labels = positive / positive.sum(1, keepdim=True).clamp_min(1)
    soft = teacher.softmax(1)
    wanted = torch.where(labelled, (1 - share) * labels + share * soft, soft)
    return -(wanted * scores.log_softmax(1)).sum(1).mean()


def next_token_loss(states: torch.Tensor, layout: BlockLayout, head: nn.Module) -> torch.Tensor:
    """Cross-entropy of each list's answer, token by token; the mean over all of a batch.

    Args:
        states: ``[tokens, D]``, the last hidden states.
        layout: of the batch, which has answers.
        head: from states to logits over the vocabulary; runs on the answers' tokens alone.
    """
    spans = layout.answers.tolist()
    rows = torch.from_numpy(np.concatenate([np.arange(start, stop) for start, stop in spans]))
    said = torch.from_numpy(layout.ids)[rows].to(states.device)
    logits = head(states[(rows - 1).to(states.device)]).float()
    return nn.functional.cross_entropy(logits, said)
