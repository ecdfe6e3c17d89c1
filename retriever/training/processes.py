"""The processes of a training, each with a device of its own, as `accelerate launch` starts them.

Every process draws the same batch, encodes its share of the texts, and receives the weights that
the others made. So a loss or penalty always sees the whole batch, FLOPS included, whatever number
of processes or chunks it went through, and every process computes the same one.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


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
            device: such as ``cpu`` or ``cuda:0``; None takes CUDA where there is a device.

        Raises:
            InputError: there are several processes, and accelerate is not installed.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            state = _joined(on_cpu=device == "cpu")
            return Processes(state.process_index, state.num_processes, state.device)
        name = device or ("cuda" if torch.cuda.is_available() else "cpu")
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
            distributed.all_reduce(one.grad)
            one.grad /= self.count

    def from_first(self, made: Callable[[], Any]) -> Any:  # noqa: ANN401  what `made` returns
        """What ``made`` returns on process 0, on every process; small things, or files."""
        if self.count == 1:
            return made()
        box = [made() if self.is_first else None]
        distributed.broadcast_object_list(box, src=0, device=self.device)
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
        distributed.all_gather(parts, padded)
        return torch.stack(parts, 1).reshape(-1, own.shape[1])[:total]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # noqa: ANN401
        processes: Processes = ctx.processes
        return processes.own(gradient) * processes.count, None, None


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
