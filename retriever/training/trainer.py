"""The training loop: batches in, a model folder out.

`train` is the whole of a training. A step scores all queries of a batch against all its passages,
compares the scores with those of the teachers, and adds a penalty for every term a passage uses.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tamis.retriever.models.sentence_transformers_folder import (
    check_representable,
    write_sparse_encoder,
)
from tamis.retriever.training.checkpoints import (
    draft_checkpoint,
    load_checkpoint,
    publish_checkpoint,
    restoring,
    whole_tensors,
)
from tamis.retriever.training.data.training_data import TrainingData, load_or_prepare
from tamis.retriever.training.export import export_model
from tamis.retriever.training.gradcache import BatchEncoder, TextSide
from tamis.retriever.training.health import check_finite, check_health, check_weights
from tamis.retriever.training.log import Log, open_boards
from tamis.retriever.training.mining import HARD, flatten, mine, unflatten
from tamis.retriever.training.objective import Objective
from tamis.retriever.training.optimiser import Optimiser
from tamis.retriever.training.processes import Processes
from tamis.retriever.training.records import identity
from tamis.retriever.training.resuming import adjustable, changes, settings_digest
from tamis.retriever.training.student import Student, base_table, load_student
from tamis.retriever.training.training_set import TrainingSet
from tamis.retriever.training.validation import DevRanking, Point, best_point, means, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tamis.retriever.training.batches import Batch
    from tamis.retriever.training.config import TrainingConfig

DEV_TERMS = (100, 200)
DEV_CHANNELS = (0.0, 0.2, 0.5, 1.0)  # weights of the words tried at each validation
CHECKPOINT = "checkpoint"
MODEL = "model"
SPARSE_ENCODER = "sentence-transformers"


def train(
    config: TrainingConfig,
    root: Path,
    *,
    resume: bool = False,
    device: str | None = None,
    report: Callable[[dict[str, Any]], None] = lambda line: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Train a model and return its folder, which `tamis.retriever.load_encoder` reads.

    Args:
        config: what to do.
        root: folder that the paths of data start from.
        resume: go on from the checkpoint in ``config.run.out``.
        device: such as ``cpu`` or ``cuda:0``; None takes CUDA where there is a device.
        report: called with each line of the log.
        progress: called after each step with the steps done and all.

    Raises:
        InputError: a source, the base model or the device is not there, or there is too little
            data for a batch.
        FormatError, MismatchError: prepared data or a checkpoint is not this configuration's.
        TrainingError: the loss is not a number, or vectors vanish or become one; see `health`. The
            last checkpoint is of before.
    """
    processes = Processes.started(device)
    student = load_student(config, processes.device)
    if config.run.sentence_transformers:
        for model in student.models:
            check_representable(model.side)
    folder = Path(config.data.prepared)
    prepare = partial(
        load_or_prepare, config.data, student.tokenizer, root, folder, config.run.seed
    )
    if processes.count > 1:
        processes.from_first(lambda: bool(prepare()))  # the others find it made
    trainer = Trainer(config, student, prepare(), report, processes)
    if resume:
        trainer.resume()
    trainer.run(progress if processes.is_first else lambda done, total: None)
    return trainer.export()


class Trainer:
    """A training in progress.

    Attributes:
        step: batches done.
        student: the model being trained.
        optimiser: its updates and averaged weights.
        objective: what is minimised.
    """

    def __init__(
        self,
        config: TrainingConfig,
        student: Student,
        data: TrainingData,
        report: Callable[[dict[str, Any]], None] = lambda line: None,
        processes: Processes | None = None,
    ) -> None:
        """Put data, teachers and optimiser where the student is; alone unless told."""
        self.config, self.student, self.step = config, student, 0
        self._device = student.log_channel.device
        self._processes = processes or Processes(0, 1, self._device)
        self._out = Path(config.run.out)
        first = self._processes.is_first
        boards = open_boards(config.run, identity(config)) if first else []
        self._log = Log(self._out, report, boards, writes=first)
        self._data = TrainingSet(data, config, student, self._device)
        if config.model.table_from_base:
            student.start_table(base_table(config.model, student.tokenizer), 1.0)
        else:
            student.start_table(self._data.table, config.model.table_power)
        self._dev = [DevRanking(one, data.words, self._device) for one in data.dev]
        self.optimiser = Optimiser(student, config.optimiser)
        self.objective = Objective(config, self._data, student)
        self._best, self._since_best = -1.0, 0
        self._best_weights: dict[str, torch.Tensor] = {}  # averaged; none before a validation
        self._drafted = False  # a checkpoint waits for the loss of its weights to be finite
        self._line_began = time.perf_counter()
        self._prepare_models()

    def _prepare_models(self) -> None:
        batch = self.config.batch
        self._encoder = BatchEncoder(self.student, self._processes, batch.chunk, batch.recompute)
        models: list[Any] = [one.model for one in self.student.models]
        for one in models:
            if batch.checkpointing:
                checkpoint_activations(one)
            if self.config.run.compiled:
                one.compile(dynamic=True)

    def run(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Train until the last step, or until validation says that it gets no better.

        Args:
            progress: called after each step with the steps done and all.
        """
        run, steps = self.config.run, self.config.optimiser.steps
        if self.step == 0 and self._dev:
            self.validate()  # where it starts from
        if not (self._out / CHECKPOINT).exists():
            self.save()  # what to go on from if the first steps go wrong
        self._line_began = time.perf_counter()
        while self.step < steps:
            self._refresh_negatives()
            self._log.add(self.train_step())
            self.step += 1
            progress(self.step, steps)
            if self.step % run.log_steps == 0:
                self._write_log()
            if self.step % run.dev_steps == 0 and self._dev and self._ends_early():
                break
            if self.step % run.save_steps == 0:
                self.save()
        if self._log.steps:
            self._write_log()
        if self._best_weights and self.step % run.dev_steps:
            self._ends_early()  # the last weights may be the best
        self.save()
        self._check_trained()

    def _refresh_negatives(self) -> None:
        """Mine where it is time to, or where nothing has been mined yet."""
        every, batches = self.config.mining.every, self._data.batches
        due = batches.hard is None or (every and self.step % every == 0)
        if not (self.config.batch.negatives and due):
            return
        with self._autocast():
            mined = self._processes.from_first(
                lambda: [one.cpu() for one in flatten(mine(self.config, self._data, self.student))]
            )
        batches.hard = unflatten([one.to(self._device) for one in mined])

    def train_step(self) -> dict[str, torch.Tensor]:
        """One batch: forward, backward, update; the parts of the loss, left on the device.

        Raises:
            TrainingError: the loss or the gradient is not finite; the weights stay as they were.
        """
        parts = self._make_gradients()
        self._publish()
        self.optimiser.update(self.step)
        return parts

    def _make_gradients(self) -> dict[str, torch.Tensor]:
        """Forward and backward of the step's batch; the parts of the loss."""
        batch = self._data.batches.batch(self.step)
        sides = list(self._sides(batch))
        with self._autocast():
            encoded = [self._encoder.encode(texts, rows) for texts, rows in sides]
            weights = encoded[0].all
            if len(encoded) == 2:
                queries = encoded[1].all
            else:
                queries = self.student.look_up(self._data.queries, batch.queries)
            parts = self.objective(batch, queries, weights, self.step)
            torch.autograd.backward([parts["loss"]])
            for (texts, _), one in zip(sides, encoded, strict=True):
                self._encoder.spread_gradient(texts, one)
        self._processes.share_gradients(self.optimiser.parameters.values())
        parts = {name: part.detach() for name, part in parts.items()}
        parts["gradient"] = self.optimiser.clip()
        check_finite(parts["loss"], parts["gradient"], self.step, remedy=self._remedy())
        return parts

    def _check_trained(self) -> None:
        """Refuse to go on to `export` with weights that give no finite loss, or no vectors."""
        with self.optimiser.averaged():
            check_weights(self.optimiser.parameters.items(), self.step, remedy=self._remedy())
            parts = self._make_gradients()
            check_health({name: float(part) for name, part in parts.items()}, self.step)
        self.optimiser.forget_gradients()
        self._publish()

    def _remedy(self) -> str:
        if (self._out / CHECKPOINT).exists():
            return "lower optimiser.rate and go on from the last checkpoint with --resume"
        return "the weights it began with give none: choose another model.base"

    def _sides(self, batch: Batch) -> Iterator[tuple[TextSide, torch.Tensor]]:
        """What models encode of a batch: passages, and queries unless they are looked up."""
        data, config, student = self._data, self.config.data, self.student
        yield TextSide(student.documents, data.passages, config.passage_tokens), batch.passages
        if student.query_model is not None:
            longest = config.query_tokens + sum(map(len, student.around))
            yield TextSide(student.query_model, data.queries, longest), batch.queries

    def _autocast(self) -> torch.autocast:
        """On a GPU, products in bfloat16; the heads sum in float32."""
        kind = self._device.type
        return torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda")

    def _write_log(self) -> None:
        """Write the means since the last line, check them, steer the penalty."""
        began, self._line_began = self._line_began, time.perf_counter()
        steps, seconds = self._log.steps, self._line_began - began
        seen = self._log.means()
        check_health(seen, self.step)
        self.objective.penalty.steer(seen["terms"], steps)
        student = self.student
        seen |= {
            "strength": self.objective.penalty.strength(self.step),
            "channel": float(student.log_channel.detach().exp()),
            "temperature": float(student.log_temperatures[0].detach().exp()),
            "temperature_alone": float(student.log_temperatures[1].detach().exp()),
            "passages_per_s": steps * self.config.batch.passages / seconds,
            "to_go_s": (self.config.optimiser.steps - self.step) * seconds / steps,
        }
        self._log.write(self.step, self.config.optimiser.steps, seen)

    def _ends_early(self) -> bool:
        """Validate; whether the student has not been better for too long."""
        _, mean = best_point(self.validate()["mean"])
        mean = self._processes.from_first(lambda: mean)
        self._since_best += 1
        if mean > self._best:
            average = self.optimiser.average
            self._best_weights = {name: one.clone() for name, one in average.items()}
            self._best, self._since_best = mean, 0
        patience = self.config.run.patience
        return bool(patience) and self._since_best >= patience

    def validate(self) -> dict[str, dict[str, float]]:
        """nDCG@10 of the averaged weights on the development collections; see `validation`."""
        table = means(self.validate_queries())
        self._log.write_dev(self.step, table)
        return table

    def validate_queries(self) -> dict[str, dict[str, torch.Tensor]]:
        """The same of each query, as `validation.validate` gives it."""
        points = [Point(terms, weight) for terms in DEV_TERMS for weight in DEV_CHANNELS]
        with self.optimiser.averaged(), self._autocast():
            return validate(self.student, self._dev, points, self.config.data.passage_tokens)

    def save(self) -> None:
        """Draft a checkpoint: exact, or portable where the configuration says so.

        It replaces the one before as soon as its weights have given a finite loss.

        Raises:
            TrainingError: weights are not finite, or vectors vanish or become one.
        """
        groups = self._tensors()
        for tensors in groups.values():
            check_weights(tensors.items(), self.step, remedy=self._remedy())
        if self._log.steps:
            check_health(self._log.means(), self.step)
        if self._processes.is_first:
            draft_checkpoint(self._out / CHECKPOINT, groups, self._state())
        self._drafted = True

    def _publish(self) -> None:
        if self._drafted and self._processes.is_first:
            publish_checkpoint(self._out / CHECKPOINT)
        self._drafted = False

    def _tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """What a checkpoint holds, in groups."""
        optimiser = self.optimiser
        if self.config.run.portable:
            kept = {"average": optimiser.average, "best": self._best_weights}
            return {
                group: {name: one.half() for name, one in tensors.items()}
                for group, tensors in kept.items()
            }
        groups = {
            "best": self._best_weights,
            "weights": {name: one.detach() for name, one in optimiser.parameters.items()},
            "average": optimiser.average,
            "optimiser": optimiser.state(),
            "penalty": {"frequency": self.objective.penalty.frequency},
            "log": self._log.sums,
        }
        if self._data.batches.hard is not None:
            groups["negatives"] = dict(zip(HARD, flatten(self._data.batches.hard), strict=True))
        return groups

    @torch.no_grad()
    def resume(self) -> None:
        """Go on from the checkpoint in the output folder; the log tells what is set otherwise.

        Raises:
            FormatError: there is none, or one that lacks something.
            MismatchError: another configuration wrote it.
        """
        pieces, state = load_checkpoint(self._out / CHECKPOINT, settings_digest(self.config))
        with restoring(self._out / CHECKPOINT):
            self._restore({name: whole_tensors(part) for name, part in pieces.items()}, state)
            changed = changes(state["adjustable"], adjustable(self.config))
        if changed:
            self._log.write_changes(self.step, changed)

    def _restore(self, groups: dict[str, dict[str, torch.Tensor]], state: dict[str, Any]) -> None:
        optimiser, penalty = self.optimiser, self.objective.penalty
        for name, one in optimiser.parameters.items():
            one.copy_(groups.get("weights", groups["average"])[name])
            optimiser.average[name].copy_(groups["average"][name])
        self.step = optimiser.started_at = state["step"]
        if "optimiser" in groups:
            optimiser.restore(groups["optimiser"])
            optimiser.started_at = state["started_at"]
            penalty.frequency.copy_(groups["penalty"]["frequency"])
            begun = groups.get("log", {})
            self._log.sums = {name: one.to(self._device) for name, one in begun.items()}
        if "negatives" in groups:
            parts = [groups["negatives"][name].to(self._device) for name in HARD]
            self._data.batches.hard = unflatten(parts)
        penalty.steering = state["steering"]
        self.student.first_mass = state["first_mass"]
        self._log.steps = state["log_steps"]
        self._best, self._since_best = state["best"], state["since_best"]
        best = groups.get("best", {})
        self._best_weights = {name: one.to(self._device).float() for name, one in best.items()}

    def _state(self) -> dict[str, Any]:
        return {
            "fingerprint": settings_digest(self.config),
            "adjustable": adjustable(self.config),
            "step": self.step,
            "started_at": self.optimiser.started_at,
            "steering": self.objective.penalty.steering,
            "first_mass": self.student.first_mass,
            "best": self._best,
            "since_best": self._since_best,
            "log_steps": 0 if self.config.run.portable else self._log.steps,
        }

    def export(self) -> Path:
        """Write the model with its averaged weights, of the best validation if any; its folder."""
        folder = self._out / MODEL
        if self._processes.is_first:
            with self.optimiser.averaged(self._best_weights):
                export_model(self.student, folder, name=self._out.name)
            if self.config.run.sentence_transformers:
                write_sparse_encoder(str(folder), self._out / SPARSE_ENCODER)
        return folder


def checkpoint_activations(model: Any) -> None:  # noqa: ANN401  any Hugging Face model
    """Have a model keep the activations between its layers only, and make the others again."""
    newer = getattr(model, "activation_checkpointing_enable", None)  # from transformers 5.20 or so
    enable = newer or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
