"""A language model as a sparse encoder: token ids in, weights of terms out.

transformers runs the backbone and the head's transform unforked; the last product, with the
vocabulary, is left to `tamis.kernels`, which never builds ``[batch, tokens, vocabulary]``.
Heads of other shapes are in `term_heads`; loading is `language_model`'s affair.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tamis.index.vectors import SparseVectors
from tamis.kernels.head.activation import Activation
from tamis.kernels.head.ops import (
    SparseRows,
    splade_encode,
    splade_encode_packed,
    splade_head,
    splade_head_sum,
)
from tamis.retriever.models.description import Architecture, NeuralSide, Pooling
from tamis.retriever.models.fast_linear import use_fast_products
from tamis.retriever.models.packing import pack_texts, prepare_packing, run_packed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

CPU_BATCH_TOKENS = 4096  # hidden states stay near the cache
GPU_BATCH_TOKENS = 65_536
GPU_LANES = 2
MOST_CPU_LANES = 4  # each holds the activations of a batch


class SpladeModel(nn.Module):
    """A language model whose pooled logits are the weights of terms.

    Attributes:
        model: the Hugging Face model, whose output embeddings pass their input through.
        decoder: the vocabulary head, ``weight`` [V, D] (tied where the model ties it) and ``bias``.
        activation: from pooled logit to weight.
        excluded: ``[V]`` bool, terms that are never emitted.
    """

    decoder: Any  # nn.Linear, unless the head is of another shape
    excluded: torch.Tensor

    def __init__(
        self, side: NeuralSide, model: nn.Module, decoder: nn.Module, special_ids: Iterable[int]
    ) -> None:
        """Join a model and the head that was cut from it; see `load_language_model`."""
        super().__init__()
        self.side = side
        self.model = model
        self.decoder = decoder
        self.activation = Activation.LOG1P_LOG1P_RELU if side.double_log else Activation.LOG1P_RELU
        excluded = torch.zeros(side.vocab_size, dtype=torch.bool)
        excluded[list(special_ids)] = True
        self.register_buffer("excluded", excluded, persistent=False)
        config: Any = model.config
        self._padding_id = int(config.pad_token_id or 0)
        self._first_position: int | None = None  # set where texts are packed
        self._streams: list[torch.cuda.Stream] = []

    @property
    def vocab_size(self) -> int:
        """Number of terms."""
        return self.side.vocab_size

    @property
    def batch_tokens(self) -> int:
        """Tokens, padding included, that make a good batch on this device."""
        return CPU_BATCH_TOKENS if self.excluded.device.type == "cpu" else GPU_BATCH_TOKENS

    @property
    def lanes(self) -> int:
        """Batches that are best under way at once, each in a thread of its own.

        On a processor that spares the threads of a product from waiting for one another, which
        costs the most where other programs compute too.
        """
        if self._streams:
            return len(self._streams)
        return min(MOST_CPU_LANES, torch.get_num_threads())

    @property
    def lane_threads(self) -> int:
        """Threads of torch in each lane."""
        return max(1, torch.get_num_threads() // self.lanes)

    def forward(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The head's inputs ``[B, S, D]`` for ids and mask ``[B, S]`` (1 token, 0 padding).

        Padding is on the right. Where the side echoes, the model reads every text twice and gives
        what it makes of the second reading, in which each token has seen the whole text.
        """
        if not self.side.echo:
            return self._hidden(input_ids, mask)
        count, width = mask.sum(1, keepdim=True), mask.shape[1]
        column = torch.arange(2 * width, device=mask.device)[None, :]
        source = torch.where(column < count, column, column - count).clamp(0, width - 1)
        hidden = self._hidden(input_ids.gather(1, source), (column < 2 * count).to(mask.dtype))
        second = (count + column[:, :width]).clamp(max=2 * width - 1)[:, :, None]
        return hidden.gather(1, second.expand(-1, -1, hidden.shape[2]))

    def _hidden(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        options: dict[str, Any] = {}
        attention = mask
        if self.side.architecture is Architecture.CAUSAL:
            options["use_cache"] = False
        if self.side.bidirectional:
            attention = mask[:, None, None, :].bool().expand(-1, 1, mask.shape[1], -1)
        output = self.model(input_ids=input_ids, attention_mask=attention, **options)
        hidden: torch.Tensor = output[0]  # logits, which are the head's input once it is cut
        return hidden

    def weights(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Term weights ``[B, V]`` float32 of padded texts, special terms 0; differentiable."""
        dense = self.pool(self(input_ids, mask), mask, input_ids)
        return dense.masked_fill(self.excluded, 0.0)

    def pool(
        self, hidden: torch.Tensor, mask: torch.Tensor, input_ids: torch.Tensor
    ) -> torch.Tensor:
        """The weights ``[B, V]`` that the head makes of its inputs ``[B, S, D]``."""
        head = splade_head_sum if self.side.pooling is Pooling.SUM else splade_head
        return head(
            hidden,
            self.decoder.weight,
            self.decoder.bias,
            mask=mask.bool(),
            activation=self.activation,
            logit_scale=self.side.logit_scale,
        )

    @property
    def packs(self) -> bool:
        """Whether texts of any lengths make a batch without padding."""
        return self._first_position is not None

    def prepare_to_encode(self) -> SpladeModel:
        """Make the model, on the device where it will stay, fast without gradients; give it back.

        Its class, parameters and results stay; texts are no longer padded where that can be.
        """
        masked = self.side.architecture is Architecture.MASKED
        if masked and self._takes_maxima and not self.side.echo:
            self._first_position = prepare_packing(self.model)
        if self.excluded.device.type == "cpu":
            use_fast_products(self.model)
        else:
            self._streams = _streams(self.excluded.device)
        return self

    @torch.inference_mode()
    def encode(self, ids: Sequence[Sequence[int]], lane: int = 0) -> SparseVectors:
        """The vectors of one batch of texts, given as token ids.

        Args:
            ids: of each text; none for a text without tokens where the model `packs`.
            lane: calls at once from several threads take numbers of their own.
        """
        with self._lane(lane):
            rows = self._encode_packed(ids) if self.packs else self._encode_padded(ids)
            offsets, terms, weights = (part.cpu().numpy() for part in rows)
        return SparseVectors(offsets, terms, weights, self.vocab_size)

    def _lane(self, number: int) -> AbstractContextManager[object]:
        """On a GPU, one of the streams that run side by side."""
        if not self._streams:
            return contextlib.nullcontext()
        return torch.cuda.stream(self._streams[number % len(self._streams)])

    def _encode_packed(self, ids: Sequence[Sequence[int]]) -> SparseRows:
        texts = pack_texts(ids, self._first_position or 0, self.excluded.device)
        return splade_encode_packed(
            run_packed(self.model, texts),
            self.decoder.weight,
            self.decoder.bias,
            offsets=texts.offsets,
            max_len=texts.max_len,
            activation=self.activation,
            logit_scale=self.side.logit_scale,
            exclude=self.excluded,
            top_n=self.side.top_n,
        )

    def _encode_padded(self, ids: Sequence[Sequence[int]]) -> SparseRows:
        device = self.excluded.device
        input_ids, mask = (part.to(device) for part in pad(ids, self._padding_id))
        if not self._takes_maxima:
            return _sparse_rows(self.weights(input_ids, mask), self.side.top_n)
        return splade_encode(
            self(input_ids, mask),
            self.decoder.weight,
            self.decoder.bias,
            mask=mask.bool(),
            activation=self.activation,
            logit_scale=self.side.logit_scale,
            exclude=self.excluded,
            top_n=self.side.top_n,
        )

    @property
    def _takes_maxima(self) -> bool:
        """Whether the head is the one that the kernels encode with."""
        return self.side.pooling is Pooling.MAX


def pad(ids: Sequence[Sequence[int]], padding_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask ``[B, S]`` int64 of texts of any lengths, padded on the right."""
    longest = max(len(row) for row in ids)
    padded = np.full((len(ids), longest), padding_id, np.int64)
    mask = np.zeros((len(ids), longest), np.int64)
    for i, row in enumerate(ids):
        padded[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return torch.from_numpy(padded), torch.from_numpy(mask)


def _streams(device: torch.device) -> list[torch.cuda.Stream]:
    kind: Any = torch.cuda.Stream  # untyped
    return [kind(device) for _ in range(GPU_LANES)]


def _sparse_rows(dense: torch.Tensor, top_n: int | None) -> SparseRows:
    """The entries above zero of ``[B, V]``, at most the ``top_n`` heaviest of a row."""
    if top_n is not None and top_n < dense.shape[1]:
        best = dense.topk(top_n, dim=1)
        dense = torch.zeros_like(dense).scatter_(1, best.indices, best.values)
    rows, terms = dense.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(dense)).cumsum(0)
    return SparseRows(nn.functional.pad(counts, (1, 0)), terms.int(), dense[rows, terms].float())
