#!/usr/bin/env python
"""Measure encoding, training and exact search on 1, 2, 4 and more GPUs of this machine.

    python scripts/dev/measure_many_gpus.py PASSAGES.jsonl.gz OUT.json --cards 8

PASSAGES has the fields title, section and text. Every process has a card and its own share of the
cores, alone as beside others. OUT is replaced whole after each measurement; one that fails is
named there and the others go on (exit code 1).

- encode: texts to sparse vectors in main memory; the passages again and again, tokenised each time.
- train: steps of the default recipe, on PASSAGES and from the bundled encoder, and their losses.
- search: `tamis bench search --device cuda`, the documents divided between the cards.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import pad

from tamis.eval.provenance import provenance
from tamis.index.files.system import usable_cores
from tamis.retriever.corpus.passages import read_passages
from tamis.retriever.models.encoder import SparseEncoder
from tamis.retriever.training.config import SourceConfig
from tamis.retriever.training.data.training_data import load_or_prepare
from tamis.retriever.training.processes import Processes
from tamis.retriever.training.read_config import read_config
from tamis.retriever.training.student import load_student
from tamis.retriever.training.trainer import Trainer
from tamis.scripts.bench.side_by_side import Worker, together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tamis.retriever.training.config import TrainingConfig
    from tamis.retriever.training.student import Student

RECIPE = Path(__file__).parents[1] / "recipes/training/default.toml"
GATE_TEXTS, TOLD_TEXTS = 48, 2000
SILENT = (2, 4, 8)  # processes that a step's own share is measured of, on one card


@dataclass(frozen=True)
class Plan:
    """What is measured: sizes, and the folder that trainings and indexes are kept in."""

    passages: Path
    folder: Path
    documents: int
    batch: int
    steps: int
    searched: int
    counts: tuple[int, ...]
    limit_s: float  # of each measurement

    @property
    def compared(self) -> int:
        """Steps whose losses are compared; they warm up for those that are timed."""
        return self.steps // 2


class Silent(Processes):
    """The first of several processes, with its share of the work, that exchanges nothing.

    What a step takes so is what is left of it once messages cost nothing.
    """

    __slots__ = ()

    def all_rows(self, own: torch.Tensor, total: int) -> torch.Tensor:
        """Its own rows, and copies of them in place of those of the others."""
        own = pad(own, (0, 0, 0, -(-total // self.count) - len(own)))
        rows = torch.stack([own, *[own.detach()] * (self.count - 1)], 1)
        return rows.reshape(-1, own.shape[1])[:total]

    def share_gradients(self, parameters: object) -> None:
        """Keep them."""

    def from_first(self, made: Callable[[], Any]) -> Any:  # noqa: ANN401  what `made` returns
        """Make it here."""
        return made()


def encode_share(worker: Worker, plan: Plan) -> dict[str, Any]:
    """Encode as many documents as every other card does."""
    texts = [passage.content for passage in read_passages(plan.passages)]
    encoder = SparseEncoder.load(device=worker.device)
    sample = encoder.encode_documents(texts[:GATE_TEXTS]).to_scipy().toarray()
    tokens = np.minimum(encoder.count_tokens(texts[:TOLD_TEXTS]), encoder.description.max_length)
    encoder.encode_documents(texts[: plan.documents // 50])  # to warm up
    worker.start.wait()
    began, busy = time.monotonic(), time.process_time()
    done = nnz = 0
    while done < plan.documents:
        vectors = encoder.encode_documents(texts[: plan.documents - done])
        done, nnz = done + len(vectors), nnz + vectors.nnz
    ended = time.monotonic()
    return {
        "sample": sample,
        "began": began,
        "ended": ended,
        "tokens": float(tokens.mean()),
        "terms": nnz / done,
        "cores_busy": (time.process_time() - busy) / (ended - began),
    }


def measure_encoding(run: Callable[..., list[Any]], plan: Plan, count: int) -> dict[str, Any]:
    """Documents a second of ``count`` cards; every card must give the vectors of the first."""
    shares = run(encode_share, count, plan)
    truth = shares[0]["sample"]
    errors = [np.linalg.norm(one["sample"] - truth) / np.linalg.norm(truth) for one in shares]
    if not max(errors) < 0.02:
        raise RuntimeError(f"expected equal vectors of all cards, found them {max(errors):.1e} off")
    wall = max(one["ended"] for one in shares) - min(one["began"] for one in shares)
    return {
        "cards": count,
        "documents": count * plan.documents,
        "per_s": count * plan.documents / wall,
        "per_s_of_each": [plan.documents / (one["ended"] - one["began"]) for one in shares],
        "tokens_mean": shares[0]["tokens"],
        "terms_mean": shares[0]["terms"],
        "cores_busy_of_each": [one["cores_busy"] for one in shares],
        "largest_relative_error": float(max(errors)),
    }


def recipe(plan: Plan, kind: str) -> TrainingConfig:
    """The default recipe on the passages, from the bundled encoder; compiled on GPUs."""
    config = read_config(RECIPE)
    source = SourceConfig(
        plan.passages.name, query=("title", "section"), passage=("title", "text"), judged=False
    )
    prepared = str(plan.folder / "training-data")
    compiled = config.run.compiled and kind == "cuda"
    return replace(
        config,
        data=replace(config.data, sources=(source,), dev=(), prepared=prepared),
        model=replace(config.model, base="default"),
        batch=replace(config.batch, passages=plan.batch, queries=3 * plan.batch),
        run=replace(config.run, out=str(plan.folder / "training"), compiled=compiled),
    )


def joined(worker: Worker) -> Processes:
    """The processes of a training, started as torchrun would have it."""
    here = {"RANK": worker.rank, "LOCAL_RANK": worker.rank, "MASTER_PORT": worker.port}
    here |= {"WORLD_SIZE": worker.count, "LOCAL_WORLD_SIZE": worker.count}
    os.environ |= {name: str(value) for name, value in here.items()}
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    return Processes.started("cpu" if worker.kind == "cpu" else None)


def train_share(worker: Worker, plan: Plan) -> dict[str, Any]:
    """Losses of the first steps and the time of later ones; alone, also what to compare with."""
    torch.set_float32_matmul_precision("high")
    processes = joined(worker)
    config = recipe(plan, worker.kind)
    trainer = started(config, plan, processes)
    losses = steps(trainer, plan.compared)
    worker.start.wait()
    began = time.monotonic()
    steps(trainer, plan.steps)
    found: dict[str, Any] = {"losses": losses, "step_s": (time.monotonic() - began) / plan.steps}
    if worker.count == 1:
        halves = replace(config, batch=replace(config.batch, chunk=config.batch.chunk // 2))
        found["losses_in_smaller_chunks"] = steps(started(halves, plan, processes), plan.compared)
        found["efficiency_without_messages"] = {
            count: found["step_s"] / (count * silent_step_s(config, plan, trainer.student, count))
            for count in SILENT
        }
    return found


def silent_step_s(config: TrainingConfig, plan: Plan, student: Student, count: int) -> float:
    """Seconds of a step for the first of ``count`` processes, without the others."""
    device = student.log_channel.device
    trainer = started(config, plan, Silent(0, count, device), student)
    steps(trainer, plan.compared // 4)
    began = time.monotonic()
    steps(trainer, plan.compared)
    return (time.monotonic() - began) / plan.compared


def started(
    config: TrainingConfig, plan: Plan, processes: Processes, student: Student | None = None
) -> Trainer:
    """A training before its first step; of a new student unless one is given."""
    student = student or load_student(config, processes.device)
    prepare = partial(
        load_or_prepare,
        *(config.data, student.tokenizer, plan.passages.parent),
        *(Path(config.data.prepared), config.run.seed),
    )
    processes.from_first(lambda: bool(prepare()))  # the others find it made
    return Trainer(config, student, prepare(), processes=processes)


def steps(trainer: Trainer, count: int) -> list[float]:
    """Train some steps more; their losses."""
    losses = []
    for _ in range(count):
        losses.append(trainer.train_step()["loss"])
        trainer.step += 1
    return [float(loss) for loss in losses]  # waits for the device


def measure_training(run: Callable[..., list[Any]], plan: Plan, count: int) -> dict[str, Any]:
    """Steps a second by ``count`` cards."""
    first, *others = run(train_share, count, plan)
    if any(one["losses"] != first["losses"] for one in others):
        raise RuntimeError("expected one loss in all processes, found several")
    return {
        "cards": count,
        "batch": {"passages": plan.batch, "queries_at_most": 3 * plan.batch},
        "per_s": 1 / max(one["step_s"] for one in (first, *others)),
        **first,
    }


def search_share(worker: Worker, plan: Plan, count: int) -> dict[str, Any]:
    """The benchmark of the search, by one process for all cards."""
    from tamis.scripts.bench.gpu_search import measure_gpu_search

    return measure_gpu_search(plan.searched, plan.folder, count)


def measure_searching(run: Callable[..., list[Any]], plan: Plan, count: int) -> dict[str, Any]:
    """Exact search over documents divided between ``count`` cards."""
    (found,) = run(search_share, 1, plan, count)
    return {"per_s": found["gpu"][0]["queries_per_s"], **found}


MEASURES = {"encode": measure_encoding, "train": measure_training, "search": measure_searching}


def measure(plan: Plan, parts: Sequence[str], kind: str) -> Iterator[dict[str, Any]]:
    """The report after each measurement."""
    cores = usable_cores() // max(plan.counts)
    report: dict[str, Any] = {
        "cards": card_names() if kind == "cuda" else [],
        "cores_per_card": cores,
        "provenance": provenance(0),
        "failed": [],
    }
    for part in parts:
        rows = report[part] = []
        for count in plan.counts:
            all_cores = cores * max(plan.counts)

            def run(work: Any, processes: int, *given: object) -> list[Any]:  # noqa: ANN401
                share = all_cores if part == "search" else cores  # noqa: B023  called at once
                return together(work, processes, share, kind, plan.limit_s, *given)

            try:
                rows.append(MEASURES[part](run, plan, count))
            except RuntimeError as error:
                report["failed"].append({"part": part, "cards": count, "error": str(error)})
            else:
                compare(part, rows)
            yield report


def compare(part: str, rows: list[dict[str, Any]]) -> None:
    """Say how the last measurement relates to that of one card."""
    first, last = rows[0], rows[-1]
    if first["cards"] != 1:
        return
    last["efficiency"] = last["per_s"] / (last["cards"] * first["per_s"])
    if part != "train":
        return
    last["loss_differences"] = differences(last["losses"], first["losses"])
    first["noise"] = differences(first["losses_in_smaller_chunks"], first["losses"])


def differences(losses: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    """Relative differences: of the first step, the mean of all, and of the means."""
    one, other = np.asarray(losses), np.asarray(others)
    apart = np.abs(one - other) / np.abs(other)
    means = abs(one.mean() - other.mean()) / abs(other.mean())
    return {"first": apart[0], "mean": apart.mean(), "of_means": float(means)}


def card_names() -> list[str]:
    """Of all GPUs that torch sees."""
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


def write(path: Path, report: dict[str, Any]) -> None:
    """Replace a file by a report, whole."""
    draft = path.with_name(f".{path.name}")
    draft.write_text(json.dumps(report, indent=1) + "\n")
    draft.replace(path)


def counts_up_to(cards: int) -> tuple[int, ...]:
    """1, 2, 4 and so on below ``cards``, and ``cards``."""
    return (*[1 << power for power in range(8) if 1 << power < cards], cards)


def main() -> None:
    """Measure what is asked for."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("passages", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--cards", type=int, required=True)
    arguments.add_argument("--parts", default=",".join(MEASURES))
    arguments.add_argument("--documents", type=int, default=2_000_000, help="encoded by all cards")
    arguments.add_argument("--batch", type=int, default=1024, help="passages of a training step")
    arguments.add_argument("--steps", type=int, default=80, help="timed")
    arguments.add_argument("--searched", type=int, default=8_800_000, help="documents")
    arguments.add_argument("--limit-s", type=float, default=200, help="of each measurement")
    arguments.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    chosen = arguments.parse_args()
    there = torch.cuda.device_count() if chosen.device == "cuda" else usable_cores()
    if not 1 <= chosen.cards <= there:
        arguments.error(
            f"expected --cards from 1 to the {there} that are here, found {chosen.cards}"
        )
    if not chosen.passages.is_file():
        arguments.error(f"expected a file of passages, found none at {chosen.passages}")
    parts = chosen.parts.split(",")
    if not set(parts) <= set(MEASURES):
        arguments.error(f"expected --parts of {', '.join(MEASURES)}, found {chosen.parts}")
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="tamis-cards-") as folder:
        plan = Plan(
            passages=chosen.passages.resolve(),
            folder=Path(folder),
            documents=-(-chosen.documents // chosen.cards),
            batch=chosen.batch,
            steps=chosen.steps,
            searched=chosen.searched,
            counts=counts_up_to(chosen.cards),
            limit_s=chosen.limit_s,
        )
        for report in measure(plan, parts, chosen.device):
            write(chosen.out, report)
    for failure in report["failed"]:
        print("{part} on {cards} cards: {error}".format(**failure), file=sys.stderr)
    sys.exit(1 if report["failed"] else 0)


if __name__ == "__main__":
    main()
