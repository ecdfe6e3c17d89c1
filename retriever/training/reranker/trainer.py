"""Trains a student on lists: sampling, schedule, averaging. Knows nothing of files."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from tamis.retriever.rerank.prompt import Conditioning  # noqa: TC001  recipes read annotations
from tamis.retriever.training.health import check_finite, check_weights
from tamis.retriever.training.records import Later  # noqa: TC001  recipes read annotations
from tamis.retriever.training.reranker.keeping import NOTHING, Kept
from tamis.retriever.training.reranker.objective import list_loss
from tamis.retriever.training.reranker.students import TokenList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from tamis.retriever.training.data.token_rows import TokenRows
    from tamis.retriever.training.reranker.mining import Candidates

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW remembers of a weight


@dataclass(frozen=True)
class ListTraining:
    """How a student is trained.

    Attributes:
        steps: optimiser steps.
        seconds: end after so much time instead, if not None; the schedule follows the clock, and
            no two runs are equal.
        lists: lists a step.
        documents: documents a list, one of them labelled.
        rate: peak learning rate of the encoder.
        new_rate: peak learning rate of parameters that did not come with it.
        warmup: share of the run.
        teacher_share: weight of the teacher's distribution beside the labels. The teacher's scores
            are a weighted sum:
        cosine_weight: weight in it of what the bi-encoder that mined says,
        words_weight: of BM25 (a cosine of 0.1 counts like 6 of BM25),
        model_weight: and of a teacher that reads the list, where there is one.
        average_from: share of the run after which weights are averaged.
        conditionings: drawn from at random, a step each.
        seed: of everything random.
        save_steps: steps between two checkpoints.
    """

    steps: int = 2000
    seconds: float | None = None
    lists: int = 64
    documents: int = 16
    rate: float = 8e-5
    new_rate: float = 1e-3
    warmup: float = 0.06
    teacher_share: float = 0.25
    cosine_weight: float = 16.0
    words_weight: float = 0.25
    model_weight: float = 1.0
    average_from: float = 0.7
    conditionings: tuple[Conditioning, ...] = ("query", "none")
    seed: int = 0
    save_steps: Later[int] = 500


class ListData(NamedTuple):
    """What lists are drawn from.

    Attributes:
        queries: their ids.
        passages: their ids.
        candidates: of each query.
        weights: ``[queries]`` how often each is drawn.
    """

    queries: TokenRows
    passages: TokenRows
    candidates: Candidates
    weights: NDArray[np.float64]


class ListBatch(NamedTuple):
    """One step's lists on the host; ``taught`` is what a teacher that is a model reads."""

    packed: Any
    positive: torch.Tensor  # [lists, documents] bool
    teacher: torch.Tensor  # [lists, documents] float32
    conditioning: Conditioning
    taught: Any = None


class ListTrainer:
    """Trains one student.

    Attributes:
        student: what is trained; its weights are the averaged ones after `run`.
        config: how.
    """

    def __init__(
        self,
        student: Any,  # noqa: ANN401  a student
        data: ListData,
        config: ListTraining,
        new: tuple[str, ...],
        teacher: Any = None,  # noqa: ANN401  a student
        next_token: float = 0.0,
    ) -> None:
        """Prepare the optimiser.

        Args:
            student: what to train; see `students`.
            data: what lists are drawn from.
            config: how to train.
            new: beginnings of the names of parameters that train at `ListTraining.new_rate`.
            teacher: a trained student whose scores are taught beside those that were mined. It
                scores each list as it is drawn.
            next_token: weight of the loss of what a `DecoderStudent` says after the query, beside
                the list's.
        """
        self.student, self.config, self._data = student, config, data
        self._teacher, self._next_token = teacher, next_token
        self._device = next(student.parameters()).device
        self._chance = np.cumsum(data.weights / data.weights.sum())
        named = [(n, p) for n, p in student.named_parameters() if p.requires_grad]
        fresh = [p for n, p in named if n.startswith(new)]
        rest = [p for n, p in named if not n.startswith(new)]
        groups = [{"params": rest, "peak": config.rate}, {"params": fresh, "peak": config.new_rate}]
        cuda = self._device.type == "cuda"
        self._optimiser = torch.optim.AdamW(groups, lr=0.0, weight_decay=0.01, fused=cuda)
        self._sums: list[torch.Tensor] = []
        self._averaged = self._first = 0
        self._spent_s = 0.0
        self._drafted = False  # a checkpoint waits for the loss of its weights to be finite

    def run(self, report: Callable[[dict[str, Any]], None], kept: Kept = NOTHING) -> None:
        """Train to the end, from the checkpoint that is kept if there is one.

        Args:
            report: called every 50 steps.
            kept: where checkpoints go.

        Raises:
            TrainingError: loss, gradient or weights are not finite; the checkpoint is of before.
            FormatError, MismatchError: what is kept is of another training.
        """
        if kept.exists and kept.restore(self._take):
            return
        began = perf_counter() - self._spent_s
        for step, batch in enumerate(self._batches(self._first), self._first):
            self._spent_s = perf_counter() - began
            share = self._share(step)
            if share >= 1:
                break
            if (step % self.config.save_steps == 0 and step > self._first) or not kept.exists:
                self._draft(kept, step)
            loss = self._step(batch, share, step, kept)
            if share >= self.config.average_from:
                self._add_to_average()
            if step % 50 == 0:
                seconds = round(self._spent_s, 1)
                report({"step": step, "loss": round(loss.item(), 4), "seconds": seconds})
        self._finish(kept)

    def _share(self, step: int) -> float:
        if self.config.seconds is not None:
            return self._spent_s / self.config.seconds
        return step / self.config.steps

    def _step(self, batch: ListBatch, share: float, step: int, kept: Kept) -> torch.Tensor:
        warmup = self.config.warmup
        factor = min(share / warmup + 0.02, (1 - share) / (1 - warmup))
        for group in self._optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        loss = self._loss(batch)
        torch.autograd.backward(loss)
        gradient = torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        check_finite(loss, gradient, step, remedy=_remedy(kept))
        if self._drafted:
            kept.publish()
            self._drafted = False
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    def _loss(self, batch: ListBatch) -> torch.Tensor:
        positive, teacher = (t.to(self._device, non_blocking=True) for t in batch[1:3])
        said: torch.Tensor | float = 0.0
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._on_cuda):
            if self._teacher is not None:
                read = self._read(batch.taught).view(teacher.shape)
                teacher = teacher + self.config.model_weight * read
            if self._next_token:
                scores, said = self.student.scores_and_answers(batch.packed)
            else:
                scores = self.student.scores(batch.packed)
        scores = scores.view(positive.shape).float()
        loss = list_loss(scores, positive, teacher, self.config.teacher_share)
        return loss + self._next_token * said

    @torch.no_grad()
    def _read(self, taught: Any) -> torch.Tensor:  # noqa: ANN401  what the teacher packed
        scores: torch.Tensor = self._teacher.scores(taught).float()
        return scores

    @property
    def _on_cuda(self) -> bool:
        return bool(self._device.type == "cuda")

    def _batches(self, step: int) -> Iterator[ListBatch]:
        """Batches from a step on, packed ahead by other threads; the seed decides their order."""
        with ThreadPoolExecutor(4) as pool:
            ahead: deque[Future[ListBatch]] = deque()
            while True:
                while len(ahead) < 8:
                    ahead.append(pool.submit(self._draw, step))
                    step += 1
                yield ahead.popleft().result()

    def _draw(self, step: int) -> ListBatch:
        config, data = self.config, self._data
        generator = np.random.default_rng([config.seed, step])
        queries = np.searchsorted(self._chance, generator.random(config.lists), side="right")
        conditioning = config.conditionings[step % len(config.conditionings)]
        lists, positive, teacher = [], [], []
        for query in queries.tolist():
            columns = self._columns(query, generator)
            passages = data.candidates.passages[query, columns].tolist()
            documents = [data.passages.row(passage).tolist() for passage in passages]
            hits = np.flatnonzero(columns == 0).tolist()
            labelled = hits[0] if hits else None
            lists.append(TokenList(data.queries.row(query).tolist(), documents, labelled))
            positive.append(columns == 0)
            teacher.append(self._mined(query, columns))
        packed = self.student.pack(lists, conditioning)
        taught = None if self._teacher is None else self._teacher.pack(lists, conditioning)
        marks, mined = torch.from_numpy(np.stack(positive)), torch.from_numpy(np.stack(teacher))
        return ListBatch(packed, marks, mined, conditioning, taught)

    def _mined(self, query: int, columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """What the two that mined say of candidates."""
        config, found = self.config, self._data.candidates
        cosine, words = found.cosine[query, columns], found.words[query, columns]
        mixed: NDArray[np.float32] = config.cosine_weight * cosine + config.words_weight * words
        return mixed

    def _columns(self, query: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Candidates of one list, in random order; the labelled one (column 0) is among them."""
        found = self._data.candidates.passages[query]
        labelled = int(found[0] >= 0)
        others = generator.choice(len(found) - 1, self.config.documents - labelled, replace=False)
        columns = np.concatenate([np.zeros(labelled, np.int64), others + 1])
        generator.shuffle(columns)
        return columns

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        return {n: p for n, p in self.student.named_parameters() if p.requires_grad}

    def _draft(self, kept: Kept, step: int) -> None:
        """Draft a checkpoint of the weights before a step.

        Raises:
            TrainingError: they are not finite.
        """
        trained = self._trained()
        check_weights(trained.items(), step, remedy=_remedy(kept))
        groups = {
            "weights": {name: one.detach() for name, one in trained.items()},
            "sums": dict(zip(trained, self._sums, strict=False)),
            **{f"optimiser.{of}": self._moments(of) for of in MOMENTS},
        }
        state = {"step": step, "averaged": self._averaged, "spent_s": self._spent_s}
        kept.draft(groups, state | {"finished": False})
        self._drafted = True

    def _finish(self, kept: Kept) -> None:
        """Let the weights be their average, and keep them."""
        self._take_average()
        trained = self._trained()
        check_weights(trained.items(), self.config.steps, remedy=_remedy(kept))
        weights = {name: one.detach() for name, one in trained.items()}
        kept.draft({"weights": weights}, {"step": self.config.steps, "finished": True})
        kept.publish()

    def _moments(self, of: str) -> dict[str, torch.Tensor]:
        """What the optimiser remembers of each weight that has had a gradient."""
        states = {name: self._optimiser.state[one] for name, one in self._trained().items()}
        return {name: state[of] for name, state in states.items() if of in state}

    @torch.no_grad()
    def _take(self, groups: dict[str, dict[str, torch.Tensor]], state: dict[str, Any]) -> bool:
        """Go on from what is kept; whether that training had ended."""
        trained = self._trained()
        for name, one in trained.items():
            one.copy_(groups["weights"][name])
        if state["finished"]:
            return True
        self._first, self._spent_s = state["step"], state["spent_s"]
        self._averaged = state["averaged"]
        sums = groups.get("sums", {})
        self._sums = [sums[name].to(self._device) for name in trained if self._averaged]
        for of in MOMENTS:
            for name, value in groups.get(f"optimiser.{of}", {}).items():
                self._optimiser.state[trained[name]][of] = value.to(self._device)
        return False

    def _add_to_average(self) -> None:
        weights = [p.detach() for p in self._trained().values()]
        if not self._sums:
            self._sums = [torch.zeros_like(w, dtype=torch.float32) for w in weights]
        torch._foreach_add_(self._sums, weights)
        self._averaged += 1

    @torch.no_grad()
    def _take_average(self) -> None:
        if self._averaged:
            for weight, total in zip(self._trained().values(), self._sums, strict=True):
                weight.copy_(total / self._averaged)


def _remedy(kept: Kept) -> str:
    if kept.exists:
        return "lower rate and new_rate and go on from the last checkpoint with --resume"
    return "the weights it began with give none: choose another base, or lower rate and new_rate"
