"""The training loop: batches in, a model folder out.

`train` is the whole of a training. A step scores all queries of a batch against all its passages,
compares the scores with those of the teachers, and adds a penalty for every term a passage uses.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tamis.index.errors import TamisError
from tamis.retriever.training.encoding import encode_passages, spread_gradient
from tamis.retriever.training.export import export_model
from tamis.retriever.training.legs import load_checkpoint, save_checkpoint, whole_tensors
from tamis.retriever.training.log import Log
from tamis.retriever.training.objective import Objective
from tamis.retriever.training.optimiser import Optimiser
from tamis.retriever.training.prepared import TrainingData, load_or_prepare
from tamis.retriever.training.student import Student, load_student
from tamis.retriever.training.training_set import TrainingSet
from tamis.retriever.training.validation import DevRanking, Point, validate

if TYPE_CHECKING:
    from collections.abc import Callable

    from tamis.retriever.training.config import TrainingConfig

DEV_TERMS = (100, 200)
DEV_CHANNELS = (0.0, 0.2, 0.5, 1.0)  # weights of the words tried at each validation
CHECKPOINT = "checkpoint"
MODEL = "model"


class TrainingError(TamisError):
    """A training that went wrong: not a number, or vectors that vanished."""

    code = "training_failed"


def train(
    config: TrainingConfig,
    root: Path,
    *,
    resume: bool = False,
    device: str | None = None,
    report: Callable[[dict[str, Any]], None] = lambda line: None,
) -> Path:
    """Train a model and return its folder, which `tamis.retriever.load_encoder` reads.

    Args:
        config: what to do.
        root: folder that the paths of data start from.
        resume: go on from the checkpoint in ``config.run.out``.
        device: such as ``cpu`` or ``cuda:0``; None takes CUDA where there is a device.
        report: called with each line of the log.

    Raises:
        InputError: a source, the base model or the device is not there, or there is too little
            data for a batch.
        FormatError, MismatchError: prepared data or a checkpoint is not this configuration's.
        TrainingError: the loss is not a number, or all vectors are empty.
    """
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    student = load_student(config, chosen)
    folder = Path(config.data.prepared)
    data = load_or_prepare(config.data, student.tokenizer, root, folder, config.run.seed)
    trainer = Trainer(config, student, data, report)
    if resume:
        trainer.resume()
    trainer.run()
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
    ) -> None:
        """Put data, teachers and optimiser where the student is."""
        self.config, self.student, self.step = config, student, 0
        self._device = student.log_channel.device
        self._out = Path(config.run.out)
        self._log = Log(self._out, report, tensorboard=config.run.tensorboard)
        self._data = TrainingSet(data, config, student, self._device)
        student.start_table(self._data.table)
        self._dev = [DevRanking(one, data.words, self._device) for one in data.dev]
        self.optimiser = Optimiser(student, config.optimiser)
        self.objective = Objective(config, self._data, student)
        self._best, self._since_best = -1.0, 0
        if config.run.compiled:
            student.documents.model.compile(dynamic=True)

    def run(self) -> None:
        """Train until the last step, or until validation says that it gets no better."""
        run = self.config.run
        if self.step == 0 and self._dev:
            self.validate()  # where it starts from
        clock = time.perf_counter()
        while self.step < self.config.optimiser.steps:
            self._log.add(self.train_step())
            self.step += 1
            if self.step % run.log_steps == 0:
                clock, seconds = time.perf_counter(), time.perf_counter() - clock
                self._write_log(seconds)
            if self.step % run.dev_steps == 0 and self._dev and self._ends_early():
                break
            if self.step % run.save_steps == 0:
                self.save()
        self.save()

    def train_step(self) -> dict[str, torch.Tensor]:
        """One batch: forward, backward, update; the parts of the loss, left on the device."""
        batch = self._data.batches.batch(self.step)
        texts = (self._data.passages, batch.passages)
        sizes = (self.config.batch, self.config.data)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            weights, chunks = encode_passages(self.student, *texts, *sizes)
            parts = self.objective(batch, weights, self.step)
            torch.autograd.backward([parts["loss"]])
            if self.config.batch.recompute:
                spread_gradient(self.student, self._data.passages, chunks, weights)
        parts = {name: part.detach() for name, part in parts.items()}
        return parts | {"gradient": self.optimiser.update(self.step)}

    def _write_log(self, seconds: float) -> None:
        """Write the means since the last line, check them, steer the penalty."""
        steps = self.config.run.log_steps
        means = self._log.means(steps)
        self._check(means)
        self.objective.penalty.steer(means["terms"], steps)
        student = self.student
        means |= {
            "strength": self.objective.penalty.strength(self.step),
            "channel": float(student.log_channel.detach().exp()),
            "temperature": float(student.log_temperatures[0].detach().exp()),
            "temperature_alone": float(student.log_temperatures[1].detach().exp()),
            "passages_per_s": steps * self.config.batch.passages / seconds,
        }
        self._log.write(self.step, self.config.optimiser.steps, means)

    def _check(self, means: dict[str, float]) -> None:
        """Stop a training that has gone wrong.

        Raises:
            TrainingError: the loss is not a number, or vectors are empty.
        """
        if not all(map(math.isfinite, means.values())):
            raise TrainingError(
                f"step {self.step}: expected finite losses, found {means}; lower optimiser.rate "
                "and go on from the last checkpoint with --resume"
            )
        if means["terms"] == 0:
            raise TrainingError(
                f"step {self.step}: expected documents with terms, found none in "
                f"{self.config.run.log_steps} batches; lower sparsity.weight or optimiser.rate"
            )

    def _ends_early(self) -> bool:
        """Validate; whether it has not been better for too long."""
        mean = max(self.validate()["mean"].values())
        self._since_best = 0 if mean > self._best else self._since_best + 1
        self._best = max(self._best, mean)
        patience = self.config.run.patience
        return bool(patience) and self._since_best >= patience

    def validate(self) -> dict[str, dict[str, float]]:
        """nDCG@10 of the averaged weights on the development collections; see `validation`."""
        points = [Point(terms, weight) for terms in DEV_TERMS for weight in DEV_CHANNELS]
        on_gpu = self._device.type == "cuda"
        with (
            self.optimiser.averaged(),
            torch.autocast(self._device.type, torch.bfloat16, enabled=on_gpu),
        ):
            table = validate(self.student, self._dev, points, self.config.data.passage_tokens)
        self._log.write_dev(self.step, table)
        return table

    def save(self) -> None:
        """Write a checkpoint: exact, or portable where the configuration says so."""
        optimiser, state = self.optimiser, self._state()
        if self.config.run.portable:
            halves = {name: one.half() for name, one in optimiser.average.items()}
            groups = {"average": halves}
        else:
            weights = {name: one.detach() for name, one in optimiser.parameters.items()}
            groups = {
                "weights": weights,
                "average": optimiser.average,
                "optimiser": optimiser.state(),
                "penalty": {"frequency": self.objective.penalty.frequency},
            }
        save_checkpoint(self._out / CHECKPOINT, groups, state)

    @torch.no_grad()
    def resume(self) -> None:
        """Go on from the checkpoint in the output folder.

        Raises:
            FormatError: there is none.
            MismatchError: another configuration wrote it.
        """
        pieces, state = load_checkpoint(self._out / CHECKPOINT, fingerprint(self.config))
        groups = {name: whole_tensors(part) for name, part in pieces.items()}
        optimiser, penalty = self.optimiser, self.objective.penalty
        for name, one in optimiser.parameters.items():
            one.copy_(groups.get("weights", groups["average"])[name])
            optimiser.average[name].copy_(groups["average"][name])
        self.step = optimiser.started_at = state["step"]
        if "optimiser" in groups:
            optimiser.restore(groups["optimiser"])
            optimiser.started_at = state["started_at"]
            penalty.frequency.copy_(groups["penalty"]["frequency"])
        penalty.steering = state["steering"]
        self._best, self._since_best = state["best"], state["since_best"]

    def _state(self) -> dict[str, Any]:
        return {
            "fingerprint": fingerprint(self.config),
            "step": self.step,
            "started_at": self.optimiser.started_at,
            "steering": self.objective.penalty.steering,
            "best": self._best,
            "since_best": self._since_best,
        }

    def export(self) -> Path:
        """Write the model with its averaged weights; its folder."""
        folder = self._out / MODEL
        with self.optimiser.averaged():
            export_model(self.student, folder, name=self._out.name)
        return folder


def fingerprint(config: TrainingConfig) -> str:
    """A hash of all settings that change what is learned; where files lie plays no part."""
    settings = asdict(config)
    settings["data"]["prepared"] = ""
    del settings["run"]
    seed = config.run.seed
    return hashlib.blake2b(json.dumps([settings, seed]).encode(), digest_size=16).hexdigest()
