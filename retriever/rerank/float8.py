"""Linear layers that multiply in float8: twice the rate of bfloat16 on the GPUs that have it.

Both operands are rounded to e4m3 (Micikevicius et al., 2022): weights once, with a scale for each
output, activations in each forward, with a scale for each token. Sums are made in float32.
"""

from __future__ import annotations

import torch
from torch import nn

from tamis.index.errors import InputError

FLOAT8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FLOAT8).max
UNIT = 16  # sizes of products are multiples of it
SINCE = (8, 9)  # compute capability


class Float8Linear(nn.Module):
    """``x W' + b`` of float8 operands; a processor without float8 products simulates them.

    Attributes:
        weight: ``[out, in]`` float8.
        scale: ``[1, out]`` float32, what each row of ``weight`` was divided by.
        bias: ``[out]`` or None.
    """

    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        """Round a layer's weights.

        Raises:
            InputError: its sizes are no multiples of 16.
        """
        super().__init__()
        if any(size % UNIT for size in linear.weight.shape):
            raise InputError(
                f"expected linear layers of multiples of {UNIT} for float8 products, found "
                f"{tuple(linear.weight.shape)}; leave products out"
            )
        weight, scale = quantised(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.t())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[..., out]``, dtype of ``x``."""
        rows, scale = quantised(x.flatten(0, -2))
        out = product(rows, scale, self.weight, self.scale).to(x.dtype)
        if self.bias is not None:
            out = out + self.bias
        return out.view(*x.shape[:-1], -1)


def quantised(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows ``[n, D]`` as float8 whose largest is 448, and what each was divided by ``[n, 1]``.

    A row of zeros stays one; NaN and infinity make a row NaN.
    """
    wide = rows.float()
    scale = wide.abs().amax(1, keepdim=True) / LARGEST
    scale = torch.where(scale == 0, 1.0, scale)
    return (wide / scale).clamp(-LARGEST, LARGEST).to(FLOAT8), scale


def product(
    rows: torch.Tensor, scale: torch.Tensor, weight: torch.Tensor, weight_scale: torch.Tensor
) -> torch.Tensor:
    """``[n, out]`` of quantised rows ``[n, D]`` and weights ``[out, D]``: bfloat16 on CUDA."""
    if rows.is_cuda:
        return torch._scaled_mm(
            rows, weight.t(), scale, weight_scale, out_dtype=torch.bfloat16, use_fast_accum=True
        )
    return (rows.float() @ weight.float().t()) * scale * weight_scale


def check_products(products: torch.dtype, device: torch.device) -> None:
    """Refuse other types than float8, and devices that cannot multiply it.

    Raises:
        InputError: this is one of them.
    """
    if products != FLOAT8:
        raise InputError(f"expected products in {FLOAT8} or None, found {products}; choose one")
    found = str(device)
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability >= SINCE:
            return
        found = f"{torch.cuda.get_device_name(device)} ({capability[0]}.{capability[1]})"
    raise InputError(
        "expected a GPU of compute capability 8.9 or later (Ada, Hopper) for float8 products, "
        f"found {found}; leave products out"
    )


def use_float8(layer: nn.Module) -> None:
    """Replace the linear layers within a layer of a model by `Float8Linear`."""
    for name, child in layer.named_children():
        if isinstance(child, nn.Linear):
            setattr(layer, name, Float8Linear(child))
        else:
            use_float8(child)
