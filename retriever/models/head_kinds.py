"""The kinds of head, and which of them a model's folder states. Needs no torch.

What each kind computes, loads and saves is one class in `heads`; a new head is a member here and a
class there.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from tamis.retriever.models.tensor_files import tensor_names

if TYPE_CHECKING:
    from pathlib import Path

TOKEN_WEIGHTS_FILE = "sparse_linear.safetensors"
GATE_FILE = "gate.safetensors"
HIDDEN_LAYER = "dense.weight"  # in the file of token weights, where they have two layers


class HeadKind(StrEnum):
    """What turns hidden states into weights of terms."""

    MAX = "max"  # vocabulary head, maximum over the tokens (SPLADE v2)
    SUM = "sum"  # vocabulary head, sum over the tokens (SPLADE v1)
    LINEAR = "linear"  # one weight for each token of the text, by one layer (uniCOIL, bge-m3)
    MLP = "mlp"  # the same by two layers (DeepImpact)
    GATED = "gated"  # vocabulary head behind a gate (SparTerm)
    CODE = "code"  # sparse code of the text's embedding (CSR)

    @property
    def over_vocabulary(self) -> bool:
        """Whether it stands on the vocabulary head of its language model."""
        return self not in (HeadKind.LINEAR, HeadKind.MLP, HeadKind.CODE)

    @property
    def over_pieces(self) -> bool:
        """Whether its terms are the word pieces of its language model."""
        return self is not HeadKind.CODE

    @property
    def has_weights(self) -> bool:
        """Whether it has weights beside those of its language model."""
        return self not in (HeadKind.MAX, HeadKind.SUM)


def head_of_files(folder: Path) -> HeadKind | None:
    """The head whose weights lie in a model's folder; None where none has its own.

    Raises:
        FormatError: its file is not of the safetensors format.
    """
    if (folder / GATE_FILE).is_file():
        return HeadKind.GATED
    path = folder / TOKEN_WEIGHTS_FILE
    if not path.is_file():
        return None
    return HeadKind.MLP if HIDDEN_LAYER in tensor_names(path) else HeadKind.LINEAR
