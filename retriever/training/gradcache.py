"""Texts of a batch to term weights, chunk by chunk; activations are kept, or made twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from tamis.retriever.training.validation import rounded_width

if TYPE_CHECKING:
    from tamis.retriever.models.splade_model import SpladeModel
    from tamis.retriever.training.device_rows import Ragged
    from tamis.retriever.training.processes import Processes
    from tamis.retriever.training.student import Student


class TextSide(NamedTuple):
    """One side's texts: the model that encodes them, their rows, and their longest, in ids."""

    model: SpladeModel
    rows: Ragged
    longest: int


class Chunk(NamedTuple):
    """Row numbers that go through the model together, and the width they are padded to."""

    rows: torch.Tensor
    width: int


class Encoded(NamedTuple):
    """Weights of a batch's texts.

    own: [n, V] of those that this process encoded; a leaf of the graph where they are made twice.
    all: [N, V] of all.
    chunks: in which its own were encoded.
    """

    own: torch.Tensor
    all: torch.Tensor
    chunks: list[Chunk]


class BatchEncoder(NamedTuple):
    """How the texts of a batch are encoded.

    student: the model in training.
    processes: that share the texts.
    chunk: texts that go through the model together.
    twice: hold one chunk's activations only (GradCache, arXiv 2101.06983): weights are made without
        them, and once the loss has given the weights a gradient, `spread_gradient` makes them.
    """

    student: Student
    processes: Processes
    chunk: int
    twice: bool

    def encode(self, texts: TextSide, chosen: torch.Tensor) -> Encoded:
        """The weights of some rows; with rising lengths little is padded."""
        chunks = self._chunks(texts, self.processes.own(chosen))
        with torch.set_grad_enabled(not self.twice):
            own = self._weights(texts, chunks)
        if self.twice:
            own.requires_grad_()
        return Encoded(own, self.processes.all_rows(own, len(chosen)), chunks)

    def spread_gradient(self, texts: TextSide, encoded: Encoded) -> None:
        """Encode each chunk again and pass the gradient of its weights on to the model."""
        if not self.twice or not encoded.chunks:
            return
        assert encoded.own.grad is not None
        parts = torch.split(encoded.own.grad, [len(chunk.rows) for chunk in encoded.chunks])
        for chunk, gradient in zip(encoded.chunks, parts, strict=True):
            torch.autograd.backward([self._weights(texts, [chunk])], [gradient])

    def _weights(self, texts: TextSide, chunks: list[Chunk]) -> torch.Tensor:
        parts = [self.student.encode(texts.model, texts.rows, *chunk) for chunk in chunks]
        if not parts:  # fewer texts than processes
            return torch.zeros(0, texts.model.vocab_size, device=self.processes.device)
        return torch.cat(parts)

    def _chunks(self, texts: TextSide, chosen: torch.Tensor) -> list[Chunk]:
        if len(chosen) == 0:
            return []
        around = sum(map(len, self.student.around))
        parts = torch.split(chosen, self.chunk)
        longest = [texts.rows.lengths(part).max() for part in parts]
        ends = (torch.stack(longest) + around).tolist()
        widths = [rounded_width(end, texts.longest) for end in ends]
        return [Chunk(part, width) for part, width in zip(parts, widths, strict=True)]
