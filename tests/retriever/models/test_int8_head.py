"""The head in 8 bits gives what the head in float32 gives, whatever its bounds leave out."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from tamis.kernels import int8
from tamis.kernels.head import cpu
from tamis.kernels.head.activation import Activation
from tamis.kernels.head.cpu import Selection
from tamis.kernels.int8 import Int8Matrix, multiplies_int8
from tamis.retriever.models import int8_head
from tamis.retriever.models.int8_head import FLOOR, Bound, Int8Head, Space, VocabularyMatrix

BOUNDS = [0, 7, 7, 8, 41, 60]  # one text is empty, one has one token
VOCAB, WIDTH, RANK = 731, 48, 12


@pytest.fixture(autouse=True)
def without_the_instruction(monkeypatch):
    """Where the processor adds pairs in 16 bits, plain products stand in for oneDNN's."""
    if multiplies_int8():
        return
    monkeypatch.setattr(int8, "_multiply", plain)
    monkeypatch.setattr(int8_head, "pack_int8", unpacked)
    monkeypatch.setattr(int8_head, "int8_sums", lambda rows, matrix: rows.int() @ matrix.int().T)


def unpacked(matrix, scales):
    return Int8Matrix(matrix, scales, torch.zeros(len(scales), dtype=torch.int64))


def plain(rows, scale, matrix, bias, step, zero, _dtype):
    sums = ((rows.long() - int8.ZERO) @ matrix.packed.long().T).float() * scale * matrix.scales
    return ((sums + bias) / step).round().add(zero).clamp(0, 255).to(torch.uint8)


def vocabulary(generator):
    rows = torch.randint(-127, 128, (VOCAB, WIDTH), dtype=torch.int8, generator=generator)
    scales = torch.rand(VOCAB, generator=generator) * 0.004
    bias = torch.randn(VOCAB, generator=generator) - 1.0
    return VocabularyMatrix.of(rows.numpy(), scales.numpy(), bias.numpy())


def states(generator, tokens, across=1.0):
    """Tokens near `RANK` directions, and so much across them."""
    along = torch.randn(tokens, RANK, generator=generator) @ torch.randn(
        RANK, WIDTH, generator=torch.Generator().manual_seed(0)
    )
    return 0.5 * along + 0.3 + across * torch.randn(tokens, WIDTH, generator=generator)


@pytest.fixture(params=["whole", "along directions", "along wrong directions"])
def head(request):
    """A head with each kind of bound."""
    terms = vocabulary(torch.Generator().manual_seed(1))
    made = Int8Head(terms, RANK)
    if request.param != "whole":
        far = request.param == "along wrong directions"
        fitted = states(torch.Generator().manual_seed(2), 500, across=0.1)
        made.bound = Bound.along(Space.near(fitted.flip(1) if far else fitted, RANK), terms)
    return made


@pytest.mark.parametrize("top_n", [None, 1, 20, VOCAB])
@pytest.mark.parametrize("activation", [Activation.RELU, Activation.LOG1P_LOG1P_RELU])
def test_what_is_kept_is_what_float32_keeps(head, top_n, activation):
    generator = torch.Generator()
    seed = generator.seed()
    hidden = states(generator, BOUNDS[-1] + 4)
    exclude = torch.zeros(VOCAB, dtype=torch.bool)
    exclude[::50] = True
    keep = Selection(0.01, top_n, exclude)
    bias = torch.from_numpy(head.terms.bias)
    truth = cpu.encode(hidden, head.terms.matrix(slice(None)), bias, BOUNDS, activation, 0.7, keep)
    found = head.encode(hidden, BOUNDS, activation, 0.7, keep)
    near = (dense_rows(truth) - dense_rows(found)).abs() < 1e-4
    assert near.float().mean() > 0.999, seed  # two terms at the edge may weigh the same
    assert found.offsets[1] == found.offsets[2], seed
    assert found.terms.dtype == torch.int32


@pytest.mark.parametrize("size", [0.0, 1e-30])
def test_states_of_next_to_nothing_leave_the_bias(head, size):
    hidden = states(torch.Generator().manual_seed(6), BOUNDS[-1]) * size
    keep = Selection(0.0, 20, None)
    found = head.encode(hidden, BOUNDS, Activation.RELU, 1.0, keep)
    heaviest = np.sort(np.argsort(-head.terms.bias, kind="stable")[:20])
    for (a, e), tokens in zip(itertools.pairwise(found.offsets), np.diff(BOUNDS), strict=True):
        wanted = heaviest if tokens else heaviest[:0]
        assert found.terms[a:e].tolist() == wanted.tolist()
        assert np.allclose(found.weights[a:e], head.terms.bias[wanted])


def test_every_bound_holds(head):
    hidden = states(torch.Generator().manual_seed(3), 60)
    hidden[9] *= 5  # one token makes the steps of all larger
    upper, error, step = head.bound.pooled(hidden, BOUNDS)
    logits = hidden @ head.terms.matrix(slice(None)).T + torch.from_numpy(head.terms.bias)
    for row, (a, e) in zip(upper, itertools.pairwise(BOUNDS), strict=True):
        if e > a:
            steps = row[:VOCAB].astype(int) + error - FLOOR
            bounded = (logits[a:e].amax(0).numpy() <= steps * step) | (row[:VOCAB] == 255)
            assert (bounded | (logits[a:e].amax(0).numpy() < 0)).all()


def test_bounds_do_not_change_a_bit_of_what_is_kept():
    terms = vocabulary(torch.Generator().manual_seed(1))
    hidden = states(torch.Generator().manual_seed(4), 60)
    whole, along = Int8Head(terms, RANK), Int8Head(terms, RANK)
    along.bound = Bound.along(Space.near(hidden, RANK), terms)
    keep = Selection(0.0, 20, None)
    parts = [one.encode(hidden, BOUNDS, Activation.RELU, 1.0, keep) for one in (whole, along)]
    assert all(map(torch.equal, *parts))


@pytest.mark.parametrize("block", [16, 32])
def test_few_terms_are_multiplied_in_full(monkeypatch, block):
    monkeypatch.setattr(int8_head, "BLOCK", block)
    monkeypatch.setattr(int8_head, "FIRST", block)
    terms = vocabulary(torch.Generator().manual_seed(1))
    head = Int8Head(terms, RANK)
    fitted = states(torch.Generator().manual_seed(2), 500, across=0.01)
    head.bound = Bound.along(Space.near(fitted, RANK), terms)
    multiplied = []
    sums = int8_head.int8_sums
    monkeypatch.setattr(
        int8_head, "int8_sums", lambda *of: multiplied.append(len(of[1])) or sums(*of)
    )
    hidden = states(torch.Generator().manual_seed(5), 60, across=0.01)
    head.encode(hidden, BOUNDS, Activation.RELU, 1.0, Selection(0.0, 20, None))
    assert 0 < sum(multiplied) / 4 < VOCAB / 4  # a text with tokens


def test_directions_are_found_from_the_first_tokens_and_given_up_where_they_fail(monkeypatch):
    monkeypatch.setattr(int8_head, "FITTED_TOKENS", 100)
    monkeypatch.setattr(int8_head, "MOST_BOUNDED", 250)
    monkeypatch.setattr(int8_head, "FIRST", 32)
    head = Int8Head(vocabulary(torch.Generator().manual_seed(1)), RANK)
    keep, generator = Selection(0.0, 20, None), torch.Generator().manual_seed(6)

    def encode(across):
        head.encode(states(generator, 60, across), BOUNDS, Activation.RELU, 1.0, keep)
        return head.bound.space is not None

    assert [encode(0.01) for _ in range(3)] == [False, True, True]
    assert not encode(3.0)  # these tokens lie far from the directions
    assert [encode(3.0) for _ in range(2)] == [False, True]


def test_directions_that_spare_nothing_are_not_sought(monkeypatch):
    monkeypatch.setattr(int8_head, "FITTED_TOKENS", 1)
    head = Int8Head(vocabulary(torch.Generator().manual_seed(1)), WIDTH)
    hidden = states(torch.Generator().manual_seed(7), 60)
    head.encode(hidden, BOUNDS, Activation.RELU, 1.0, Selection(0.0, 20, None))
    assert head.bound.space is None


def test_threads_that_share_a_head_agree_with_one(monkeypatch):
    monkeypatch.setattr(int8_head, "FITTED_TOKENS", 150)
    terms, keep = vocabulary(torch.Generator().manual_seed(1)), Selection(0.0, 20, None)
    batches = [states(torch.Generator().manual_seed(seed), 60) for seed in range(12)]

    def encode(head):
        return lambda hidden: head.encode(hidden, BOUNDS, Activation.RELU, 1.0, keep)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(encode(Int8Head(terms, RANK)), batches))
    for one, truth in zip(found, map(encode(Int8Head(terms, WIDTH)), batches), strict=True):
        assert all(map(torch.equal, one, truth))


def test_hidden_states_that_are_not_finite_are_refused():
    head = Int8Head(vocabulary(torch.Generator().manual_seed(5)))
    hidden = torch.zeros(60, WIDTH)
    hidden[3, 3] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        head.encode(hidden, BOUNDS, Activation.RELU, 1.0, Selection())


@pytest.mark.parametrize("hidden", [torch.zeros(60, WIDTH), torch.ones(60, WIDTH)])
def test_tokens_that_are_all_alike_are_encoded(head, hidden):
    found = head.encode(hidden, BOUNDS, Activation.RELU, 1.0, Selection(0.0, VOCAB, None))
    logits = (hidden[:1] @ head.terms.matrix(slice(None)).T + torch.from_numpy(head.terms.bias))[0]
    truth = np.tile(logits.relu().numpy(), (5, 1))
    truth[1] = 0
    np.testing.assert_allclose(dense_rows(found).numpy(), truth, atol=1e-5)


def dense_rows(rows):
    dense = torch.zeros(len(rows.offsets) - 1, VOCAB)
    for b, (a, e) in enumerate(itertools.pairwise(rows.offsets.tolist())):
        dense[b, rows.terms[a:e].long()] = rows.weights[a:e]
    return dense
