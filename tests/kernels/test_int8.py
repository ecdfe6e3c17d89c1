"""Products in 8-bit whole numbers against plain arithmetic."""

import pytest
import torch

from tamis.kernels import int8
from tamis.kernels.int8 import Int8Matrix, int8_product, int8_sums, multiplies_int8, pack_int8


@pytest.fixture(autouse=True)
def without_the_instruction(monkeypatch):
    """Where the processor adds pairs in 16 bits, plain products stand in for oneDNN's."""
    if multiplies_int8():
        return
    monkeypatch.setattr(int8, "_multiply", plain)
    monkeypatch.setattr(int8, "pack_int8", unpacked)
    monkeypatch.setitem(globals(), "pack_int8", unpacked)


def unpacked(matrix, scales):
    return Int8Matrix(matrix, scales, torch.zeros(len(scales), dtype=torch.int64))


def plain(rows, scale, matrix, bias, step, zero, dtype):
    sums = ((rows.long() - int8.ZERO) @ matrix.packed.long().T).float() * scale * matrix.scales
    sums = sums if bias is None else sums + bias
    if dtype == torch.float32:
        return sums
    return (sums / step).round().add(zero).clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("rows", [1, 5, 33])
def test_a_product_is_the_exact_sum_of_whole_numbers(rows):
    matrix = torch.randint(-127, 128, (29, 70))
    matrix[0] = 127
    inputs = torch.randint(0, 256, (rows, 70))
    inputs[0] = 255
    found = int8_product(
        inputs.to(torch.uint8), pack_int8(matrix.to(torch.int8), torch.full((29,), 0.5))
    )
    assert torch.equal(found, (inputs - 128) @ matrix.T * 0.5)


@pytest.mark.parametrize("rows", [1, 5, 64])
def test_sums_of_signed_rows_are_exact(rows):
    matrix, inputs = torch.randint(-127, 128, (37, 70)), torch.randint(-127, 128, (rows, 70))
    matrix[0], inputs[0] = 127, -127
    found = int8_sums(inputs.to(torch.int8), matrix.to(torch.int8))
    assert torch.equal(found.long(), inputs @ matrix.T)


def test_sums_that_are_cut_at_16_bits_are_noticed(monkeypatch):
    """AVX2 without VNNI adds two products of 8 bits in 16."""

    def cut(rows, _scale, matrix, *_rest):
        products = rows.long()[:, None, :] * matrix.packed.long()[None]
        pairs = products.unflatten(2, (-1, 2)).sum(3).clamp(-(2**15), 2**15 - 1)
        return (pairs.sum(2) - int8.ZERO * matrix.packed.long().sum(1)).float()

    monkeypatch.setattr(int8, "_multiply", cut)
    monkeypatch.setattr(int8, "pack_int8", unpacked)
    assert not multiplies_int8()
