"""Products in 8-bit whole numbers, and the head that chooses by them, against plain arithmetic."""

import itertools

import pytest
import torch

from tamis.kernels import int8
from tamis.kernels.head import candidates as two_steps
from tamis.kernels.head import cpu
from tamis.kernels.head.activation import Activation
from tamis.kernels.head.candidates import candidates, encode_candidates, round_head
from tamis.kernels.head.cpu import Selection
from tamis.kernels.int8 import Int8Matrix, int8_product, multiplies_int8, pack_int8

BOUNDS = [0, 7, 7, 8, 41, 60]  # one text is empty, one has one token
VOCAB, WIDTH = 731, 48


@pytest.fixture(autouse=True)
def without_the_instruction(monkeypatch):
    """Where the processor adds pairs in 16 bits, plain products stand in for oneDNN's."""
    if multiplies_int8():
        return
    monkeypatch.setattr(int8, "_multiply", plain)
    for module in (int8, two_steps):
        monkeypatch.setattr(module, "pack_int8", unpacked)
    monkeypatch.setitem(globals(), "pack_int8", unpacked)


def unpacked(matrix, scales):
    return Int8Matrix(matrix, scales, torch.zeros(len(scales), dtype=torch.int64))


def plain(rows, scale, matrix, bias, step, zero, dtype):
    sums = ((rows.long() - int8.ZERO) @ matrix.packed.long().T).float() * scale * matrix.scales
    sums = sums if bias is None else sums + bias
    if dtype == torch.float32:
        return sums
    return (sums / step).round().add(zero).clamp(0, 255).to(torch.uint8)


def rounded_head(generator):
    rows = torch.randint(-127, 128, (VOCAB, WIDTH), dtype=torch.int8, generator=generator)
    scales = torch.rand(VOCAB, generator=generator) * 0.004
    return rows, scales, torch.randn(VOCAB, generator=generator) - 1.0


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


def test_sums_that_are_cut_at_16_bits_are_noticed(monkeypatch):
    """AVX2 without VNNI adds two products of 8 bits in 16."""

    def cut(rows, _scale, matrix, *_rest):
        products = rows.long()[:, None, :] * matrix.packed.long()[None]
        pairs = products.unflatten(2, (-1, 2)).sum(3).clamp(-(2**15), 2**15 - 1)
        return (pairs.sum(2) - int8.ZERO * matrix.packed.long().sum(1)).float()

    monkeypatch.setattr(int8, "_multiply", cut)
    monkeypatch.setattr(int8, "pack_int8", unpacked)
    assert not multiplies_int8()


@pytest.mark.parametrize("top_n", [None, 1, 20, VOCAB])
@pytest.mark.parametrize("activation", [Activation.RELU, Activation.LOG1P_LOG1P_RELU])
def test_two_steps_give_what_float32_gives(top_n, activation):
    generator = torch.Generator()
    seed = generator.seed()
    rows, scales, bias = rounded_head(generator)
    hidden = torch.randn(BOUNDS[-1] + 4, WIDTH, generator=generator) * 2
    exclude = torch.zeros(VOCAB, dtype=torch.bool)
    exclude[::50] = True
    keep = Selection(0.01, top_n, exclude)
    matrix = rows.float() * scales[:, None]
    truth = cpu.encode(hidden, matrix, bias, BOUNDS, activation, 0.7, keep)
    head = round_head(rows, scales, bias)
    found = encode_candidates(hidden, head, BOUNDS, activation, 0.7, keep)
    dense = [dense_rows(part) for part in (truth, found)]
    near = (dense[0] - dense[1]).abs() < 1e-4
    assert near.float().mean() > 0.999, seed  # two terms at the edge may weigh the same
    assert found.offsets[1] == found.offsets[2], seed
    assert found.terms.dtype == torch.int32


def test_few_terms_are_multiplied_again():
    rows, scales, bias = rounded_head(torch.Generator().manual_seed(3))
    hidden = torch.randn(60, WIDTH, generator=torch.Generator().manual_seed(4)) * 2
    found = candidates(hidden, round_head(rows, scales, bias), BOUNDS, Selection(0.0, 20, None))
    top = hidden @ (rows.float() * scales[:, None]).T + bias
    for terms, (a, e) in zip(found, itertools.pairwise(BOUNDS), strict=True):
        if e > a:
            best = top[a:e].amax(0).topk(20).indices.tolist()
            assert set(best) <= set(terms.tolist())
            assert len(terms) < VOCAB / 3


def test_hidden_states_that_are_not_finite_are_refused():
    head = round_head(*rounded_head(torch.Generator().manual_seed(5)))
    hidden = torch.zeros(60, WIDTH)
    hidden[3, 3] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        encode_candidates(hidden, head, BOUNDS, Activation.RELU, 1.0, Selection())


def dense_rows(rows):
    dense = torch.zeros(len(rows.offsets) - 1, VOCAB)
    for b, (a, e) in enumerate(itertools.pairwise(rows.offsets.tolist())):
        dense[b, rows.terms[a:e].long()] = rows.weights[a:e]
    return dense
