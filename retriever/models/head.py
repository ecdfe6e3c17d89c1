"""What every head can do: hidden states in, weights of terms out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import nn

from tamis.kernels.head.ops import SparseRows

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.retriever.models.description import NeuralSide
    from tamis.retriever.models.packing import PackedTexts


class Head(nn.Module):
    """What every head can do.

    Attributes:
        packs: whether `encode_packed` is there, for texts that lie end to end.
        dtype: of its arithmetic; None computes with what the language model computes with.
        beyond_sentence_transformers: what no module of that library computes; empty if one does.
    """

    packs: ClassVar[bool] = False
    dtype: ClassVar[torch.dtype | None] = None
    beyond_sentence_transformers: ClassVar[str] = ""

    @classmethod
    def load(cls, side: NeuralSide, decoder: nn.Linear | None) -> Self:
        """The head of a model folder.

        Args:
            side: the model and its settings.
            decoder: the vocabulary head that was cut from it; None for a head that needs none.
        """
        raise NotImplementedError

    @classmethod
    def begin(cls, side: NeuralSide, base: Head) -> Self:
        """A new head in the place of one that a base has."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """Numbers in a hidden state."""
        raise NotImplementedError

    def pool(
        self, hidden: torch.Tensor, mask: torch.Tensor, input_ids: torch.Tensor
    ) -> torch.Tensor:
        """Term weights; differentiable.

        Args:
            hidden: [B, S, D] of the model.
            mask: [B, S] 1 where a token is, 0 for padding.
            input_ids: [B, S].

        Returns:
            [B, V].
        """
        raise NotImplementedError

    def encode(
        self,
        hidden: torch.Tensor,
        mask: torch.Tensor,
        input_ids: torch.Tensor,
        *,
        exclude: torch.Tensor,
        top_n: int | None,
    ) -> SparseRows:
        """Term weights as sparse rows, without gradients; arguments as of `pool`.

        Args:
            hidden: see `pool`.
            mask: see `pool`.
            input_ids: see `pool`.
            exclude: [V] bool, terms that are never given.
            top_n: the most terms of a row, the heaviest; None gives all.
        """
        dense = self.pool(hidden, mask, input_ids).masked_fill(exclude, 0.0)
        return sparse_rows(dense, top_n)

    def encode_packed(
        self,
        hidden: torch.Tensor,
        texts: PackedTexts,
        *,
        exclude: torch.Tensor,
        top_n: int | None,
    ) -> SparseRows:
        """The same of texts that lie end to end, ``hidden`` [T, D]; where the head `packs`."""
        raise NotImplementedError

    def save(self, model: Any, folder: Path) -> None:  # noqa: ANN401  any Hugging Face model
        """Write a language model and this head, as `load` finds them."""
        raise NotImplementedError


def sparse_rows(dense: torch.Tensor, top_n: int | None) -> SparseRows:
    """The entries above zero of ``[B, V]``, at most the ``top_n`` heaviest of a row."""
    if top_n is not None and top_n < dense.shape[1]:
        best = dense.topk(top_n, dim=1)
        dense = torch.zeros_like(dense).scatter_(1, best.indices, best.values)
    rows, terms = dense.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(dense)).cumsum(0)
    return SparseRows(nn.functional.pad(counts, (1, 0)), terms.int(), dense[rows, terms].float())
