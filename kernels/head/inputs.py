"""What a head is computed from, as it passes from the public functions to either path."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

    from tamis.kernels.head.activation import Activation
    from tamis.kernels.head.ragged import Ragged


class HeadInputs(NamedTuple):
    """The arguments of `ops.splade_head`; the three tensors come first, as autograd wants them.

    hidden:      [B, S, D], or [T, D] laid end to end.
    weight:      [V, D].
    bias:        [V] or None.
    ragged:      where the counted tokens lie.
    activation:  applied once to the pooled logit.
    logit_scale: positive factor of the logits.
    """

    hidden: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None
    ragged: Ragged
    activation: Activation
    logit_scale: float
