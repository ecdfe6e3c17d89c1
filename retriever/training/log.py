"""The log of a training: one JSON object a line, and boards that show it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from tamis.retriever.training.config import RunConfig

LOG_FILE = "log.jsonl"

Board = Callable[[dict[str, float], int], None]  # shows some numbers of a step


class Log:
    """Sums up steps, and writes lines.

    Attributes:
        sums: of the steps since the last line, by name, left on the device.
        steps: how many these are.
    """

    def __init__(
        self,
        folder: Path,
        report: Callable[[dict[str, Any]], None],
        boards: Sequence[Board] = (),
        *,
        writes: bool = True,
    ) -> None:
        """Begin a log in a new or existing folder.

        Args:
            folder: of the file.
            report: called with each line.
            boards: called with the numbers of each line.
            writes: False for all but the first of several processes.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._report, self._writes = folder / LOG_FILE, report, writes
        self.sums: dict[str, torch.Tensor] = {}
        self.steps = 0
        self._began = time.perf_counter()
        self._boards = boards

    def add(self, parts: dict[str, torch.Tensor]) -> None:
        """Add a step's numbers without waiting for the device."""
        for name, part in parts.items():
            self.sums[name] = self.sums[name] + part if name in self.sums else part.clone()
        self.steps += 1

    def means(self) -> dict[str, float]:
        """Means over the steps since the last line."""
        return {name: float(total) / self.steps for name, total in self.sums.items()}

    def write(self, step: int, steps: int, numbers: dict[str, float]) -> None:
        """Write one line of training: numbers and seconds since the start."""
        self.sums.clear()
        self.steps = 0
        passed = time.perf_counter() - self._began
        rounded = {name: float(f"{value:.5g}") for name, value in numbers.items()}
        line = {"step": step, "steps": steps, "passed_s": round(passed, 1)} | rounded
        self._line(line, numbers)

    def write_dev(self, step: int, table: dict[str, dict[str, float]]) -> None:
        """Write one line of validation: collection to operating point to nDCG@10."""
        rounded = {
            name: {point: round(value, 4) for point, value in row.items()}
            for name, row in table.items()
        }
        means = {f"dev/{point}": value for point, value in table["mean"].items()}
        self._line({"step": step, "dev": rounded}, means)

    def write_changes(self, step: int, changed: dict[str, list[Any]]) -> None:
        """Write one line of settings that a resumed training changed: what each was and is."""
        self._line({"step": step, "changed": changed}, {})

    def _line(self, line: dict[str, Any], numbers: dict[str, float]) -> None:
        if not self._writes:
            return
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        for board in self._boards:
            board(numbers, line["step"])
        self._report(line)


def open_boards(run: RunConfig, settings: dict[str, Any]) -> list[Board]:
    """TensorBoard in the output folder and Weights & Biases, where they are asked for.

    Args:
        run: asks.
        settings: of the training, shown beside its numbers.

    Raises:
        InputError: one is asked for and is not installed.
    """
    boards = []
    if run.tensorboard:
        boards.append(_tensorboard(run.out))
    if run.wandb:
        boards.append(_wandb(run, settings))
    return boards


def _tensorboard(folder: str) -> Board:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise _missing("tensorboard") from error
    writer: Any = SummaryWriter(folder)  # type: ignore[no-untyped-call]

    def show(numbers: dict[str, float], step: int) -> None:
        for name, value in numbers.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return show


def _wandb(run: RunConfig, settings: dict[str, Any]) -> Board:
    try:
        import wandb  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise _missing("wandb") from error
    opened: Any = wandb.init(project=run.wandb, dir=run.out, config=settings)
    return lambda numbers, step: opened.log(numbers, step=step)


def _missing(name: str) -> InputError:
    return InputError(f"expected {name} for run.{name}, found none; pip install {name}")
