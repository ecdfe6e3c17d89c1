"""Where the counted tokens of a batch lie; knows nothing of heads."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch


class Ragged(NamedTuple):
    """Padded sequences with a mask, or sequences laid end to end with offsets.

    mask:    [B, S] bool, True where a token counts; None counts all. Without offsets only.
    offsets: [B + 1] into the rows of [T, D]; None for hidden states [B, S, D].
    max_len: the longest sequence, or more.
    """

    mask: torch.Tensor | None
    offsets: torch.Tensor | None
    max_len: int

    def on_host(self, hidden: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
        """Return the counted tokens [T, D] of checked `hidden`, and their B + 1 bounds.

        Raises:
            ValueError: offsets fall, leave `hidden` or exceed `max_len`.
        """
        if self.offsets is not None:
            return hidden, self._bounds(self.offsets.tolist(), hidden.shape[0])
        batch, length, _ = hidden.shape
        flat = hidden.reshape(batch * length, -1)
        if self.mask is None:
            return flat, [b * length for b in range(batch + 1)]
        bounds = [0, *self.mask.sum(1).cumsum(0).tolist()]
        return (flat if bounds[-1] == batch * length else flat[self.mask.flatten()]), bounds

    def check(self, hidden: torch.Tensor) -> None:
        """Check shapes and dtypes against `hidden`, without waiting for a device.

        Raises:
            ValueError: they disagree.
        """
        if self.offsets is None:
            self._check_padded(hidden)
        else:
            self._check_packed(hidden, self.offsets)

    def _check_padded(self, hidden: torch.Tensor) -> None:
        if hidden.ndim != 3:
            raise ValueError(f"expected hidden [B, S, D], found shape {tuple(hidden.shape)}")
        if self.mask is None:
            return
        if self.mask.shape != hidden.shape[:2] or self.mask.dtype != torch.bool:
            raise ValueError(
                f"expected mask [{hidden.shape[0]}, {hidden.shape[1]}] bool, "
                f"found {tuple(self.mask.shape)} {self.mask.dtype}; pass attention_mask.bool()"
            )
        check_device("mask", self.mask, hidden)

    def _check_packed(self, hidden: torch.Tensor, offsets: torch.Tensor) -> None:
        if hidden.ndim != 2:
            raise ValueError(f"expected packed hidden [T, D], found shape {tuple(hidden.shape)}")
        if offsets.ndim != 1 or not len(offsets) or offsets.dtype not in (torch.int32, torch.int64):
            raise ValueError(
                f"expected offsets [B + 1] int32 or int64, "
                f"found {tuple(offsets.shape)} {offsets.dtype}; pass cumulative sequence lengths"
            )
        check_device("offsets", offsets, hidden)
        if self.max_len < 0:
            raise ValueError(f"expected max_len of at least 0, found {self.max_len}")

    def _bounds(self, bounds: list[int], rows: int) -> list[int]:
        longest = max((e - a for a, e in itertools.pairwise(bounds)), default=0)
        if longest > self.max_len:
            raise ValueError(
                f"expected sequences of at most max_len = {self.max_len} tokens, found {longest}; "
                "pass the longest length"
            )
        if bounds[0] != 0 or bounds != sorted(bounds) or bounds[-1] > rows:
            raise ValueError(
                f"expected offsets that start at 0, never fall and end at most at {rows} rows, "
                f"found {bounds[:3]} .. {bounds[-1]}; pass cumulative sequence lengths"
            )
        return bounds


def check_device(name: str, tensor: torch.Tensor, hidden: torch.Tensor) -> None:
    """Check that an operand lies where the hidden states do.

    Raises:
        ValueError: it does not.
    """
    if tensor.device != hidden.device:
        raise ValueError(
            f"expected {name} on {hidden.device} like hidden, found {tensor.device}; "
            "move one of them"
        )
