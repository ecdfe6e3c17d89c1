"""AdamW over a student's parameters, each kind at its own rate, and their running average."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

from tamis.retriever.training.schedule import rate_factor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tamis.retriever.training.config import OptimiserConfig
    from tamis.retriever.training.student import Student

BETAS = (0.9, 0.98)  # batches are large, so the second moment may follow faster


class Optimiser:
    """Updates and averages a student's parameters.

    Attributes:
        parameters: by name.
        average: their running average, by name.
        started_at: step at which the moments were empty; the rate is warmed up from there.
    """

    def __init__(self, student: Student, config: OptimiserConfig) -> None:
        self.parameters = {
            name: one for name, one in student.named_parameters() if one.requires_grad
        }
        self.average = {name: one.detach().clone() for name, one in self.parameters.items()}
        self._start = {name: one.detach().clone() for name, one in self.parameters.items()}
        self.started_at = 0
        self._config = config
        self._adam = torch.optim.AdamW(self._groups(student), betas=BETAS, weight_decay=0.0)

    def _groups(self, student: Student) -> list[dict[str, object]]:
        """One group a parameter kind: the backbone, the head on top of it, and what is ours."""
        config = self._config
        backbone = {id(one) for part in student.backbones() for one in part.parameters()}
        own = {id(one) for one in student.parameters(recurse=False)}
        groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
        for one in self.parameters.values():
            decay = config.weight_decay if one.ndim > 1 else 0.0
            rate = config.rate if id(one) in backbone else config.head_rate
            rate = config.table_rate if id(one) in own else rate
            groups.setdefault((rate, decay), []).append(one)
        return [
            {"params": ones, "lr": rate, "full_rate": rate, "weight_decay": decay}
            for (rate, decay), ones in groups.items()
        ]

    def clip(self) -> torch.Tensor:
        """Shorten the gradients to the most they may be; their norm before, left on the device."""
        return torch.nn.utils.clip_grad_norm_(self.parameters.values(), self._config.clip)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Apply the gradients and forget them."""
        factor = rate_factor(step, self._config, self.started_at)
        for group in self._adam.param_groups:
            group["lr"] = group["full_rate"] * factor
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)
        keep = min(self._config.averaging, (1 + step) / (10 + step))  # a short memory at first
        for name, one in self.parameters.items():
            self.average[name].lerp_(one, 1 - keep)

    def forget_gradients(self) -> None:
        """Drop the gradients without applying them."""
        self._adam.zero_grad(set_to_none=True)

    @contextlib.contextmanager
    def averaged(self, weights: Mapping[str, torch.Tensor] | None = None) -> Iterator[None]:
        """Inside, the student has its averaged weights, mixed with those it started from.

        Args:
            weights: those of an earlier step; none takes today's.
        """
        kept = {name: one.detach().clone() for name, one in self.parameters.items()}
        share = self._config.start_share
        mixed = {
            name: one.lerp(self._start[name], share)
            for name, one in (weights or self.average).items()
        }
        self._assign(mixed)
        try:
            yield
        finally:
            self._assign(kept)

    @torch.no_grad()
    def _assign(self, weights: dict[str, torch.Tensor]) -> None:
        for name, one in self.parameters.items():
            one.copy_(weights[name])

    def state(self) -> dict[str, torch.Tensor]:
        """The moments, by parameter."""
        return {
            f"{name}:{key}": value
            for name, one in self.parameters.items()
            for key, value in self._adam.state[one].items()
        }

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take over moments that `state` gave."""
        for full_name, value in state.items():
            name, _, key = full_name.rpartition(":")
            one = self.parameters[name]
            device = "cpu" if key == "step" else one.device  # AdamW counts on the host
            self._adam.state[one][key] = value.to(device)
