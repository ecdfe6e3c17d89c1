"""Passages of a batch to term weights, chunk by chunk; activations are kept, or made twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from tamis.retriever.training.validation import rounded_width

if TYPE_CHECKING:
    from tamis.retriever.training.config import BatchConfig, DataConfig
    from tamis.retriever.training.ragged import Ragged
    from tamis.retriever.training.student import Student


class Chunk(NamedTuple):
    """Row numbers that go through the model together, and the width they are padded to."""

    rows: torch.Tensor
    width: int


def encode_passages(
    student: Student, passages: Ragged, chosen: torch.Tensor, config: BatchConfig, data: DataConfig
) -> tuple[torch.Tensor, list[Chunk]]:
    """Term weights ``[P, V]`` of a batch's passages, and the chunks they were encoded in.

    With ``config.recompute`` the weights are a leaf of the graph, made without activations:
    call `spread_gradient` once the loss has given it a gradient (GradCache, arXiv 2101.06983).

    Args:
        student: the model.
        passages: token rows.
        chosen: [P] int64, by rising length so that little is padded.
        config: gives the size of a chunk.
        data: gives the longest passage.
    """
    chunks = _chunks(student, passages, chosen, config.chunk, data.passage_tokens)
    if not config.recompute:
        return torch.cat([student.encode_rows(passages, *chunk) for chunk in chunks]), chunks
    with torch.no_grad():
        weights = torch.cat([student.encode_rows(passages, *chunk) for chunk in chunks])
    return weights.requires_grad_(), chunks


def spread_gradient(
    student: Student, passages: Ragged, chunks: list[Chunk], weights: torch.Tensor
) -> None:
    """Encode each chunk again and pass the gradient of its weights on to the model."""
    assert weights.grad is not None
    parts = torch.split(weights.grad, [len(chunk.rows) for chunk in chunks])
    for chunk, gradient in zip(chunks, parts, strict=True):
        torch.autograd.backward([student.encode_rows(passages, *chunk)], [gradient])


def _chunks(
    student: Student, passages: Ragged, chosen: torch.Tensor, size: int, longest: int
) -> list[Chunk]:
    around = sum(map(len, student.around))
    parts = torch.split(chosen, size)
    ends = passages.lengths(torch.stack([part[-1] for part in parts])) + around
    widths = [rounded_width(end, longest) for end in ends.tolist()]
    return [Chunk(part, width) for part, width in zip(parts, widths, strict=True)]
