"""What a step minimises: distance from the teachers and judgements, and a price on every term."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tamis.retriever.training import losses
from tamis.retriever.training.regularisers import Regulariser, keep_heaviest
from tamis.retriever.training.schedule import terms_kept

if TYPE_CHECKING:
    from tamis.retriever.training.batches import Batch
    from tamis.retriever.training.config import TrainingConfig
    from tamis.retriever.training.student import Scores, Student
    from tamis.retriever.training.training_set import TrainingSet


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
        )

    def __call__(self, batch: Batch, weights: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        """The parts of the loss by name, their weighted sum ``loss``, and the mean of ``terms``.

        Args:
            batch: row numbers.
            weights: [P, V] term weights of the batch's passages.
            step: decides what depends on it.
        """
        words = self._data.words.scores(batch.queries, batch.passages)
        teacher = self._teacher(batch, words)
        parts: dict[str, torch.Tensor] = {}
        for share, scores in self._scores(batch, weights, words, step):
            for name, part in self._distances(scores, teacher, batch.judged).items():
                parts[name] = parts.get(name, 0.0) + share * part
        parts["penalty"] = self.penalty(weights)
        loss = self._config.loss
        prices = {
            "kl": loss.kl,
            "contrastive": loss.contrastive,
            "margin_mse": loss.margin_mse,
            "penalty": self.penalty.strength(step),
        }
        total = sum(price * parts[name] for name, price in prices.items() if name in parts)
        terms = (weights.detach() > 0).float().sum(1).mean()
        return parts | {"loss": torch.as_tensor(total), "terms": terms}

    def _scores(
        self, batch: Batch, weights: torch.Tensor, words: torch.Tensor, step: int
    ) -> list[tuple[float, Scores]]:
        """The student's scores with words and without, and the share of the loss of each."""
        config = self._config
        steps, seed = config.optimiser.steps, config.run.seed
        most = terms_kept(step, steps, config.sparsity, seed)
        kept = weights if most is None else keep_heaviest(weights, most)
        queries = self._student.queries(self._data.queries, batch.queries)
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
        if self._data.dense is not None:
            teachers.append((loss.dense, self._data.dense.scores(batch.queries, batch.passages)))
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
