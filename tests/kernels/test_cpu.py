"""The head on the CPU, against the formula in float64 with every logit made."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tamis.kernels.head import cpu, naive
from tamis.kernels.head.ops import (
    Activation,
    splade_encode,
    splade_encode_packed,
    splade_head,
    splade_head_packed,
    splade_head_sum,
)


def inputs(batch, length, width, vocab, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(batch, length, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(vocab, width, generator=generator, dtype=torch.float64)
    bias = torch.randn(vocab, generator=generator, dtype=torch.float64)
    mask = torch.rand(batch, length, generator=generator) > 0.3
    mask[batch // 2] = False
    return hidden.to(dtype), weight.to(dtype), bias.to(dtype), mask


def packed(hidden, mask):
    return hidden[mask], torch.nn.functional.pad(mask.sum(1).cumsum(0), (1, 0))


def to_dense(rows, vocab):
    out = torch.zeros(len(rows.offsets) - 1, vocab)
    row = torch.repeat_interleave(torch.arange(len(out)), rows.offsets.diff())
    out[row, rows.terms.long()] = rows.weights
    return out


def test_an_activation_worked_by_hand():
    logits = torch.tensor([-1.0, 0.0, torch.e - 1])
    assert Activation.NONE.apply(logits).tolist() == logits.tolist()
    assert Activation.RELU.apply(logits).tolist() == [0.0, 0.0, logits[2].item()]
    assert Activation.LOG1P_RELU.apply(logits).tolist() == pytest.approx([0.0, 0.0, 1.0])
    twice = Activation.LOG1P_LOG1P_RELU.apply(logits).tolist()
    assert twice == pytest.approx([0.0, 0.0, 0.6931472])


@pytest.mark.parametrize("activation", list(Activation))
def test_the_slope_read_off_the_output_is_the_derivative(activation):
    logits = torch.linspace(-3, 40, 173, dtype=torch.float64, requires_grad=True)
    output = activation.apply(logits)
    (derivative,) = torch.autograd.grad(output.sum(), logits)
    torch.testing.assert_close(activation.slope(output.detach()), derivative)


@pytest.mark.parametrize("head", [splade_head, splade_head_sum])
@pytest.mark.parametrize("activation", list(Activation))
@pytest.mark.parametrize(("batch", "length", "width", "vocab"), [(5, 9, 24, 37), (3, 1, 5, 7)])
def test_a_head_equals_dense_arithmetic(head, activation, batch, length, width, vocab):
    hidden, weight, bias, mask = inputs(batch, length, width, vocab)
    ours = head(hidden, weight, bias, mask=mask, activation=activation, logit_scale=0.7)
    truth_of = naive.head_sum if head is splade_head_sum else naive.head
    truth = truth_of(hidden, weight, bias, mask, activation, 0.7)
    torch.testing.assert_close(ours, truth, rtol=1e-12, atol=1e-12)
    assert not ours[batch // 2].any()


@pytest.mark.parametrize("head", [splade_head, splade_head_sum])
@pytest.mark.parametrize("activation", list(Activation))
def test_gradients_pass_finite_differences(head, activation):
    hidden, weight, bias, mask = inputs(4, 6, 5, 11)
    leaves = [t.requires_grad_() for t in (hidden, weight, bias)]

    def call(*operands):
        return head(*operands, mask=mask, activation=activation, logit_scale=1.3)

    assert torch.autograd.gradcheck(call, leaves)


def test_chunks_do_not_change_the_result(monkeypatch):
    hidden, weight, bias, mask = inputs(7, 13, 24, 101)
    leaves = [t.requires_grad_() for t in (hidden, weight, bias)]
    whole = splade_head(*leaves, mask=mask)
    grads = torch.autograd.grad(whole.square().sum(), leaves)
    monkeypatch.setattr(cpu, "LOGITS_ELEMENTS", 200)
    monkeypatch.setattr(cpu, "TOKEN_BLOCK", 10)
    monkeypatch.setattr(cpu, "GATHER_ELEMENTS", 1000)
    sliced = splade_head(*leaves, mask=mask)
    torch.testing.assert_close(sliced, whole)
    torch.testing.assert_close(torch.autograd.grad(sliced.square().sum(), leaves), grads)


def test_padded_and_packed_agree():
    hidden, weight, bias, mask = inputs(6, 11, 16, 53, torch.float32)
    rows, offsets = packed(hidden, mask)
    ours = splade_head_packed(rows, weight, bias, offsets=offsets, max_len=11)
    torch.testing.assert_close(ours, splade_head(hidden, weight, bias, mask=mask))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_inputs_give_float32_weights(dtype):
    hidden, weight, bias, mask = inputs(5, 9, 24, 37, dtype)
    ours = splade_head(hidden, weight, bias, mask=mask)
    wide = [t.double() for t in (hidden, weight, bias)]
    truth = naive.head(*wide, mask, Activation.LOG1P_RELU)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), truth, rtol=1e-5, atol=1e-6)


def test_a_winner_that_ties_gets_the_whole_gradient_once():
    hidden = torch.ones(1, 4, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.ones(2, 3, dtype=torch.float64)
    (grad,) = torch.autograd.grad(
        splade_head(hidden, weight, activation=Activation.RELU).sum(), hidden
    )
    assert sorted(grad.sum(2)[0].tolist()) == [0.0, 0.0, 0.0, 6.0]


def test_values_in_masked_tokens_are_never_read():
    hidden, weight, bias, mask = inputs(4, 9, 8, 21, torch.float32)
    dirty = hidden.masked_fill(~mask[:, :, None], torch.nan).requires_grad_()
    ours = splade_head(dirty, weight, bias, mask=mask)
    torch.testing.assert_close(ours, splade_head(hidden, weight, bias, mask=mask))
    (grad,) = torch.autograd.grad(ours.sum(), dirty)
    assert not grad[~mask].any()


def test_nan_in_a_counted_token_reaches_its_row_and_no_other():
    hidden, weight, bias, _ = inputs(3, 4, 8, 21, torch.float32)
    hidden[1, 2, 3] = torch.nan
    ours = splade_head(hidden, weight, bias)
    assert ours[1].isnan().all()
    assert ours[[0, 2]].isfinite().all()
    with pytest.raises(ValueError, match="finite term weights"):
        splade_encode(hidden, weight, bias)


@pytest.mark.parametrize("top_n", [None, 1, 4, 1000])
@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_sparse_rows_hold_the_kept_weights(top_n, threshold):
    hidden, weight, bias, mask = inputs(6, 9, 16, 59, torch.float32)
    exclude = torch.arange(59) % 5 == 0
    keep = {"threshold": threshold, "top_n": top_n, "exclude": exclude}
    rows = splade_encode(hidden, weight, bias, mask=mask, **keep)
    truth = splade_head(hidden, weight, bias, mask=mask).masked_fill(exclude, 0.0)
    truth = torch.where(truth > threshold, truth, 0.0)
    if top_n is not None:
        order = truth.argsort(dim=1, descending=True, stable=True)
        truth = truth.scatter(1, order[:, top_n:], 0.0)
    torch.testing.assert_close(to_dense(rows, 59), truth, rtol=1e-5, atol=1e-6)
    for a, e in zip(rows.offsets[:-1], rows.offsets[1:], strict=True):
        assert rows.terms[a:e].tolist() == sorted(set(rows.terms[a:e].tolist()))
    tokens, offsets = packed(hidden, mask)
    again = splade_encode_packed(tokens, weight, bias, offsets=offsets, max_len=9, **keep)
    assert again.terms.equal(rows.terms)


def test_ties_at_the_cut_go_to_the_lower_term():
    hidden, weight = torch.ones(2, 1, 3), torch.ones(6, 3)
    rows = splade_encode(hidden, weight, top_n=2)
    assert rows.terms.tolist() == [0, 1, 0, 1]


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple) else (result,):
            if isinstance(tensor, torch.Tensor) and not func.is_view:
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.long
def test_encoding_makes_no_tensor_near_the_size_of_a_dense_batch():
    """Dense weights would be 80 million elements here, and the logits 2.5 billion."""
    hidden, weight = torch.randn(400, 32, 8), torch.randn(200_000, 8)
    with Largest() as largest:
        rows = splade_encode(hidden, weight, torch.full((200_000,), -24.0))
    assert len(rows.terms) > 0
    assert cpu.LOGITS_ELEMENTS / 2 < largest.elements < 2 * cpu.LOGITS_ELEMENTS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": torch.zeros(3, 4)}, r"expected hidden \[B, S, D\]"),
        ({"weight": torch.zeros(7, 5)}, r"expected weight \[V, 4\]"),
        ({"weight": torch.zeros(7, 4).half()}, "one dtype"),
        ({"hidden": torch.zeros(2, 3, 4).int(), "weight": torch.zeros(7, 4).int()}, "one dtype"),
        ({"bias": torch.zeros(6)}, r"expected bias \[7\]"),
        ({"mask": torch.ones(2, 4, dtype=torch.bool)}, r"expected mask \[2, 3\] bool"),
        ({"mask": torch.ones(2, 3)}, r"expected mask \[2, 3\] bool"),
        ({"logit_scale": -1.0}, "positive finite logit_scale"),
        ({"mask": torch.ones(2, 3, dtype=torch.bool, device="meta")}, "expected mask on cpu"),
    ],
)
def test_bad_input_is_one_clear_error(change, message):
    good = {"hidden": torch.zeros(2, 3, 4), "weight": torch.zeros(7, 4)}
    with pytest.raises(ValueError, match=message):
        splade_head(**(good | change))


def test_an_unsupported_device_is_one_clear_error():
    with pytest.raises(ValueError, match="cpu or cuda, found meta"):
        splade_head(torch.zeros(2, 3, 4, device="meta"), torch.zeros(7, 4, device="meta"))


@pytest.mark.parametrize("offsets", [[0, 3, 2, 4], [1, 2, 3, 4], [0, 2, 4, 9], [0, 0, 0, 4]])
def test_offsets_that_do_not_partition_are_refused(offsets):
    with pytest.raises(ValueError, match="expected"):
        splade_head_packed(
            torch.zeros(4, 3), torch.zeros(5, 3), offsets=torch.tensor(offsets), max_len=3
        )


@pytest.mark.parametrize("keep", [{"threshold": -1.0}, {"top_n": 0}, {"exclude": torch.ones(3)}])
def test_a_selection_that_means_nothing_is_refused(keep):
    with pytest.raises(ValueError, match="expected"):
        splade_encode(torch.zeros(2, 3, 4), torch.zeros(7, 4), **keep)
