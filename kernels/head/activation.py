"""The four monotone activations of a SPLADE head, and their slopes; knows nothing of pooling."""

from __future__ import annotations

import enum

import torch


class Activation(enum.IntEnum):
    """What turns a pooled logit into a term weight. All are non-decreasing.

    Because they are monotone, `activation(max(logits)) == max(activation(logits))`: the head keeps
    a running maximum of raw logits and applies the activation once.
    """

    NONE = 0
    RELU = 1
    LOG1P_RELU = 2  # SPLADE v2: log(1 + relu(z)), arXiv 2109.10086
    LOG1P_LOG1P_RELU = 3  # "l0" activation of inference-free encoders, arXiv 2504.14839

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the activated `logits`, same shape and dtype, in a new tensor."""
        if self is Activation.NONE:
            return logits.clone()
        out = torch.relu(logits)
        for _ in range(self - Activation.RELU):
            out = torch.log1p(out)
        return out

    def slope(self, output: torch.Tensor) -> torch.Tensor:
        """Return d output / d logit, read off the activated `output` alone.

        With y the output and z the logit, for z > 0:
        y = log1p(z) has slope 1 / (1 + z) = exp(-y);
        y = log1p(log1p(z)) has slope exp(-y) * exp(1 - exp(y)).
        For z <= 0 the slope is 0 (`NONE`: always 1).
        """
        if self is Activation.NONE:
            return torch.ones_like(output)
        active = (output > 0).to(output.dtype)
        if self is Activation.RELU:
            return active
        if self is Activation.LOG1P_RELU:
            return active * torch.exp(-output)
        return active * torch.exp(-output - torch.expm1(output))
