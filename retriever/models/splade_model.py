"""A language model as a sparse encoder: token ids in, weights of terms out.

transformers runs the backbone and the head's transform unforked; what follows is the head, see
`heads`. Loading is `language_model`'s affair.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tamis.index.errors import FormatError
from tamis.index.vectors import SparseVectors
from tamis.retriever.models.batch_memory import BYTES_A_NUMBER
from tamis.retriever.models.description import Architecture, NeuralSide
from tamis.retriever.models.fast_linear import use_fast_products
from tamis.retriever.models.packing import pack_texts, prepare_packing, run_packed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from tamis.kernels.head.ops import SparseRows
    from tamis.retriever.models.head import Head

CPU_BATCH_TOKENS = 4096  # hidden states stay near the cache
GPU_BATCH_TOKENS = 65_536
GPU_LANES = 2
HELD_BYTES = 64 << 20
MOST_CPU_LANES = 4  # each holds the activations of a batch


class SpladeModel(nn.Module):
    """A language model whose pooled logits are the weights of terms.

    Attributes:
        model: the Hugging Face model, whose output embeddings pass their input through.
        head: makes weights of terms of what the model gives.
        excluded: ``[V]`` bool, terms that are never emitted.
        padding_id: stands where a text of a padded batch has ended.
    """

    excluded: torch.Tensor

    def __init__(
        self, side: NeuralSide, model: nn.Module, head: Head, special_ids: Iterable[int]
    ) -> None:
        """Join a model and its head; see `load_language_model`."""
        super().__init__()
        self.side = side
        self.model = model
        self.head = head
        excluded = torch.zeros(side.vocab_size, dtype=torch.bool)
        excluded[list(special_ids)] = True
        self.register_buffer("excluded", excluded, persistent=False)
        self.padding_id = padding_id(model)
        self._first_position: int | None = None  # set where texts are packed
        self._streams: list[torch.cuda.Stream] = []

    @property
    def vocab_size(self) -> int:
        """Number of terms."""
        return self.side.vocab_size

    @property
    def arithmetic(self) -> str:
        """What it computes with, such as ``bfloat16``."""
        return str(next(self.parameters()).dtype).removeprefix("torch.")

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

    @property
    def held_bytes(self) -> int:
        """What the first batch leaves behind."""
        return HELD_BYTES

    @property
    def lane_bytes(self) -> int:
        """What a batch under way takes of this machine's memory."""
        if self.excluded.device.type != "cpu":
            return 0
        config: Any = self.model.config
        return self.batch_tokens * int(config.hidden_size) * BYTES_A_NUMBER

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
        dense = self.head.pool(self(input_ids, mask), mask, input_ids)
        return dense.masked_fill(self.excluded, 0.0)

    @property
    def packs(self) -> bool:
        """Whether texts of any lengths make a batch without padding."""
        return self._first_position is not None

    def prepare_to_encode(self) -> SpladeModel:
        """Make the model, on the device where it will stay, fast without gradients; give it back.

        Its class, parameters and results stay; texts are no longer padded where that can be.
        """
        causal = self.side.architecture is Architecture.CAUSAL
        if self.head.packs and not causal and not self.side.echo:
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

        Raises:
            FormatError: the model gives weights that are not finite.
        """
        with self._lane(lane), self._told():
            rows = self._encode_packed(ids) if self.packs else self._encode_padded(ids)
            offsets, terms, weights = (part.cpu().numpy() for part in rows)
        return SparseVectors(offsets, terms, weights, self.vocab_size)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Name the model where the head refuses its weights."""
        try:
            yield
        except ValueError as error:
            raise FormatError(f"{self.side.folder}: {error}") from error

    def _lane(self, number: int) -> AbstractContextManager[object]:
        """On a GPU, one of the streams that run side by side."""
        if not self._streams:
            return contextlib.nullcontext()
        return torch.cuda.stream(self._streams[number % len(self._streams)])

    def _encode_packed(self, ids: Sequence[Sequence[int]]) -> SparseRows:
        texts = pack_texts(ids, self._first_position or 0, self.excluded.device)
        hidden = run_packed(self.model, texts)
        return self.head.encode_packed(hidden, texts, exclude=self.excluded, top_n=self.side.top_n)

    def _encode_padded(self, ids: Sequence[Sequence[int]]) -> SparseRows:
        device = self.excluded.device
        input_ids, mask = (part.to(device) for part in pad(ids, self.padding_id))
        hidden = self(input_ids, mask)
        return self.head.encode(
            hidden, mask, input_ids, exclude=self.excluded, top_n=self.side.top_n
        )


def padding_id(model: nn.Module) -> int:
    """The id that a Hugging Face model pads with; 0 where it names none that it has a row for."""
    config: Any = model.config
    return max(0, config.pad_token_id or 0)


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
