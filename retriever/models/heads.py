"""Heads: from hidden states to weights of terms. A head knows all of itself.

How it begins, loads, pools, encodes and is saved, and what sentence-transformers lacks of it, is
one class. `tamis.kernels` multiplies with the vocabulary without building
``[batch, tokens, vocabulary]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tamis.kernels.head.activation import Activation
from tamis.kernels.head.ops import (
    SparseRows,
    splade_encode,
    splade_encode_packed,
    splade_head,
    splade_head_sum,
)
from tamis.retriever.models.code_head import CodeHead
from tamis.retriever.models.head import Head
from tamis.retriever.models.head_kinds import GATE_FILE, HIDDEN_LAYER, TOKEN_WEIGHTS_FILE, HeadKind
from tamis.retriever.models.weights import check_complete, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.retriever.models.description import NeuralSide
    from tamis.retriever.models.packing import PackedTexts


class VocabularyHead(Head):
    """A head over the vocabulary: a product of hidden state and term, and a bias.

    Attributes:
        decoder: ``weight`` [V, D] (tied where the model ties it) and ``bias``.
    """

    def __init__(self, side: NeuralSide, decoder: nn.Linear) -> None:
        """Take over the vocabulary head that was cut from a model."""
        super().__init__()
        self.decoder = decoder
        self._settings: dict[str, Any] = {
            "activation": Activation.LOG1P_LOG1P_RELU if side.double_log else Activation.LOG1P_RELU,
            "logit_scale": side.logit_scale,
        }

    @classmethod
    def load(cls, side: NeuralSide, decoder: nn.Linear | None) -> Self:
        """The head that was cut."""
        assert decoder is not None
        return cls(side, decoder)

    @classmethod
    def begin(cls, side: NeuralSide, base: Head) -> Self:
        """The vocabulary head of a base."""
        assert isinstance(base, VocabularyHead)
        return cls(side, base.decoder)

    @property
    def width(self) -> int:
        """Numbers in a hidden state."""
        return int(self.decoder.weight.shape[1])

    def save(self, model: Any, folder: Path) -> None:  # noqa: ANN401  any Hugging Face model
        """Write the language model with its head back in place."""
        hole = model.get_output_embeddings()
        model.set_output_embeddings(self.decoder)
        save_model(model, folder)
        model.set_output_embeddings(hole)


class MaxHead(VocabularyHead):
    """SPLADE v2 (arXiv 2109.10086): the largest logit of a term over the tokens."""

    packs = True

    def pool(
        self, hidden: torch.Tensor, mask: torch.Tensor, input_ids: torch.Tensor
    ) -> torch.Tensor:
        """Term weights ``[B, V]``."""
        return splade_head(
            hidden, self.decoder.weight, self.decoder.bias, mask=mask.bool(), **self._settings
        )

    def encode(
        self,
        hidden: torch.Tensor,
        mask: torch.Tensor,
        input_ids: torch.Tensor,
        *,
        exclude: torch.Tensor,
        top_n: int | None,
    ) -> SparseRows:
        """Sparse rows in one pass."""
        chosen: dict[str, Any] = {"exclude": exclude, "top_n": top_n}
        return splade_encode(
            hidden,
            self.decoder.weight,
            self.decoder.bias,
            mask=mask.bool(),
            **chosen,
            **self._settings,
        )

    def encode_packed(
        self,
        hidden: torch.Tensor,
        texts: PackedTexts,
        *,
        exclude: torch.Tensor,
        top_n: int | None,
    ) -> SparseRows:
        """Sparse rows in one pass, without padding."""
        bounds: dict[str, Any] = {"offsets": texts.offsets, "max_len": texts.max_len}
        chosen: dict[str, Any] = {"exclude": exclude, "top_n": top_n}
        return splade_encode_packed(
            hidden, self.decoder.weight, self.decoder.bias, **bounds, **chosen, **self._settings
        )


class SumHead(VocabularyHead):
    """SPLADE v1 (arXiv 2107.05720): the sum of a term's activated logits over the tokens."""

    def pool(
        self, hidden: torch.Tensor, mask: torch.Tensor, input_ids: torch.Tensor
    ) -> torch.Tensor:
        """Term weights ``[B, V]``."""
        return splade_head_sum(
            hidden, self.decoder.weight, self.decoder.bias, mask=mask.bool(), **self._settings
        )


class GatedHead(MaxHead):
    """SparTerm (arXiv 2010.00768): an importance for every term, and a gate that lets few pass.

    Terms of the text always pass. The gate is a step; its gradient is that of a sigmoid.

    Attributes:
        transform: [D, D] between hidden states and the vocabulary's matrix, of the gate.
        gate_bias: [V] of the gate's logits; open above zero.
    """

    packs = False
    beyond_sentence_transformers = "a gate"

    def __init__(self, side: NeuralSide, decoder: nn.Linear) -> None:
        """A gate that starts open wherever the head gives weight."""
        super().__init__(side, decoder)
        self.transform = nn.Linear(self.width, self.width).to(decoder.weight.dtype)
        nn.init.eye_(self.transform.weight)
        nn.init.zeros_(self.transform.bias)
        size = len(decoder.weight)
        bias = torch.zeros(size) if decoder.bias is None else decoder.bias.detach().clone()
        self.gate_bias = nn.Parameter(bias.to(decoder.weight.dtype))

    @classmethod
    def load(cls, side: NeuralSide, decoder: nn.Linear | None) -> Self:
        """The head that was cut, and the gate's file."""
        head = super().load(side, decoder)
        _fill(head._tensors(), side.folder / GATE_FILE)
        return head

    def pool(
        self, hidden: torch.Tensor, mask: torch.Tensor, input_ids: torch.Tensor
    ) -> torch.Tensor:
        """Importance times gate, ``[B, V]``."""
        importance = super().pool(hidden, mask, input_ids)
        logits = splade_head(
            self.transform(hidden),
            self.decoder.weight,
            self.gate_bias,
            mask=mask.bool(),
            activation=Activation.NONE,
        )
        soft = torch.sigmoid(logits)
        passed = (logits > 0).to(soft.dtype) + (soft - soft.detach())
        held = torch.zeros_like(importance).scatter_reduce(
            1, input_ids, mask.to(importance.dtype), reduce="amax"
        )
        return importance * torch.where(held > 0, 1.0, passed)

    encode = Head.encode  # the kernel knows no gate

    def save(self, model: Any, folder: Path) -> None:  # noqa: ANN401  any Hugging Face model
        """Write the language model with its head, and the gate beside it."""
        super().save(model, folder)
        _write(self._tensors(), folder / GATE_FILE)

    def _tensors(self) -> dict[str, torch.Tensor]:
        """The gate's parameters by their names in its file."""
        gate = {f"transform.{name}": one for name, one in self.transform.named_parameters()}
        return {**gate, "bias": self.gate_bias}


class TokenWeights(Head):
    """A head that weighs the tokens a text has, and adds none.

    The weight of a term is the largest relu(f(h)) over its occurrences; f is linear in uniCOIL
    (arXiv 2106.14807) and bge-m3, a perceptron of two layers in DeepImpact (arXiv 2104.12016).

    Attributes:
        layers: f, from ``[..., D]`` to ``[..., 1]``.
    """

    beyond_sentence_transformers = "weights of a text's own tokens"

    def __init__(self, side: NeuralSide, width: int) -> None:
        """New layers; all tokens start near 1."""
        super().__init__()
        self._terms = side.vocab_size
        last = nn.Linear(width, 1)
        nn.init.normal_(last.weight, std=0.02)
        nn.init.ones_(last.bias)
        hidden = [nn.Linear(width, width), nn.ReLU()] if side.head is HeadKind.MLP else []
        self.layers = nn.Sequential(*hidden, last)

    @classmethod
    def load(cls, side: NeuralSide, decoder: nn.Linear | None) -> Self:
        """The layers of the head's file."""
        path = side.folder / TOKEN_WEIGHTS_FILE
        head = cls(side, load_file(str(path))["weight"].shape[-1])
        _fill(head._tensors(), path)
        return head

    @classmethod
    def begin(cls, side: NeuralSide, base: Head) -> Self:
        """New layers over the hidden states of a base."""
        return cls(side, base.width)

    @property
    def width(self) -> int:
        """Numbers in a hidden state."""
        return self._linear[-1].in_features

    def pool(
        self, hidden: torch.Tensor, mask: torch.Tensor, input_ids: torch.Tensor
    ) -> torch.Tensor:
        """The weights ``[B, V]`` of the tokens ``[B, S]`` with hidden states ``[B, S, D]``."""
        scores = torch.relu(self.layers(hidden)).squeeze(-1).float() * mask
        dense = scores.new_zeros(len(input_ids), self._terms)
        return dense.scatter_reduce(1, input_ids, scores, reduce="amax")

    def save(self, model: Any, folder: Path) -> None:  # noqa: ANN401  any Hugging Face model
        """Write the backbone, and the layers beside it."""
        save_model(model, folder)
        _write(self._tensors(), folder / TOKEN_WEIGHTS_FILE)

    @property
    def _linear(self) -> list[nn.Linear]:
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def _tensors(self) -> dict[str, torch.Tensor]:
        """The parameters by their names in the file: the last layer has bge-m3's."""
        *first, last = self._linear
        tensors = {"weight": last.weight, "bias": last.bias}
        for layer in first:
            tensors |= {HIDDEN_LAYER: layer.weight, "dense.bias": layer.bias}
        return tensors


HEADS: dict[HeadKind, type[Head]] = {
    HeadKind.MAX: MaxHead,
    HeadKind.SUM: SumHead,
    HeadKind.LINEAR: TokenWeights,
    HeadKind.MLP: TokenWeights,
    HeadKind.GATED: GatedHead,
    HeadKind.CODE: CodeHead,
}


def _fill(parameters: dict[str, torch.Tensor], path: Path) -> None:
    """Copy a head's file into its parameters; every one must be there."""
    tensors = load_file(str(path))
    check_complete(set(parameters) - set(tensors), tensors, path)
    for name, one in parameters.items():
        one.data.copy_(tensors[name])


def _write(parameters: dict[str, torch.Tensor], path: Path) -> None:
    plain = {name: one.detach().float().cpu().contiguous() for name, one in parameters.items()}
    save_file(plain, str(path))
