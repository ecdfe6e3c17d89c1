"""Block-sparse attention inside unforked Hugging Face models, and the exit that gives the scores.

transformers calls `attend` in every layer, through its `AttentionInterface`, with the `ForwardPass`
that was given to the model as the keyword argument ``blocks``. At the scoring layer queries and
keys are all that is needed: `attend` takes the scores and leaves the model by raising
`ScoresReady`, so that the rest of that layer and all later ones never run. Gradients flow through
the exception's tensor as through any other.
"""

from __future__ import annotations

import functools
import itertools
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch

from tamis.kernels.blocks.ops import Ranges, block_attention, cached_ranges, segment_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from tamis.retriever.rerank.layout import BlockLayout

NAME = "tamis_blocks"
NAME_COMPILED = "tamis_blocks_compiled"
SCHEMA = "(Tensor query, Tensor key, Tensor value, float scale) -> Tensor"


class ScoresReady(Exception):  # noqa: N818  no error
    """Leaves a model's forward with ``scores`` [documents, most signals, heads]."""

    def __init__(self, scores: torch.Tensor) -> None:
        """Carry the scores out."""
        super().__init__()
        self.scores = scores


class Reading(NamedTuple):
    """How the layers of a model read.

    Attributes:
        causal: whether a token reads its block only up to itself.
        scoring_layer: the layer whose queries and keys give the scores, from 0.
        reads_from: first layer in which the query reads documents.
        windows: by layer, how far tokens see within their block where they see nothing else; None
            for a layer that reads ranges.
    """

    causal: bool
    scoring_layer: int
    reads_from: int
    windows: tuple[int | None, ...]


class DocumentKeys(NamedTuple):
    """Keys and values of documents, as the query's layers read them.

    Attributes:
        bounds: ``[documents + 1]`` int32, first row of each document.
        layers: by layer, keys and values ``[rows, key heads, D]``; the scoring layer has no values.
        blank: ``[documents]`` bool, those without text.
    """

    bounds: NDArray[np.int32]
    layers: dict[int, tuple[torch.Tensor, torch.Tensor | None]]
    blank: NDArray[np.bool_]

    def between(
        self, layer: int, prefix: int, k: torch.Tensor, v: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One layer's keys and values between those of ``prefix`` rows and those of a query."""
        keys, values = self.layers[layer]
        assert values is not None
        joined = torch.cat([k[:prefix], keys, k[prefix:]])
        return joined, torch.cat([v[:prefix], values, v[prefix:]])


class Held(Protocol):
    """Documents whose keys are known, as `DocumentKeys`."""

    @property
    def bounds(self) -> NDArray[np.int32]:
        """See `DocumentKeys`."""

    @property
    def layers(self) -> dict[int, tuple[torch.Tensor, torch.Tensor | None]]:
        """See `DocumentKeys`."""

    def between(
        self, layer: int, prefix: int, k: torch.Tensor, v: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `DocumentKeys`."""


@dataclass(eq=False)
class ForwardPass:
    """What one forward needs to know; made for each batch.

    Attributes:
        layout: the packed batch.
        reading: how the layers read.
        held: documents whose keys are known; the layout then has one list, without documents, and
            segments are of the held keys.
        kept: where to leave the documents' keys and values, None for nowhere.
        segments: what is scored, if not the documents; see `BlockLayout.segments`.
        table: the same segments where the model runs, None to send them there.
        to_the_end: whether later layers run as well; the scores are then left in ``scores``.
        scores: ``[documents, most signals, heads]``, once the scoring layer has run.
    """

    layout: BlockLayout
    reading: Reading
    held: Held | None = None
    kept: dict[int, tuple[torch.Tensor, torch.Tensor | None]] | None = None
    segments: NDArray[np.int32] | None = None
    table: torch.Tensor | None = None
    to_the_end: bool = False
    scores: torch.Tensor | None = None
    _rows: dict[torch.device, torch.Tensor] = field(default_factory=dict)
    _ranges: dict[int, Ranges] = field(default_factory=dict)

    def attend(
        self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """The output ``[tokens, heads, D]`` of one layer.

        Raises:
            ScoresReady: this is the scoring layer.
        """
        k, v, ranges = self.read(layer, q, k, v, scale)
        return block_attention(q, k, v, ranges, scale)

    def read(
        self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor, Ranges]:
        """The keys and values of one layer, and which of them its queries read.

        Raises:
            ScoresReady: this is the scoring layer.
        """
        self._keep(layer, k, v)
        if layer == self.reading.scoring_layer:
            self.scores = self._scores(q, k, scale)
            if not self.to_the_end:
                raise ScoresReady(self.scores)
        window = self.reading.windows[layer]
        reads = layer >= self.reading.reads_from
        if self.held is None or not reads or window is not None:
            causal = self.reading.causal
            return k, v, self.layout.ranges(causal=causal, query_reads=reads, window=window)
        prefix = int(self.layout.bounds[1])
        ranges = self._held_ranges(prefix, int(self.held.bounds[-1]), len(k) - prefix)
        return *self.held.between(layer, prefix, k, v), ranges

    def _scores(self, q: torch.Tensor, k: torch.Tensor, scale: float) -> torch.Tensor:
        segments = self.segments
        if self.held is not None:
            k = self.held.layers[self.reading.scoring_layer][0]
            segments = held_segments(self.layout, self.held) if segments is None else segments
        elif segments is None:
            segments = self.layout.segments
        return segment_scores(q, k, segments, scale, self.table)

    def _held_ranges(self, prefix: int, documents: int, query: int) -> Ranges:
        """Made once for all layers: it carries their work lists."""
        if documents not in self._ranges:
            ranges = cached_ranges(prefix, documents, query, causal=self.reading.causal)
            self._ranges[documents] = ranges
        return self._ranges[documents]

    def _keep(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> None:
        if self.kept is None or layer < self.reading.reads_from:
            return
        if k.device not in self._rows:
            spans = self.layout.segments[:, 2:].tolist()
            rows = np.concatenate([np.arange(start, stop) for start, stop in spans])
            self._rows[k.device] = torch.from_numpy(rows).to(k.device)
        at = self._rows[k.device]
        last = layer == self.reading.scoring_layer
        self.kept[layer] = (k[at], None if last else v[at])


def held_segments(layout: BlockLayout, held: Held) -> NDArray[np.int32]:
    """What a query scores of held documents: its signal rows, and each document's keys."""
    ends = np.stack([held.bounds[:-1], held.bounds[1:]], 1)
    signals = np.repeat(layout.signals, len(ends), 0)
    return np.concatenate([signals, ends], 1).astype(np.int32)


def attend(
    module: Any,  # noqa: ANN401  any attention module
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    blocks: ForwardPass,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """What transformers calls in place of its own attention; heads come first, batch size is 1."""
    q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))  # [tokens, heads, D]
    return blocks.attend(module.layer_idx, q, k, v, scaling)[None], None


def use_block_attention(model: Any, *, compiled: bool = False) -> None:  # noqa: ANN401  any model
    """Have a Hugging Face model call `attend`; its forward then needs ``blocks``.

    Args:
        model: the model.
        compiled: its layers are compiled, and forwards run within `running`.
    """
    from transformers import AttentionInterface

    function: Any = _attend_traced(_operator()) if compiled else attend
    AttentionInterface.register(NAME_COMPILED if compiled else NAME, function)
    model.set_attn_implementation(NAME_COMPILED if compiled else NAME)


class _Running(NamedTuple):
    """The forward under way in this thread, and the number of the layer that comes next."""

    blocks: ForwardPass
    layers: Iterator[int]


_RUNNING: ContextVar[_Running] = ContextVar("tamis_running")


@contextmanager
def running(blocks: ForwardPass) -> Iterator[None]:
    """Let compiled layers find the forward that they run in: they can be handed tensors alone."""
    token = _RUNNING.set(_Running(blocks, itertools.count()))
    try:
        yield
    finally:
        _RUNNING.reset(token)


@functools.cache
def _operator() -> Callable[..., torch.Tensor]:
    """`attend` as an operator, which torch.compile takes as it is: a layer stays one piece.

    It has no backward. Layers run in order, each once, so that they need not say which they are:
    a number would have each of them compiled for itself.
    """
    library: Any = torch.library.Library("tamis", "FRAGMENT")  # type: ignore[no-untyped-call]
    library.define(f"attend{SCHEMA}")

    def run(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        blocks, layers = _RUNNING.get()
        q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
        return blocks.attend(next(layers), q, k, v, scale).contiguous()[None]

    def shape(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        return query.new_empty(1, query.shape[2], query.shape[1], query.shape[3])

    library.impl("attend", run, "CompositeExplicitAutograd")
    torch.library.register_fake("tamis::attend", shape, lib=library)
    _LIBRARIES.append(library)  # an operator lives as long as its library
    found: Callable[..., torch.Tensor] = torch.ops.tamis.attend.default
    return found


_LIBRARIES: list[Any] = []


def _attend_traced(operator: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    """`attend` for layers that are compiled."""

    def attend_traced(
        module: Any,  # noqa: ANN401  as `attend`
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        *,
        scaling: float,
        **_: object,
    ) -> tuple[torch.Tensor, None]:
        return operator(query, key, value, scaling), None

    return attend_traced
