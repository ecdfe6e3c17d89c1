"""The processes of a training, each with a device of its own, as `accelerate launch` starts them.

Every process draws the same batch, encodes its share of the texts, and receives the weights that
the others made. So a loss or penalty always sees the whole batch, FLOPS included, whatever number
of processes or chunks it went through, and every process computes the same one.
"""

from __future__ import annotations

import atexit
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from tamis.index.errors import InputError
from tamis.retriever.training.health import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of a training.

    Attributes:
        rank: from 0; process 0 writes files and the log.
        count: of processes.
        device: of this process.
    """

    rank: int
    count: int
    device: torch.device

    @staticmethod
    def started(device: str | None) -> Processes:
        """The processes that accelerate or torchrun started; one, where they did not.

        Their group lasts for all trainings of this process, and is left when the process ends.

        Args:
            device: such as ``cpu`` or ``cuda:0``; None takes CUDA where there is a device. Of
                several processes each takes a GPU of its own.

        Raises:
            InputError: there are several processes, and accelerate is not installed, or this one
                has no GPU.
        """
        name = device or ("cuda" if torch.cuda.is_available() else "cpu")
        if _started_count() > 1:
            on_cpu = torch.device(name).type == "cpu"
            if not on_cpu:
                _check_card(int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count())
            state = _joined(on_cpu=on_cpu)
            return Processes(state.process_index, state.num_processes, state.device)
        return Processes(0, 1, torch.device(name))

    @property
    def is_first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def own(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows that this process encodes: every ``count``-th, so that lengths are shared."""
        return rows[self.rank :: self.count]

    def all_rows(self, own: torch.Tensor, total: int) -> torch.Tensor:
        """The rows of all processes, ``[total, V]``, in the order that `own` took them from.

        The gradient of the rows that others made stays with them.
        """
        if self.count == 1:
            return own
        rows: torch.Tensor = _AllRows.apply(own, self, total)  # type: ignore[no-untyped-call]
        return rows

    def share_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Give every process the gradients of the whole batch."""
        if self.count == 1:
            return
        for one in parameters:
            if one.grad is None:
                one.grad = torch.zeros_like(one)
            with _with_all():
                distributed.all_reduce(one.grad)
            one.grad /= self.count

    def from_first(self, made: Callable[[], Any]) -> Any:  # noqa: ANN401  what `made` returns
        """What ``made`` returns on process 0, on every process; small things, or files.

        Raises:
            TrainingError: it failed there; process 0 raises what it raised.
        """
        if self.count == 1:
            return made()
        box, failure = [None, ""], None
        if self.is_first:
            try:
                box[0] = made()
            except Exception as error:  # noqa: BLE001  raised below, once the others know
                failure, box[1] = error, str(error) or type(error).__name__
        with _with_all():
            distributed.broadcast_object_list(box, src=0, device=self.device)
        if failure is not None:
            raise failure
        if box[1]:
            raise TrainingError(f"the first process could not go on: {box[1]}")
        return box[0]


class _AllRows(torch.autograd.Function):
    """All processes' rows. The backward gives each its own, times their number: see `all_rows`.

    Gradients of parameters are averaged afterwards. A parameter behind the encoded rows has a
    gradient for its own share of them only, whose sum is wanted; all others have the whole.
    """

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor, processes: Processes, total: int) -> torch.Tensor:  # noqa: ANN401
        ctx.processes = processes
        most = -(-total // processes.count)
        padded = own.new_zeros(most, own.shape[1])
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in range(processes.count)]
        with _with_all():
            distributed.all_gather(parts, padded)
        return torch.stack(parts, 1).reshape(-1, own.shape[1])[:total]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # noqa: ANN401
        processes: Processes = ctx.processes
        return processes.own(gradient) * processes.count, None, None


def check_alone(work: str) -> None:
    """Refuse to begin what one process does.

    Raises:
        InputError: accelerate or torchrun started several, which would write the same files.
    """
    count = _started_count()
    if count > 1:
        raise InputError(
            f"expected one process for {work}, found {count}; "
            "start it without torchrun or accelerate"
        )


def _started_count() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _check_card(number: int, count: int) -> None:
    if number >= count:
        raise InputError(
            f"expected a GPU for each process of this machine, found {count} for process {number}; "
            "start fewer processes, or give --device cpu"
        )


@contextmanager
def _with_all() -> Iterator[None]:
    """Tell in one line that another process did not take part.

    Raises:
        TrainingError: it ended, or its machine cannot be reached.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # of gloo or NCCL
        reason = str(error).partition("\n")[0][:200]
        raise TrainingError(
            f"expected all processes of the training to take part, found that one does not "
            f"({reason}); its own message says why; start all again with --resume"
        ) from error


def _joined(*, on_cpu: bool) -> Any:  # noqa: ANN401  accelerate has no types
    """This process's state in the group, which it joins unless the caller already has."""
    try:
        from accelerate import PartialState  # type: ignore[import-untyped]
    except ImportError as error:
        raise InputError(
            "expected accelerate for a training in several processes, found none; "
            "pip install 'tamis[train]'"
        ) from error
    if not distributed.is_initialized():
        atexit.register(_leave)  # torch may abort a process that ends with threads of a group
    return PartialState(cpu=on_cpu)


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
