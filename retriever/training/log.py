"""The log of a training: one JSON object a line, and TensorBoard's files where asked for."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

LOG_FILE = "log.jsonl"


class Log:
    """Sums up steps, and writes lines."""

    def __init__(
        self, folder: Path, report: Callable[[dict[str, Any]], None], *, tensorboard: bool
    ) -> None:
        """Begin a log in a new or existing folder; ``report`` is called with each line."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._report = folder / LOG_FILE, report
        self._sums: dict[str, torch.Tensor] = {}
        self._began = time.perf_counter()
        self._board = _tensorboard(folder) if tensorboard else None

    def add(self, parts: dict[str, torch.Tensor]) -> None:
        """Add a step's numbers without waiting for the device."""
        for name, part in parts.items():
            self._sums[name] = self._sums[name] + part if name in self._sums else part.clone()

    def means(self, steps: int) -> dict[str, float]:
        """Means over the steps added since the last call."""
        means = {name: float(total) / steps for name, total in self._sums.items()}
        self._sums.clear()
        return means

    def write(self, step: int, steps: int, numbers: dict[str, float]) -> None:
        """Write one line of training: numbers, seconds since the start, and seconds to go."""
        passed = time.perf_counter() - self._began
        rounded = {name: float(f"{value:.5g}") for name, value in numbers.items()}
        self._line({"step": step, "steps": steps, "passed_s": round(passed, 1)} | rounded)
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)

    def write_dev(self, step: int, table: dict[str, dict[str, float]]) -> None:
        """Write one line of validation: collection to operating point to nDCG@10."""
        rounded = {
            name: {point: round(value, 4) for point, value in row.items()}
            for name, row in table.items()
        }
        self._line({"step": step, "dev": rounded})
        if self._board is not None:
            for point, value in table["mean"].items():
                self._board.add_scalar(f"dev/{point}", value, step)

    def _line(self, line: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._report(line)


def _tensorboard(folder: Path) -> Any:  # noqa: ANN401  its writer has no types
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "expected tensorboard for run.tensorboard, found none; pip install tensorboard"
        ) from error
    return SummaryWriter(str(folder))
