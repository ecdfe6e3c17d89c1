"""The SPLADE head as its formula stands: every logit is made. The truth of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from tamis.kernels.head.activation import Activation


def head(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    mask: torch.Tensor,
    activation: Activation,
    scale: float = 1.0,
) -> torch.Tensor:
    """``max over tokens of phi(scale * (h . w + b))``: hidden [B, S, D], weight [V, D] -> [B, V].

    A text without counted tokens (mask [B, S] bool) has zeros.
    """
    logits = scale * (hidden @ weight.T + bias)  # [B, S, V]
    top = logits.masked_fill(~mask[:, :, None], -torch.inf).amax(1)
    return torch.where(mask.any(1)[:, None], activation.apply(top), 0.0)


def head_sum(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    mask: torch.Tensor,
    activation: Activation,
    scale: float = 1.0,
) -> torch.Tensor:
    """The same with the sum over counted tokens in place of the maximum (SPLADE v1)."""
    logits = scale * (hidden @ weight.T + bias)
    return torch.where(mask[:, :, None], activation.apply(logits), 0.0).sum(1)
