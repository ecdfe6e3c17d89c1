"""The layers of a BERT whose matrices are int8 rows, multiplied as they are on a processor.

Texts lie end to end and nothing is padded. Every matrix product runs in 8-bit whole numbers, each
token rounded by a scale of its own; attention runs in bfloat16 or float32, all else in float32.
Knows nothing of vocabulary heads or of what attention reads. Needs no transformers.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from tamis.kernels.int8 import Int8Matrix, int8_product, pack_int8
from tamis.retriever.models import row_loops as loops
from tamis.retriever.models.quantised_weights import SCALE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Attention = Callable[[torch.Tensor], torch.Tensor]

MOST_LANES = 8  # batches at once, each in a thread: beyond, they wait for one another in Python


class Linear(NamedTuple):
    """A linear layer: ``matrix`` [N, D] and ``bias`` [N] float32."""

    matrix: Int8Matrix
    bias: Floats


class Norm(NamedTuple):
    """A LayerNorm: ``gain`` and ``shift`` [D] float32, ``epsilon``."""

    gain: Floats
    shift: Floats
    epsilon: np.float32


class Layer(NamedTuple):
    """A layer of a BERT; ``attended`` and what follows are None where only queries and keys matter.

    projections: to queries (over the root of a head's width), keys and values, one below the other.
    """

    projections: Linear
    attended: Linear | None
    attention_norm: Norm | None
    widened: Linear | None
    narrowed: Linear | None
    output_norm: Norm | None


class States(NamedTuple):
    """Tokens between layers.

    hidden:  [T, D] float32.
    rounded: [T, D] uint8, the same rounded.
    scales:  [T] float32, of the rounded rows.
    """

    hidden: Floats
    rounded: NDArray[np.uint8]
    scales: Floats


class Tensors(NamedTuple):
    """The arrays of a file of int8 rows, read below a prefix of their names."""

    arrays: Mapping[str, NDArray[Any]]
    epsilon: float  # of every LayerNorm
    prefix: str = ""

    def below(self, name: str) -> Tensors:
        """Those whose names begin with ``name.``."""
        return self._replace(prefix=f"{self.prefix}{name}.")

    def array(self, name: str) -> NDArray[Any]:
        """One array as it is stored."""
        return self.arrays[self.prefix + name]

    def rows(self, name: str) -> Floats:
        """The float32 matrix that int8 rows stand for."""
        scales = self.array(name + SCALE)
        matrix: Floats = self.array(name).astype(np.float32) * scales[:, None]
        return matrix

    def norm(self, name: str) -> Norm:
        """A LayerNorm."""
        one = self.below(name)
        return Norm(one.array("weight"), one.array("bias"), np.float32(self.epsilon))

    def linear(self, *names: str, factors: Sequence[float] = ()) -> Linear:
        """Linear layers one below the other, each times a factor (1 where none is given)."""
        by = (*factors, *(1.0,) * (len(names) - len(factors)))
        parts = [(self.below(name), np.float32(one)) for name, one in zip(names, by, strict=True)]
        matrix = np.concatenate([part.array("weight") for part, _ in parts])
        scales = np.concatenate([part.array("weight" + SCALE) * one for part, one in parts])
        bias = np.concatenate([part.array("bias") * one for part, one in parts])
        return Linear(pack_int8(torch.from_numpy(matrix), torch.from_numpy(scales)), bias)


@dataclass(frozen=True, eq=False)
class Int8Bert:
    """Embeddings and layers; see the module.

    Attributes:
        words: [V, D] int8 rows and their [V] scales.
        positions: [P, D] float32, the first kind of segment added.
        norm: of the embeddings.
        layers: from the first.
        heads: of attention.
        dtype: of attention, bfloat16 or float32.
    """

    words: tuple[NDArray[np.int8], Floats]
    positions: Floats
    norm: Norm
    layers: Sequence[Layer]
    heads: int
    dtype: torch.dtype

    @staticmethod
    def of(tensors: Tensors, layers: int, heads: int, dtype: torch.dtype) -> Int8Bert:
        """The model whose ``embeddings`` and ``encoder`` lie among ``tensors``.

        Args:
            tensors: of int8 rows, by the names that Hugging Face gives them.
            layers: how many of its layers to read.
            heads: of attention.
            dtype: of attention.
        """
        embeddings = tensors.below("embeddings")
        positions = embeddings.rows("position_embeddings.weight")
        positions = positions + embeddings.rows("token_type_embeddings.weight")[0]
        name = "word_embeddings.weight"
        return Int8Bert(
            (embeddings.array(name), embeddings.array(name + SCALE)),
            positions,
            embeddings.norm("LayerNorm"),
            [_layer(tensors.below(f"encoder.layer.{i}"), heads) for i in range(layers)],
            heads,
            dtype,
        )

    def embed(self, ids: NDArray[np.int64], positions: NDArray[np.int64]) -> States:
        """The states before the first layer of tokens [T] and their places in their texts."""
        rows, scales = self.words
        hidden = self.positions[positions]
        states = States(hidden, np.empty(hidden.shape, np.uint8), scales[ids])
        return _add(
            rows[ids].astype(np.float32), states, np.zeros(hidden.shape[1], np.float32), self.norm
        )

    def run(self, layer: Layer, states: States, attention: Attention) -> None:
        """One layer, over ``states``.

        Args:
            layer: one of ``layers``.
            states: of all tokens.
            attention: from queries, keys and values [T, 3, heads, width] to what they give,
                [T, heads, width] float32.
        """
        hidden, rounded, scales = states
        assert layer.attended is not None
        assert layer.widened is not None
        assert layer.narrowed is not None
        found = attention(self.project(layer, states)).view(hidden.shape).numpy()
        loops.round_rows(found, rounded, scales)
        _add(_times(rounded, layer.attended), states, layer.attended.bias, layer.attention_norm)
        wide = _times(rounded, layer.widened)
        middle = np.empty(wide.shape, np.uint8)
        loops.gelu_and_round(wide, scales, layer.widened.bias, middle)
        _add(_times(middle, layer.narrowed), states, layer.narrowed.bias, layer.output_norm)

    def project(self, layer: Layer, states: States) -> torch.Tensor:
        """Queries, keys and values [T, n, heads, width] of a layer, in ``dtype``."""
        rows = _times(states.rounded, layer.projections)
        bias, shape = (
            layer.projections.bias,
            (len(rows), -1, self.heads, states.hidden.shape[1] // self.heads),
        )
        if self.dtype == torch.bfloat16:
            halves = np.empty(rows.shape, np.uint16)
            loops.scale_to_bfloat16(rows, states.scales, bias, halves)
            return torch.from_numpy(halves).view(torch.bfloat16).view(shape)
        loops.scale_rows(rows, states.scales, bias)
        return torch.from_numpy(rows).view(shape)


class Transform(NamedTuple):
    """What stands between the layers and a vocabulary head.

    dense:  [D, D].
    norm:   of its result.
    linear: no GELU between them.
    """

    dense: Linear
    norm: Norm
    linear: bool

    @staticmethod
    def of(tensors: Tensors, *, linear: bool) -> Transform:
        """The transform that lies among ``tensors``."""
        return Transform(tensors.linear("dense"), tensors.norm("LayerNorm"), linear)

    def run(self, states: States) -> Floats:
        """The head's input [T, D] float32; ``states`` are spent."""
        hidden, rounded, scales = states
        rows, bias = _times(rounded, self.dense), self.dense.bias
        if not self.linear:
            loops.gelu_and_round(rows, scales, bias, rounded)
            scales[:], bias = 1, np.zeros_like(bias)
        hidden[:] = 0
        return _add(rows, states, bias, self.norm).hidden


def rows_for(tokens: int) -> int:
    """So many tokens, and up to a thirty-second more: one of 32 numbers in each doubling.

    oneDNN makes code for each shape of a product and keeps it for the next of that shape, up to a
    thousand of them and a gigabyte. Batches rarely have equal numbers of tokens.
    """
    step = 1 << max(0, tokens.bit_length() - 6)
    return -(-tokens // step) * step


def attend_in_turn(parts: torch.Tensor, bounds: Sequence[int]) -> torch.Tensor:
    """Attention of texts that lie end to end, one after the other.

    Args:
        parts: [T, 3, heads, width] queries, keys and values.
        bounds: text b owns rows ``bounds[b]`` to ``bounds[b + 1]``.

    Returns:
        [T, heads, width] float32; rows after the last text are 0.
    """
    count, _, heads, width = parts.shape
    out = torch.zeros((count, heads, width))
    for start, end in itertools.pairwise(bounds):
        if end > start:
            q, k, v = parts[start:end].permute(1, 2, 0, 3)  # [heads, L, width]
            attend(q, k, v, out[start:end].transpose(0, 1))
    return out


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor) -> None:
    """Softmax attention of queries [H, L, d], scaled already, to keys and values [H, M, d].

    In bfloat16 the exponentials are rounded, their sums are not. ``out`` is [H, L, d] float32.
    """
    if q.dtype != torch.bfloat16:
        whole = torch.nn.functional.scaled_dot_product_attention
        out.copy_(whole(q[None], k[None], v[None], scale=1.0)[0])
        return
    scores = torch.bmm(q, k.transpose(1, 2))  # [H, L, M]
    inverse = np.empty(scores.shape[0] * scores.shape[1], np.float32)
    loops.softmax_without_sum(scores.view(torch.uint16).numpy().reshape(len(inverse), -1), inverse)
    torch.mul(torch.bmm(scores, v), torch.from_numpy(inverse).view(*scores.shape[:2], 1), out=out)


def _layer(tensors: Tensors, heads: int) -> Layer:
    attention = tensors.below("attention")
    width = len(attention.array("self.query.bias")) // heads
    whole = f"{tensors.prefix}output.dense.weight" in tensors.arrays
    names = ("self.query", "self.key", "self.value")[: 3 if whole else 2]
    projections = attention.linear(*names, factors=[width**-0.5])
    if not whole:
        return Layer(projections, None, None, None, None, None)
    return Layer(
        projections,
        attention.linear("output.dense"),
        attention.norm("output.LayerNorm"),
        tensors.linear("intermediate.dense"),
        tensors.linear("output.dense"),
        tensors.norm("output.LayerNorm"),
    )


def _times(rounded: NDArray[np.uint8], linear: Linear) -> Floats:
    rows: Floats = int8_product(torch.from_numpy(rounded), linear.matrix).numpy()
    return rows


def _add(rows: Floats, states: States, bias: Floats, norm: Norm | None) -> States:
    assert norm is not None
    hidden, rounded, scales = states
    loops.add_and_norm(rows, scales, bias, hidden, *norm, rounded)
    return states
