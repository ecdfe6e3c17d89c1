"""Hugging Face models as block rerankers: which are supported, and how each of them reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tamis.index.errors import FormatError, InputError
from tamis.retriever.rerank.attention import (
    DocumentKeys,
    ForwardPass,
    Reading,
    ScoresReady,
    running,
    use_block_attention,
)
from tamis.retriever.rerank.float8 import use_float8

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tamis.retriever.rerank.layout import BlockLayout, BlockSizes

CAUSAL = {"llama": True, "mistral": True, "qwen3": True, "bert": False, "modernbert": False}
DEPTH = 0.64  # of the scoring layer where nothing says which: layer 20 of 32, as published


class BlockModel(ABC):
    """A model up to its scoring layer, however its layers are computed.

    Attributes:
        reading: how its layers read.
    """

    reading: Reading

    @property
    def lanes(self) -> int:
        """Forwards that are best under way at once, each in a thread of its own."""
        return 1

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the model runs."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Of keys and values."""

    @abstractmethod
    def run_layers(
        self,
        forward_pass: ForwardPass,
        ids: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
    ) -> Any:  # noqa: ANN401  a model's output
        """Run layer after layer until one raises `ScoresReady`; arguments as of `run`."""

    def __call__(
        self, layout: BlockLayout, segments: NDArray[np.int32] | None = None
    ) -> torch.Tensor:
        """See `forward`."""
        return self.forward(layout, segments)

    def forward(
        self, layout: BlockLayout, segments: NDArray[np.int32] | None = None
    ) -> torch.Tensor:
        """The log mass ``[documents, most signals, heads]`` float32 of a packed batch.

        Args:
            layout: the batch.
            segments: what to score, if not documents: single tokens, say; rows as
                `BlockLayout.segments`.
        """
        return self.run(ForwardPass(layout, self.reading, segments=segments))

    def with_held(self, layout: BlockLayout, held: DocumentKeys) -> torch.Tensor:
        """The same for documents whose keys are known; the layout has one list, without any."""
        return self.run(ForwardPass(layout, self.reading, held=held))

    def document_keys(self, layout: BlockLayout) -> DocumentKeys:
        """The keys and values of a batch's documents, in the layers where the query reads them."""
        kept: dict[int, tuple[torch.Tensor, torch.Tensor | None]] = {}
        self.run(ForwardPass(layout, self.reading, kept=kept))
        lengths = torch.from_numpy(layout.segments[:, 3] - layout.segments[:, 2])
        bounds = nn.functional.pad(lengths.cumsum(0), (1, 0)).int().numpy()
        return DocumentKeys(bounds, kept, np.zeros(len(bounds) - 1, bool))

    def run(
        self,
        forward_pass: ForwardPass,
        ids: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The log mass of one forward.

        Args:
            forward_pass: what it reads and scores.
            ids: ``[tokens]`` where the model runs; None for the layout's.
            positions: the same.
        """
        try:
            self.run_layers(forward_pass, ids, positions)
        except ScoresReady as ready:
            return ready.scores
        raise AssertionError("the scoring layer never ran")


class Backbone(BlockModel, nn.Module):
    """A Hugging Face model as it is.

    Attributes:
        model: the Hugging Face model, unforked.
        reading: how its layers read.
    """

    def __init__(self, model: Any, scoring_layer: int, reads_from: int = 0) -> None:  # noqa: ANN401
        """Have the model read blocks.

        Args:
            model: of a supported architecture, without a task's head.
            scoring_layer: the layer that gives the scores, from 0.
            reads_from: first layer in which the query reads documents.

        Raises:
            FormatError: the architecture is not supported.
            InputError: the model has no such layer.
        """
        super().__init__()
        check_architecture(model.config.model_type)
        layers = int(model.config.num_hidden_layers)
        if not 0 <= reads_from <= scoring_layer < layers:
            raise InputError(
                f"expected a scoring layer below {layers} and none read after it, found "
                f"{scoring_layer} read from {reads_from}; correct reranker.json"
            )
        self.model = model
        windows = _windows(model.config)
        if windows[scoring_layer] is not None:
            raise InputError(
                f"expected a scoring layer that reads globally, found layer {scoring_layer}, which "
                f"reads {windows[scoring_layer]} tokens; choose another"
            )
        causal = CAUSAL[model.config.model_type]
        self.reading = Reading(causal, scoring_layer, reads_from, windows)
        use_block_attention(model)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        device: torch.device = self.model.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Of weights, keys and values."""
        dtype: torch.dtype = self.model.dtype
        return dtype

    def use_float8(self) -> None:
        """Round the linear layers below the scoring layer; see `tamis.retriever.rerank.float8`.

        Raises:
            InputError: the model is no decoder, or its sizes do not allow it.
        """
        if not self.reading.causal:
            raise InputError(
                f"expected a decoder for float8 products, found {self.model.config.model_type}; "
                "leave products out"
            )
        for layer in _layers(self.model)[: self.reading.scoring_layer]:
            use_float8(layer)

    def compile_layers(self) -> None:
        """Have torch.compile fuse what lies between matrix products: norms, rotations, additions.

        One compilation serves all layers and all lengths; it takes half a minute, at the first
        forward. Attention stays as it is. Gradients cannot be taken afterwards.
        """
        use_block_attention(self.model, compiled=True)
        for layer in _layers(self.model):
            layer.compile(dynamic=True)

    def to_the_end(self, layout: BlockLayout) -> tuple[torch.Tensor, torch.Tensor]:
        """What `forward` gives, and the last hidden states ``[tokens, D]``: no layer is left out.

        For a model that is trained to say something as well; it needs all its layers, which
        `load_reranker` does not load.
        """
        forward_pass = ForwardPass(layout, self.reading, to_the_end=True)
        states: torch.Tensor = self.run_layers(forward_pass).last_hidden_state[0]
        assert forward_pass.scores is not None
        return forward_pass.scores, states

    def run_layers(
        self,
        forward_pass: ForwardPass,
        ids: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
    ) -> Any:  # noqa: ANN401  a model's output
        """See `BlockModel`; the model's output, where no layer raises."""
        layout = forward_pass.layout
        ids = torch.from_numpy(layout.ids).to(self.device) if ids is None else ids
        if positions is None:
            positions = torch.from_numpy(layout.positions).to(self.device)
        options: dict[str, Any] = {"use_cache": False} if self.reading.causal else {}
        with running(forward_pass):
            return self.model(
                input_ids=ids[None], position_ids=positions[None], blocks=forward_pass, **options
            )


def check_architecture(model_type: str | None) -> None:
    """Refuse models whose layers were not checked.

    Args:
        model_type: as Hugging Face configurations name it.

    Raises:
        FormatError: with the list of those that were.
    """
    if model_type not in CAUSAL:
        raise FormatError(
            f"expected a model of type {', '.join(sorted(CAUSAL))}, found {model_type}; "
            "use one of these as a reranker"
        )


def check_positions(config: Any, sizes: BlockSizes) -> None:  # noqa: ANN401  any configuration
    """Refuse block sizes beyond the positions of a model.

    Raises:
        InputError: they need more.
    """
    most = int(config.max_position_embeddings)
    if sizes.positions > most:
        raise InputError(
            f"expected blocks of at most {most} positions together, found {sizes.positions}; "
            "choose smaller sizes"
        )


def default_scoring_layer(config: Any) -> int:  # noqa: ANN401  any Hugging Face configuration
    """A layer two thirds up that reads globally."""
    windows = _windows(config)
    wanted = round(DEPTH * (len(windows) - 1))
    reading = [layer for layer, window in enumerate(windows) if window is None]
    return min(reading, key=lambda layer: (abs(layer - wanted), layer))


def _layers(model: Any) -> nn.ModuleList:  # noqa: ANN401  any Hugging Face model
    layers: nn.ModuleList = model.encoder.layer if hasattr(model, "encoder") else model.layers
    return layers


def _windows(config: Any) -> tuple[int | None, ...]:  # noqa: ANN401  any Hugging Face configuration
    """By layer, how far its tokens see; decoders' windows are set aside, blocks are shorter."""
    layers = int(config.num_hidden_layers)
    if config.model_type != "modernbert":
        return (None,) * layers
    kinds = config.layer_types
    half = int(config.local_attention) // 2
    return tuple(half if kinds[layer] == "sliding_attention" else None for layer in range(layers))
