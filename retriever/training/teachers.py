"""Teachers: models whose scores of the batch's queries and passages the student learns from.

A dense teacher has one embedding a text, made once; scores and neighbours are matrix products. A
sparse one has one vector a text, made once, too.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.nn import functional

from tamis.index.vectors import SparseVectors

if TYPE_CHECKING:
    from torch import nn

    from tamis.retriever.models.splade_model import SpladeModel
    from tamis.retriever.training.device_rows import Ragged

CHUNK_TOKENS = 65_536
SCORED_AT_ONCE = 4096  # queries against all passages


class Teacher(Protocol):
    """Whatever scores the pairs of a batch."""

    def scores(self, queries: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
        """Scores ``[Q, P]`` float32 of queries and passages, given by row number."""


class DenseTeacher:
    """Normalised mean-pooled hidden states of all passages and queries.

    Attributes:
        passages: [passages, D], half precision on a GPU.
        queries: [queries, D].
    """

    def __init__(self, passages: torch.Tensor, queries: torch.Tensor) -> None:
        self.passages = passages
        self.queries = queries

    @property
    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Those of all queries and of all passages."""
        return self.queries, self.passages

    def scores(self, queries: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
        """Cosines of some queries and passages, given by row number, [Q, P] float32."""
        with torch.autocast(self.passages.device.type, enabled=False):
            return (self.queries[queries] @ self.passages[passages].T).float()

    def nearest_passage(self, queries: torch.Tensor) -> torch.Tensor:
        """The most similar of all passages for each of some queries, [n] int64."""
        parts = [
            (self.queries[some] @ self.passages.T).argmax(1)
            for some in torch.split(queries, SCORED_AT_ONCE)
        ]
        return torch.cat(parts) if parts else queries

    def neighbours(self, anchors: torch.Tensor, count: int) -> torch.Tensor:
        """The passages most similar to some passages, themselves first, [n, count] int64."""
        return (self.passages[anchors] @ self.passages.T).topk(count, dim=1).indices


@torch.no_grad()
def embed(
    model: Any,  # noqa: ANN401  any Hugging Face backbone
    rows: Ragged,
    around: tuple[list[int], list[int]],
    padding: int,
    longest: int,
) -> torch.Tensor:
    """Normalised mean-pooled hidden states, ``[rows, D]``: how MiniLM-like dense encoders embed.

    Args:
        model: gives the last hidden states first.
        rows: token rows on the model's device.
        around: special ids before and after each text.
        padding: id of padding.
        longest: texts are cut at this many ids, special ones included.
    """
    device = rows.offsets.device
    everything = torch.arange(rows.rows, device=device)
    order = rows.lengths(everything).argsort(stable=True)
    lengths = (rows.lengths(order) + sum(map(len, around))).clamp(max=longest).tolist()
    parts, start = [], 0
    while start < len(order):
        stop = _chunk_end(lengths, start)
        width = min(longest, _rounded(lengths[stop - 1]))
        ids, mask = rows.padded(order[start:stop], around, padding, width)
        parts.append(_pooled(model, ids, mask))
        start = stop
    out = torch.empty_like(torch.cat(parts))
    out[order] = torch.cat(parts)
    return out


def sparse_rows(
    model: SpladeModel, rows: Ragged, around: tuple[list[int], list[int]], longest: int
) -> SparseVectors:
    """The vectors of all rows by a sparse encoder that is ready to encode.

    Args:
        model: see `tamis.retriever.models.language_model.load_language_model`.
        rows: token rows of its vocabulary.
        around: special ids before and after each text.
        longest: texts are cut at this many ids, special ones included.
    """
    before, after = around
    room = longest - len(before) - len(after)
    offsets, values = rows.offsets.tolist(), rows.values.tolist()
    ids = [
        [*before, *values[start : min(stop, start + room)], *after]
        for start, stop in itertools.pairwise(offsets)
    ]
    step = max(1, model.batch_tokens // longest)
    parts = [model.encode(ids[start : start + step]) for start in range(0, len(ids), step)]
    return SparseVectors.concatenate(parts)


def backbone_of(model: nn.Module) -> nn.Module:
    """The part of a language model below its head."""
    any_model: Any = model
    backbone: nn.Module = any_model.base_model
    return backbone


def _pooled(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
    on_gpu = ids.is_cuda
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=on_gpu):
        hidden = model(input_ids=ids, attention_mask=mask)[0].float()
    weights = mask[:, :, None].float()
    mean = (hidden * weights).sum(1) / weights.sum(1)
    return functional.normalize(mean, dim=1).to(torch.float16 if on_gpu else torch.float32)


def _chunk_end(lengths: list[int], start: int) -> int:
    """One past the last of the texts, sorted by length, that fit into a chunk."""
    stop = start + 1
    while stop < len(lengths) and (stop + 1 - start) * _rounded(lengths[stop]) <= CHUNK_TOKENS:
        stop += 1
    return stop


def _rounded(length: int) -> int:
    return -(-length // 16) * 16
