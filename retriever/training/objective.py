"""What a step minimises: distance from the teachers and judgements, and a price on every term."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tamis.retriever.training import losses
from tamis.retriever.training.regularisers import Regulariser, anti_zero, keep_heaviest, pair_flops
from tamis.retriever.training.schedule import terms_kept

if TYPE_CHECKING:
    from tamis.retriever.training.batches import Batch
    from tamis.retriever.training.config import TrainingConfig
    from tamis.retriever.training.student import Scores, Student
    from tamis.retriever.training.training_set import TrainingSet

LEAST_IDF = 1e-3


class Objective:
    """The loss of a batch.

    Attributes:
        penalty: the regulariser, with its memory.
    """

    def __init__(self, config: TrainingConfig, data: TrainingSet, student: Student) -> None:
        self._config, self._data, self._student = config, data, student
        sparsity = config.sparsity
        self.penalty = Regulariser(
            kind=sparsity.penalty,
            weight=sparsity.weight,
            warmup_steps=round(sparsity.warmup_share * config.optimiser.steps),
            l0_mask=sparsity.l0_mask,
            target_terms=sparsity.target_terms,
            frequency=torch.zeros_like(data.table),
            idf=data.table.clamp(min=LEAST_IDF),
        )

    def __call__(
        self, batch: Batch, queries: torch.Tensor, weights: torch.Tensor, step: int
    ) -> dict[str, torch.Tensor]:
        """The parts of the loss by name, their weighted sum ``loss``, and what tells of its health.

        Args:
            batch: row numbers.
            queries: [Q, V] term weights of the batch's queries.
            weights: [P, V] of its passages.
            step: decides what depends on it.
        """
        words = self._data.words.scores(batch.queries, batch.passages)
        teacher = self._teacher(batch, words)
        parts: dict[str, torch.Tensor] = {}
        for share, scores in self._scores(batch, queries, weights, words, step):
            for name, part in self._distances(scores, teacher, batch.judged).items():
                parts[name] = parts.get(name, 0.0) + share * part
        self.penalty.remember(weights)
        parts |= self._penalties(queries, weights)
        prices = self._prices(step)
        total = sum(price * parts[name] for name, price in prices.items() if name in parts)
        return parts | {"loss": torch.as_tensor(total)} | health(queries, weights)

    def _prices(self, step: int) -> dict[str, float]:
        """The weight of each part of the loss at a step."""
        loss, sparsity = self._config.loss, self._config.sparsity
        growth = self.penalty.growth(step)
        return {
            "kl": loss.kl,
            "contrastive": loss.contrastive,
            "margin_mse": loss.margin_mse,
            "penalty": self.penalty.strength(step),
            "query_penalty": sparsity.query_weight * growth,
            "pair_penalty": sparsity.pair_weight * growth,
            "anti_zero": sparsity.anti_zero,
        }

    def _penalties(self, queries: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
        sparsity = self._config.sparsity
        parts = {"penalty": self.penalty(weights)}
        if sparsity.query_weight:
            parts["query_penalty"] = self.penalty(queries)
        if sparsity.pair_weight:
            parts["pair_penalty"] = pair_flops(queries, weights)
        if sparsity.anti_zero:
            parts["anti_zero"] = anti_zero(queries) + anti_zero(weights)
        return parts

    def _scores(
        self,
        batch: Batch,
        queries: torch.Tensor,
        weights: torch.Tensor,
        words: torch.Tensor,
        step: int,
    ) -> list[tuple[float, Scores]]:
        """The student's scores with words and without, and the share of the loss of each."""
        config = self._config
        steps, seed = config.optimiser.steps, config.run.seed
        most = terms_kept(step, steps, config.sparsity, seed)
        kept = weights if most is None else keep_heaviest(weights, most)
        learned = self._student.learned(queries, kept)
        alone = 1.0 if config.lexical.weight == 0 else config.lexical.alone
        channels = ((alone, None, None), (1 - alone, words, self._data.words.mass[batch.queries]))
        return [
            (share, self._student.score(queries, learned, scores, mass))
            for share, scores, mass in channels
            if share > 0
        ]

    def _teacher(self, batch: Batch, words: torch.Tensor) -> torch.Tensor:
        """The ensemble's scores [Q, P], times their scale."""
        loss = self._config.loss
        teachers = [(loss.bm25, words)] if loss.bm25 else []
        for weight, teacher in self._data.teachers:
            teachers.append((weight, teacher.scores(batch.queries, batch.passages)))
        if not teachers:
            return loss.scale * loss.judged * batch.judged.float()
        return loss.scale * losses.ensemble(teachers, batch.judged, loss.judged)

    def _distances(
        self, scores: Scores, teacher: torch.Tensor, judged: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        loss = self._config.loss
        parts = {}
        if loss.kl:
            parts["kl"] = losses.kl_divergence(scores.scaled, teacher)
        if loss.contrastive:
            parts["contrastive"] = losses.info_nce(scores.scaled, judged)
        if loss.margin_mse:
            parts["margin_mse"] = losses.margin_mse(scores.scaled, teacher, judged)
        return parts


@torch.no_grad()
def health(queries: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean ``terms`` of documents and queries, and how much documents are the ``same``.

    That is the squared norm of the mean document over the mean squared norm: 1 where all are equal.
    """
    energy = weights.square().sum(1).mean()
    return {
        "terms": (weights > 0).float().sum(1).mean(),
        "query_terms": (queries > 0).float().sum(1).mean(),
        "same": weights.mean(0).square().sum() / energy.clamp(min=1e-12),
    }
