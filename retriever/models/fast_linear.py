"""Linear layers that take the faster library on the CPU; knows nothing of language models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from tamis.kernels.product import product

if TYPE_CHECKING:
    import torch


class FastLinear(nn.Linear):
    """A linear layer whose products without gradients take the faster library on the CPU."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return ``rows @ weight.T + bias``."""
        return product(rows, self.weight, self.bias)


def use_fast_products(model: nn.Module) -> None:
    """Put `FastLinear` in the place of every linear layer, sharing its parameters."""
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if type(layer) is nn.Linear:
                fast = FastLinear(layer.in_features, layer.out_features, device="meta")
                fast.weight, fast.bias = layer.weight, layer.bias
                setattr(parent, name, fast.train(layer.training))
