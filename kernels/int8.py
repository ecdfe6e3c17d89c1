"""Products of 8-bit whole numbers on the CPU, through oneDNN; knows nothing of models.

A matrix is int8 rows, each with a scale; its inputs are rounded to uint8 around `ZERO`. Sums of
products are whole numbers and exact: a row's result depends on no other row, and on no order.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

ZERO = 128  # stands for 0 among rounded inputs
LARGEST = 127
PROBE_ROWS, PROBE_WIDTH = 16, 256


class Int8Matrix(NamedTuple):
    """A matrix whose products are made in 8-bit whole numbers.

    packed:      [N, D] int8 as oneDNN lays it out.
    scales:      [N] float32; a row is its whole numbers times its scale.
    zero_points: [N] int64, all 0, as oneDNN asks for them.
    """

    packed: torch.Tensor
    scales: torch.Tensor
    zero_points: torch.Tensor


def pack_int8(matrix: torch.Tensor, scales: torch.Tensor) -> Int8Matrix:
    """Lay a matrix out for products.

    Args:
        matrix: [N, D] int8 from -127 to 127.
        scales: [N] float32.
    """
    packed = torch.ops.onednn.qlinear_prepack(matrix.contiguous(), None)
    return Int8Matrix(packed, scales.contiguous(), torch.zeros(len(scales), dtype=torch.int64))


def int8_product(rows: torch.Tensor, matrix: Int8Matrix) -> torch.Tensor:
    """Return `(rows - ZERO) @ matrix.T` as [T, N] float32, for rows [T, D] uint8.

    oneDNN has no fast path for int8 rows beside a matrix that is packed like this, which is why
    rows are unsigned.
    """
    out: torch.Tensor = _multiply(rows, 1.0, matrix, None, 1.0, 0, torch.float32)
    return out


def int8_product_rounded(
    rows: torch.Tensor, scale: float, matrix: Int8Matrix, bias: torch.Tensor, step: float, zero: int
) -> torch.Tensor:
    """Return `((rows - ZERO) * scale) @ matrix.T + bias` as [T, N] uint8.

    Args:
        rows: [T, D] uint8.
        scale: of the rows, one for all.
        matrix: [N, D].
        bias: [N] float32.
        step: what one step of the result is worth.
        zero: what stands for 0 in the result; it ends at 0 and 255.
    """
    out: torch.Tensor = _multiply(rows, scale, matrix, bias, step, zero, torch.uint8)
    return out


def int8_sums(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Return `rows @ matrix.T` as [T, N] int32, for rows [T, D] and matrix [N, D] int8.

    For a matrix that is used once: laying it out for `int8_product` takes longer than a product.
    """
    return torch._int_mm(rows, matrix.T)


def multiplies_int8() -> bool:
    """Whether oneDNN is there and its products are exact on this processor.

    Without VNNI, x86 adds pairs of products in 16 bits, where large ones would be cut.
    """
    if (
        not hasattr(torch.ops.onednn, "qlinear_pointwise")
        or not torch.backends.mkldnn.is_available()
    ):
        return False
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randint(-LARGEST, LARGEST + 1, (PROBE_WIDTH, PROBE_WIDTH), generator=generator)
    rows = torch.randint(1, 256, (PROBE_ROWS, PROBE_WIDTH), generator=generator)
    matrix[0], rows[0] = LARGEST, 255  # the largest sums that there are
    matrix[1], rows[1] = -LARGEST, 255
    try:
        packed = pack_int8(matrix.to(torch.int8), torch.ones(PROBE_WIDTH))
        found = int8_product(rows.to(torch.uint8), packed)
        sums = int8_sums((rows - ZERO).to(torch.int8), matrix.to(torch.int8))
    except (RuntimeError, NotImplementedError):  # a build of torch without these operators
        return False
    truth = (rows - ZERO) @ matrix.T
    return torch.equal(found.long(), truth) and torch.equal(sums.long(), truth)


def _multiply(
    rows: torch.Tensor,
    scale: float,
    matrix: Int8Matrix,
    bias: torch.Tensor | None,
    step: float,
    zero: int,
    dtype: torch.dtype,
) -> torch.Tensor:
    packed, scales, zero_points = matrix
    out: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
        rows, scale, ZERO, packed, scales, zero_points, bias, step, zero, dtype, "none", [], ""
    )
    return out
