"""Heads other than a product with the vocabulary: weights of a text's own tokens, and a gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tamis.kernels.head.activation import Activation
from tamis.kernels.head.ops import splade_head
from tamis.retriever.models.splade_model import SpladeModel

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tamis.retriever.models.description import NeuralSide

TOKEN_WEIGHTS_FILE = "sparse_linear.safetensors"
GATE_FILE = "gate.safetensors"


class TokenWeightModel(SpladeModel):
    """A model that weighs the tokens a text has, and adds none.

    The weight of a term is the largest relu(f(h)) over its occurrences; f is linear in uniCOIL
    (arXiv 2106.14807) and bge-m3, a perceptron of two layers in DeepImpact (arXiv 2104.12016).
    """

    def pool(
        self, hidden: torch.Tensor, mask: torch.Tensor, input_ids: torch.Tensor
    ) -> torch.Tensor:
        """The weights ``[B, V]`` of the tokens ``[B, S]`` with hidden states ``[B, S, D]``."""
        scores = torch.relu(self.decoder(hidden)).squeeze(-1).float() * mask
        dense = scores.new_zeros(len(input_ids), self.side.vocab_size)
        return dense.scatter_reduce(1, input_ids, scores, reduce="amax")

    @property
    def _takes_maxima(self) -> bool:
        return False


class Gate(nn.Module):
    """Which terms a text may have: a second look at the hidden states, open above zero.

    Attributes:
        transform: [D, D] between hidden states and the vocabulary's matrix.
        bias: [V] of the gate's logits.
    """

    def __init__(self, width: int, bias: torch.Tensor) -> None:
        """A gate that starts open wherever a head of this bias gives weight."""
        super().__init__()
        self.transform = nn.Linear(width, width)
        nn.init.eye_(self.transform.weight)
        nn.init.zeros_(self.transform.bias)
        self.bias = nn.Parameter(bias.detach().clone())


class GatedModel(SpladeModel):
    """SparTerm (arXiv 2010.00768): an importance for every term, and a gate that lets few pass.

    Terms of the text always pass. The gate is a step; its gradient is that of a sigmoid.

    Attributes:
        gate: the gating controller; importances come from the model's own head.
    """

    def __init__(
        self,
        side: NeuralSide,
        model: nn.Module,
        decoder: nn.Linear,
        special_ids: Iterable[int],
        gate: Gate,
    ) -> None:
        super().__init__(side, model, decoder, special_ids)
        self.gate = gate

    def pool(
        self, hidden: torch.Tensor, mask: torch.Tensor, input_ids: torch.Tensor
    ) -> torch.Tensor:
        """Importance times gate, ``[B, V]``."""
        importance = super().pool(hidden, mask, input_ids)
        gate = self.gate
        logits = splade_head(
            gate.transform(hidden),
            self.decoder.weight,
            gate.bias,
            mask=mask.bool(),
            activation=Activation.NONE,
        )
        soft = torch.sigmoid(logits)
        passed = (logits > 0).to(soft.dtype) + (soft - soft.detach())
        held = torch.zeros_like(importance).scatter_reduce(
            1, input_ids, mask.to(importance.dtype), reduce="amax"
        )
        return importance * torch.where(held > 0, 1.0, passed)

    @property
    def _takes_maxima(self) -> bool:
        return False


def token_weigher(width: int, *, layers: int) -> nn.Module:
    """A new map from hidden state to weight, of one layer or two; all tokens start near 1."""
    last = nn.Linear(width, 1)
    nn.init.normal_(last.weight, std=0.02)
    nn.init.ones_(last.bias)
    return last if layers == 1 else nn.Sequential(nn.Linear(width, width), nn.ReLU(), last)


def save_token_weigher(decoder: nn.Module, folder: Path) -> None:
    """Write what `load_token_weigher` reads."""
    layers = [layer for layer in decoder.modules() if isinstance(layer, nn.Linear)]
    tensors = {"weight": layers[-1].weight, "bias": layers[-1].bias}
    if len(layers) == 2:
        tensors |= {"dense.weight": layers[0].weight, "dense.bias": layers[0].bias}
    save_file(_plain(tensors), str(folder / TOKEN_WEIGHTS_FILE))


def load_token_weigher(folder: Path) -> nn.Module:
    """The map from hidden state to weight of a folder: two layers where it holds two."""
    tensors = load_file(str(folder / TOKEN_WEIGHTS_FILE))
    decoder = token_weigher(tensors["weight"].shape[1], layers=1 + ("dense.weight" in tensors))
    names = {"0.weight": "dense.weight", "0.bias": "dense.bias", "2.weight": "weight"}
    names |= {"2.bias": "bias"}
    known = {name: tensors[names.get(name, name)] for name in decoder.state_dict()}
    decoder.load_state_dict(known)
    return decoder


def save_gate(gate: Gate, folder: Path) -> None:
    """Write what `load_gate` reads."""
    save_file(_plain(gate.state_dict()), str(folder / GATE_FILE))


def load_gate(folder: Path) -> Gate:
    """The gate of a model folder."""
    tensors = load_file(str(folder / GATE_FILE))
    gate = Gate(len(tensors["transform.bias"]), tensors["bias"])
    gate.load_state_dict(tensors)
    return gate


def _plain(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: one.detach().float().cpu().contiguous() for name, one in tensors.items()}
