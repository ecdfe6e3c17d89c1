"""A BERT of int8 rows with a vocabulary head as a sparse encoder on a processor.

It gives what `SpladeModel` gives, by `Int8Bert` and by a head that makes in float32 the terms that
can win. The weights stay as they are stored. Needs no transformers.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch

from tamis.index.errors import FormatError
from tamis.index.vectors import SparseVectors
from tamis.kernels.head.activation import Activation
from tamis.kernels.head.cpu import Selection
from tamis.retriever.models.batch_memory import BYTES_A_NUMBER
from tamis.retriever.models.int8_bert import (
    MOST_LANES,
    Int8Bert,
    Tensors,
    Transform,
    attend_in_turn,
    rows_for,
)
from tamis.retriever.models.int8_head import Int8Head, VocabularyMatrix
from tamis.retriever.models.location import read_object
from tamis.retriever.models.quantised_weights import SCALE
from tamis.retriever.models.stored_bert import CONFIG, FILE, WORDS
from tamis.retriever.models.tensor_files import load_arrays

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from tamis.retriever.models.sides import NeuralSide

BATCH_TOKENS = 1024  # what lies between two products stays near a core's cache
HELD_BYTES = 320 << 20  # loops and their compiler, machine code of products, bounds of terms


class Int8Model:
    """Term weights of texts, on the processor.

    Attributes:
        side: what was loaded.
        arithmetic: what it computes with.
        packs: texts of any lengths make a batch without padding.
        batch_tokens: that make a good batch.
        lanes: batches that are best under way at once, each in a thread of its own.
        lane_threads: threads of torch in each lane.
        held_bytes: what the first batch leaves behind.
        lane_bytes: what a batch under way takes.
    """

    arithmetic = "int8"
    packs = True
    batch_tokens = BATCH_TOKENS
    held_bytes = HELD_BYTES

    def __init__(
        self, side: NeuralSide, special_ids: Iterable[int], attention: torch.dtype
    ) -> None:
        """Load a side that `runs_in_int8`.

        Args:
            side: what to load.
            special_ids: terms that are never emitted.
            attention: bfloat16 or float32, what the processor multiplies faster.

        Raises:
            FormatError: tensors are missing, or of other shapes than the model's.
        """
        self.side = side
        excluded = torch.zeros(side.vocab_size, dtype=torch.bool)
        excluded[list(special_ids)] = True
        self._keep = Selection(0.0, side.top_n, excluded)
        self._activation = Activation.LOG1P_LOG1P_RELU if side.double_log else Activation.LOG1P_RELU
        config = read_object(side.folder / CONFIG)
        try:
            tensors = Tensors(load_arrays(side.folder / FILE), config["layer_norm_eps"])
            layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
            self._bert = Int8Bert.of(tensors.below("bert"), layers, heads, attention)
            transform = tensors.below("cls.predictions.transform")
            self._transform = Transform.of(transform, linear=side.linear_head)
            self._head = _head(tensors)
        except KeyError as error:
            raise FormatError(
                f"{side.folder}: expected the weights of the whole model, found none for {error}; "
                "copy the folder anew from its source"
            ) from error

    @property
    def vocab_size(self) -> int:
        """Number of terms."""
        return self.side.vocab_size

    @property
    def lanes(self) -> int:
        """See the class."""
        return min(MOST_LANES, torch.get_num_threads())

    @property
    def lane_threads(self) -> int:
        """See the class."""
        return max(1, torch.get_num_threads() // self.lanes)

    @property
    def lane_bytes(self) -> int:
        """See the class."""
        width: int = self._bert.positions.shape[1]
        return self.batch_tokens * width * BYTES_A_NUMBER

    @torch.inference_mode()
    def encode(self, ids: Sequence[Sequence[int]], lane: int = 0) -> SparseVectors:
        """The vectors of one batch of texts, given as token ids; none for a text without tokens.

        Raises:
            FormatError: the model gives weights that are not finite.
        """
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        bounds = np.concatenate([[0], lengths.cumsum()])
        total = int(bounds[-1])
        tokens = np.zeros(rows_for(total), np.int64)  # what is beyond the texts is never read
        tokens[:total] = np.fromiter(itertools.chain.from_iterable(ids), np.int64, total)
        places = np.zeros_like(tokens)
        places[:total] = np.arange(total) - np.repeat(bounds[:-1], lengths)
        hidden = self._hidden(tokens, places, bounds.tolist())
        try:
            rows = self._head.encode(
                hidden, bounds.tolist(), self._activation, self.side.logit_scale, self._keep
            )
        except ValueError as error:
            raise FormatError(f"{self.side.folder}: {error}") from error
        offsets, terms, weights = (part.numpy() for part in rows)
        return SparseVectors(offsets, terms, weights, self.vocab_size)

    def _hidden(
        self, tokens: NDArray[np.int64], places: NDArray[np.int64], bounds: Sequence[int]
    ) -> torch.Tensor:
        """The head's input [T, D] float32."""
        states = self._bert.embed(tokens, places)
        for layer in self._bert.layers:
            self._bert.run(layer, states, lambda parts: attend_in_turn(parts, bounds))
        return torch.from_numpy(self._transform.run(states))


def _head(tensors: Tensors) -> Int8Head:
    rows, scales = tensors.array(WORDS), tensors.array(WORDS + SCALE)
    return Int8Head(VocabularyMatrix.of(rows, scales, tensors.array("cls.predictions.bias")))
