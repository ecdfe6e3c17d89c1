"""Rows of unequal length on the training device: padded, flattened or counted by the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tamis.retriever.training.data.token_rows import TokenRows


class Flat(NamedTuple):
    """Entries of some rows, one after the other: ``row`` and ``entry`` [n] int64.

    ``row`` is the position among the rows asked for, ``entry`` the index into the values.
    """

    row: torch.Tensor
    entry: torch.Tensor


class Ragged(NamedTuple):
    """Rows in CSR form on a device.

    offsets: [rows + 1] int64.
    values: [entries], of any kind.
    """

    offsets: torch.Tensor
    values: torch.Tensor

    @staticmethod
    def of(rows: TokenRows, device: torch.device) -> Ragged:
        """Token rows on a device."""
        return Ragged(_on(rows.offsets, device), _on(rows.ids, device))

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.offsets) - 1

    def lengths(self, rows: torch.Tensor) -> torch.Tensor:
        """Entries of each of some rows, [n] int64."""
        return self.offsets[rows + 1] - self.offsets[rows]

    def flat(self, rows: torch.Tensor) -> Flat:
        """The entries of some rows, [n] int64 row numbers, in the order given."""
        lengths = self.lengths(rows)
        row = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), lengths)
        starts = self.offsets[rows] - (lengths.cumsum(0) - lengths)
        return Flat(row, starts[row] + torch.arange(len(row), device=rows.device))

    def padded(
        self, rows: torch.Tensor, around: tuple[list[int], list[int]], padding: int, width: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask ``[n, width]`` int64 of some rows with special ids around them.

        Args:
            rows: [n] int64.
            around: ids before and after every text.
            padding: id of what is masked.
            width: of the result; longer rows are cut so that the special ids fit.
        """
        before, after = (torch.tensor(ids, device=rows.device) for ids in around)
        room = width - len(before) - len(after)
        lengths = self.lengths(rows).clamp(max=room)[:, None]
        column = torch.arange(width, device=rows.device)[None, :]
        inner = column - len(before)
        entry = (self.offsets[rows][:, None] + inner).clamp(0, max(len(self.values) - 1, 0))
        ids = torch.where((inner >= 0) & (inner < lengths), self.values[entry].long(), padding)
        ids[:, : len(before)] = before
        for i, special in enumerate(after):
            ids = torch.where(inner == lengths + i, special, ids)
        return ids, (inner < lengths + len(after)).long()


def _on(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(array).to(device)
