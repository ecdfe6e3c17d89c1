"""Many queries over the same held documents: on a GPU, one CUDA graph a forward.

A query over held documents is a hundred rows through twenty layers: its kernels take less time than
it takes to launch them. A graph launches them all at once. It reads its query from fixed places,
and its documents' keys stand in buffers with room for the prefix's and the query's own, so that
nothing is copied but those.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from tamis.index.errors import InputError
from tamis.retriever.rerank.attention import ForwardPass, held_segments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tamis.retriever.rerank.attention import DocumentKeys, Held
    from tamis.retriever.rerank.backbone import BlockModel
    from tamis.retriever.rerank.layout import BlockLayout

STEP = 16  # queries are filled up to a multiple of so many tokens, to share a graph
LENGTHS = 8  # graphs that are kept, each with its own activations
WARM_UP = 2  # forwards before a graph is recorded: they compile kernels and send work lists
_RECORDING = threading.Lock()  # one graph at a time in a process


@dataclass(frozen=True, eq=False)
class RoomyKeys:
    """Held documents between room for a prefix's keys and a query's.

    Attributes:
        prefix: rows of the prefix.
        bounds: ``[documents + 1]`` int32, first row of each document.
        layers: documents' keys and values by layer; where there are values, views of ``rooms``.
        rooms: by layer, keys and values of the prefix, the documents and the query.
    """

    prefix: int
    bounds: NDArray[np.int32]
    layers: dict[int, tuple[torch.Tensor, torch.Tensor | None]]
    rooms: dict[int, tuple[torch.Tensor, torch.Tensor]]

    @staticmethod
    def around(held: Held, prefix: int, query: int) -> RoomyKeys:
        """Copy held documents into buffers with room for so many more rows."""
        layers: dict[int, tuple[torch.Tensor, torch.Tensor | None]] = {}
        rooms: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        stop = prefix + int(held.bounds[-1])
        for layer, (keys, values) in held.layers.items():
            layers[layer] = keys, None
            if values is not None:
                room = keys.new_empty(2, stop + query, *keys.shape[1:])
                rooms[layer] = room[0], room[1]
                layers[layer] = room[0, prefix:stop], room[1, prefix:stop]
                for place, rows in zip(room, (keys, values), strict=True):
                    place[prefix:stop] = rows
        return RoomyKeys(prefix, held.bounds, layers, rooms)

    def between(
        self, layer: int, prefix: int, k: torch.Tensor, v: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `DocumentKeys.between`, in place."""
        start = prefix + int(self.bounds[-1])
        stop = start + len(k) - prefix
        keys, values = self.rooms[layer]
        for room, rows in ((keys, k), (values, v)):
            room[:prefix] = rows[:prefix]
            room[start:stop] = rows[prefix:]
        return keys[:stop], values[:stop]


class HeldQueries:
    """Scores queries over held documents; safe to use from several threads, one query at a time.

    The first query of each length, for decoders counted in steps of 16 tokens, runs several
    forwards; later ones replay. Eight lengths are kept, those used last. On a CPU every query
    runs as it is.

    Attributes:
        bounds: ``[documents + 1]`` int32, as `DocumentKeys`.
        blank: ``[documents]`` bool, as `DocumentKeys`.
    """

    def __init__(self, backbone: BlockModel, held: DocumentKeys, longest_query: int) -> None:
        """Take documents; the first query copies their keys, which may then be let go.

        Args:
            backbone: which made them.
            held: the documents.
            longest_query: tokens of a query's block, at most.
        """
        self.bounds, self.blank = held.bounds, held.blank
        self._backbone = backbone
        self._held: DocumentKeys | RoomyKeys = held
        self._longest = -(-longest_query // STEP) * STEP
        self._forwards: dict[tuple[int, int, int], _Forward] = {}
        self._lock = threading.Lock()

    @torch.inference_mode()
    def __call__(self, layout: BlockLayout) -> torch.Tensor:
        """What `BlockModel.with_held` gives; the prefix is as long in every call.

        Args:
            layout: one list, without documents.

        Raises:
            InputError: the query's block is longer than was said.
        """
        query = int(layout.bounds[2] - layout.bounds[1])
        if query > self._longest:
            raise InputError(
                f"expected a query of at most {self._longest} tokens, found {query}; hold the "
                "documents for longer queries, or cut this one"
            )
        if self._backbone.reading.causal:
            layout = filled_up(layout)
        signals = int(layout.signals[0, 1] - layout.signals[0, 0])
        prefix = int(layout.bounds[1])
        key = prefix, layout.tokens, signals
        with self._lock:
            held = self._room(prefix)
            forward = self._forwards.pop(key, None) or _Forward(self._backbone, held, layout)
            while len(self._forwards) >= LENGTHS:
                self._forwards.pop(next(iter(self._forwards)))  # the one used longest ago
            self._forwards[key] = forward
            return forward(layout)

    def _room(self, prefix: int) -> RoomyKeys:
        held = self._held
        if not isinstance(held, RoomyKeys) or held.prefix != prefix:
            self._forwards.clear()
            self._held = held = RoomyKeys.around(held, prefix, self._longest)
        return held


class _Forward:
    """One forward whose inputs stay where they are; recorded, where the model runs on CUDA."""

    def __init__(self, backbone: BlockModel, held: RoomyKeys, layout: BlockLayout) -> None:
        self._backbone = backbone
        segments = held_segments(layout, held)
        device = backbone.device
        self._ids = torch.from_numpy(layout.ids).to(device)
        self._positions = torch.from_numpy(layout.positions).to(device)
        table = torch.from_numpy(segments).to(device)
        self._pass = ForwardPass(
            layout, backbone.reading, held=held, segments=segments, table=table
        )
        self._graph: torch.cuda.CUDAGraph | None = None
        if device.type == "cuda":
            with _RECORDING:
                self._record()

    def __call__(self, layout: BlockLayout) -> torch.Tensor:
        held, table = self._pass.held, self._pass.table
        assert held is not None
        assert table is not None
        self._pass.segments = held_segments(layout, held)
        self._ids.copy_(torch.from_numpy(layout.ids))
        self._positions.copy_(torch.from_numpy(layout.positions))
        table.copy_(torch.from_numpy(self._pass.segments))
        if self._graph is None:
            return self._run()
        self._graph.replay()
        scores = self._scores.clone()
        torch.cuda.current_stream(scores.device).synchronize()  # before a thread's next query
        return scores

    def _run(self) -> torch.Tensor:
        return self._backbone.run(self._pass, self._ids, self._positions)

    def _record(self) -> None:
        """Record a forward, after some on a stream of their own, as CUDA graphs ask for."""
        stream: torch.cuda.Stream = torch.cuda.Stream(self._ids.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._ids.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._run()
        torch.cuda.current_stream(self._ids.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._scores = self._run()


def filled_up(layout: BlockLayout) -> BlockLayout:
    """A causal query's block with tokens after its last, which nothing before them reads."""
    more = -int(layout.bounds[2] - layout.bounds[1]) % STEP
    bounds = layout.bounds.copy()
    bounds[2] += more
    return replace(
        layout,
        ids=np.concatenate([layout.ids, np.zeros(more, np.int64)]),
        positions=np.concatenate([layout.positions, np.repeat(layout.positions[-1:], more)]),
        bounds=bounds,
    )
