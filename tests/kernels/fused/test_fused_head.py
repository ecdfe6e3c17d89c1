"""The Triton head against float64 arithmetic: fresh random inputs, odd shapes, poisoned memory."""

import os

import pytest
import torch

from tamis.kernels import tuned
from tamis.kernels.head import gradient, naive
from tamis.kernels.head.ops import (
    Activation,
    splade_encode,
    splade_encode_packed,
    splade_head,
    splade_head_packed,
)

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
# The interpreter's bf16 products are wrong, and it is a thousand times slower.
DTYPES = [torch.float32, torch.float16] + ([] if INTERPRETED else [torch.bfloat16])
SHAPES = [(5, 19, 24, 37), (1, 1, 7, 7), (3, 70, 40, 65)]
SHAPES += [] if INTERPRETED else [(64, 32, 768, 1531), (7, 200, 384, 30522), (2, 1500, 64, 999)]
# The library's fp16 products may sum their parts in fp16, as in PyTorch's own backward.
ROUNDING = {torch.float32: 2e-6, torch.float16: 3e-3, torch.bfloat16: 6e-3}


class Case:
    """One head's operands, and the truth about them in float64."""

    def __init__(self, device, shape=(5, 19, 24, 37), dtype=torch.float32, bias=True):
        batch, length, width, vocab = shape
        self.vocab = vocab
        self.hidden = torch.randn(batch, length, width, device=device).to(dtype).requires_grad_()
        weight = torch.randn(vocab, width, device=device) / width**0.5
        self.weight = weight.to(dtype).requires_grad_()
        self.bias = torch.randn(vocab, device=device).requires_grad_() if bias else None
        self.mask = torch.rand(batch, length, device=device) > 0.3
        if batch > 1:
            self.mask[batch // 2] = False
        self.rule = {"activation": Activation.LOG1P_RELU, "logit_scale": 1.0}

    @property
    def leaves(self):
        return [t for t in (self.hidden, self.weight, self.bias) if t is not None]

    def head(self):
        return splade_head(self.hidden, self.weight, self.bias, mask=self.mask, **self.rule)

    def packed(self):
        offsets = torch.nn.functional.pad(self.mask.sum(1).cumsum(0), (1, 0))
        return self.hidden[self.mask], offsets

    def clear(self):
        """1 where no other token comes so near the winner that the kernel may take it instead."""
        logits = self.hidden.detach().double() @ self.weight.detach().double().T
        best = logits.masked_fill(~self.mask[:, :, None], -torch.inf).topk(2, dim=1).values
        return (best[:, 0] - best[:, 1] > 2**-15 * best[:, 0].abs()).float()

    def truth(self):
        leaves = [t.detach().double().requires_grad_() for t in self.leaves]
        bias = leaves[2] if self.bias is not None else leaves[0].new_zeros(self.vocab)
        rule = self.rule["activation"], self.rule["logit_scale"]
        return naive.head(leaves[0], leaves[1], bias, self.mask, *rule), leaves


def error(ours, truth):
    return ((ours.double() - truth).norm() / truth.norm().clamp(min=1e-30)).item()


def assert_right(case, rounding):
    ours, (truth, wide) = case.head(), case.truth()
    assert ours.dtype == torch.float32
    assert error(ours, truth) < 2e-6
    upstream = torch.randn_like(ours)
    if case.hidden.shape[1] > 1:  # near ties have a test of their own
        upstream = upstream * case.clear()
    grads = torch.autograd.grad(ours, case.leaves, upstream)
    true_grads = torch.autograd.grad(truth, wide, upstream.double())
    for grad, true_grad, leaf in zip(grads, true_grads, case.leaves, strict=True):
        assert grad.dtype == leaf.dtype
        assert error(grad, true_grad) < rounding


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_weights_and_gradients_equal_float64_arithmetic(device, shape, dtype):
    assert_right(Case(device, shape, dtype), ROUNDING[dtype])


@pytest.mark.parametrize("length", [9, 40])
@pytest.mark.parametrize("activation", list(Activation))
def test_every_activation_and_scale_is_right(device, activation, length):
    case = Case(device, (3, length, 24, 37), bias=False)
    case.rule = {"activation": activation, "logit_scale": 0.4}
    assert_right(case, 2e-6)


@pytest.mark.parametrize("length", [19, 70])
def test_a_gradient_that_fp16_cannot_hold_is_not_lost(device, length):
    case = Case(device, (3, length, 24, 37), torch.float16)
    ours = case.head()
    upstream = torch.randn_like(ours)
    plain = torch.autograd.grad(ours, case.leaves, upstream, retain_graph=True)[0]
    tiny = torch.autograd.grad(ours, case.leaves, upstream * 2.0**-14, retain_graph=True)[0]
    torch.testing.assert_close(tiny * 2.0**14, plain, rtol=0.02, atol=0.01)
    case.rule["logit_scale"] = 2.0**20
    _, (truth, wide) = case.head(), case.truth()
    huge = torch.autograd.grad(case.head(), case.leaves, upstream)[2]
    assert error(huge, torch.autograd.grad(truth, wide, upstream.double())[2]) < 1e-3


def test_training_and_inference_give_the_same_bits(device):
    case = Case(device)
    with torch.no_grad():
        inference = case.head()
    assert case.head().equal(inference)


@pytest.mark.parametrize("length", [19, 70])
def test_two_runs_give_the_same_bits(device, length):
    case = Case(device, (5, length, 24, 65))
    upstream = torch.randn(5, 65, device=device)
    first, second = (
        (out, *torch.autograd.grad(out, case.leaves, upstream))
        for out in (case.head(), case.head())
    )
    assert all(a.equal(b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("length", [19, 70])
def test_padded_and_packed_agree(device, length):
    case = Case(device, (5, length, 24, 37))
    rows, offsets = case.packed()
    ours = splade_head_packed(
        rows, case.weight, case.bias, offsets=offsets.int(), max_len=length, **case.rule
    )
    padded = case.head()
    assert ours.equal(padded)
    upstream = torch.randn_like(ours)
    grads = torch.autograd.grad(ours, case.leaves, upstream)
    torch.testing.assert_close(grads, torch.autograd.grad(padded, case.leaves, upstream))


def test_an_unread_tail_of_packed_rows_gets_no_gradient(device):
    hidden = torch.randn(9, 8, device=device, requires_grad=True)
    weight = torch.randn(7, 8, device=device)
    offsets = torch.tensor([0, 2, 2, 6], device=device)
    out = splade_head_packed(hidden, weight, offsets=offsets, max_len=4)
    (grad,) = torch.autograd.grad(out.sum(), hidden)
    assert not grad[6:].any()
    assert not out[1].any()
    torch.testing.assert_close(out[2], splade_head(hidden[None, 2:6], weight)[0])


@pytest.mark.parametrize("length", [19, 70])
def test_masked_tokens_are_never_read_and_get_no_gradient(device, length):
    case = Case(device, (4, length, 24, 37))
    clean = case.head()
    upstream = torch.randn_like(clean)
    truth = torch.autograd.grad(clean, case.leaves, upstream)
    dirty = case.hidden.detach().masked_fill(~case.mask[:, :, None], torch.nan)
    case.hidden = dirty.requires_grad_()
    ours = case.head()
    assert ours.equal(clean)
    grads = torch.autograd.grad(ours, case.leaves, upstream)
    assert not grads[0][~case.mask].any()
    assert all(a.equal(b) for a, b in zip(grads, truth, strict=True))


def test_a_batch_without_a_token_is_zero_with_zero_gradients(device):
    case = Case(device)
    case.mask[:] = False
    for activation in Activation:
        case.rule["activation"] = activation
        ours = case.head()
        assert not ours.any()
        grads = torch.autograd.grad(ours.sum(), case.leaves)
        assert not any(grad.any() for grad in grads)


@pytest.mark.parametrize("shape", [(0, 5, 8, 7), (3, 0, 8, 7)])
def test_an_empty_batch_has_empty_gradients(device, shape):
    case = Case(device, shape)
    ours = case.head()
    assert ours.shape == (shape[0], 7)
    assert not ours.any()
    grads = torch.autograd.grad(ours.sum(), case.leaves)
    assert [g.shape for g in grads] == [leaf.shape for leaf in case.leaves]


@pytest.mark.parametrize("length", [19, 70])
def test_any_of_several_equal_winners_takes_the_gradient(device, length):
    row = torch.randn(1, 1, 8, device=device)
    hidden = row.repeat(2, length, 1).requires_grad_()
    weight = torch.randn(7, 8, device=device)
    out = splade_head(hidden, weight, activation=Activation.NONE)
    (grad,) = torch.autograd.grad(out.sum(), hidden)
    torch.testing.assert_close(grad.sum(1), weight.sum(0).expand(2, 8))


def test_nan_reaches_its_row_and_no_other(device):
    case = Case(device)
    case.mask[:] = True
    with torch.no_grad():
        case.hidden[1, 2, 3] = torch.nan
        ours = case.head()
    assert ours[1].isnan().all()
    assert ours[[0, 2, 3, 4]].isfinite().all()
    with pytest.raises(ValueError, match="finite term weights"):
        splade_encode(case.hidden, case.weight, case.bias)


def test_strides_and_misaligned_rows_are_right(device):
    case = Case(device, (3, 19, 24, 37))
    ours = case.head()
    with torch.no_grad():
        spread = torch.empty(3, 24, 19, device=device).transpose(1, 2).copy_(case.hidden)
        weight = torch.zeros(37, 25, device=device)[:, 1:].copy_(case.weight)
        case.hidden, case.weight = spread.requires_grad_(), weight.requires_grad_()
        case.mask = case.mask.T.contiguous().T
    assert not case.hidden.is_contiguous()
    torch.testing.assert_close(case.head(), ours)
    assert_right(case, 2e-6)


@pytest.mark.parametrize("top_n", [None, 1, 4, 1000])
@pytest.mark.parametrize("threshold", [0.0, 0.9])
def test_sparse_rows_hold_the_kept_weights(device, top_n, threshold):
    case = Case(device, (4, 5, 8, 1100) if top_n == 4 else (4, 19, 24, 59))
    exclude = torch.arange(case.vocab, device=device) % 5 == 0
    keep = {"threshold": threshold, "top_n": top_n, "exclude": exclude}
    rows = splade_encode(case.hidden, case.weight, case.bias, mask=case.mask, **keep)
    truth = case.head().detach().masked_fill(exclude, 0.0)
    truth = torch.where(truth > threshold, truth, 0.0)
    if top_n is not None:
        order = truth.argsort(dim=1, descending=True, stable=True)
        truth = truth.scatter(1, order[:, top_n:], 0.0)
    row, term = truth.nonzero(as_tuple=True)
    assert rows.terms.tolist() == term.tolist()
    assert rows.weights.equal(truth[row, term])
    assert rows.offsets.diff().tolist() == row.bincount(minlength=4).tolist()
    assert (rows.offsets.dtype, rows.terms.dtype) == (torch.int64, torch.int32)
    tokens, offsets = case.packed()
    again = splade_encode_packed(
        tokens, case.weight, case.bias, offsets=offsets, max_len=19, **keep
    )
    assert again.terms.equal(rows.terms)


def test_ties_at_the_cut_go_to_the_lower_term(device):
    hidden, weight = torch.ones(2, 1, 8, device=device), torch.ones(1100, 8, device=device)
    exclude = torch.zeros(1100, dtype=torch.bool, device=device)
    exclude[1] = True
    rows = splade_encode(hidden, weight, top_n=3, exclude=exclude)
    assert rows.terms.tolist() == [0, 2, 3, 0, 2, 3]


def test_a_small_workspace_changes_nothing(device, monkeypatch):
    case = Case(device, (5, 70, 24, 65))
    ours = case.head()
    upstream = torch.randn_like(ours)
    whole = torch.autograd.grad(ours, case.leaves, upstream, retain_graph=True)
    monkeypatch.setattr(gradient, "WORKSPACE_BYTES", 65 * 8 * 2)
    parts = torch.autograd.grad(ours, case.leaves, upstream)
    assert all(a.equal(b) for a, b in zip(whole, parts, strict=True))


def test_both_ways_of_the_backward_agree(device, monkeypatch):
    case = Case(device, (4, 30, 24, 65))
    ours = case.head()
    upstream = torch.randn_like(ours)
    one_hot = torch.autograd.grad(ours, case.leaves, upstream)
    monkeypatch.setattr(tuned, "ONE_HOT", 8)
    gathered = torch.autograd.grad(case.head(), case.leaves, upstream)
    torch.testing.assert_close(gathered, one_hot, rtol=1e-4, atol=1e-5)


def test_autocast_casts_float32_parameters(device):
    if INTERPRETED:
        pytest.skip("autocast on the CPU means bf16, which the interpreter multiplies wrongly")
    case = Case(device, (3, 70, 64, 129))
    with torch.autocast("cuda", dtype=torch.bfloat16):
        ours = case.head()
    assert ours.dtype == torch.float32
    assert error(ours, case.truth()[0]) < 1e-2
    grads = torch.autograd.grad(ours.sum(), case.leaves)
    assert all(grad.dtype == torch.float32 for grad in grads)


def test_memory_stays_far_below_the_logits(device):
    """The logits of this batch alone would take 500 MB in bf16."""
    if INTERPRETED:
        pytest.skip("the interpreter has no allocator to ask")
    case = Case(device, (64, 128, 64, 30522), torch.bfloat16)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    ours = case.head()
    torch.autograd.grad(ours.sum(), case.leaves)
    assert torch.cuda.max_memory_allocated() - before < 100e6


def test_more_entries_than_an_int32_counts(device):
    if INTERPRETED:
        pytest.skip("17 GB on a GPU, far too slow under the interpreter")
    hidden = torch.randn(70_400, 1, 16, device=device, dtype=torch.bfloat16)
    weight = torch.randn(30_522, 16, device=device, dtype=torch.bfloat16)
    assert len(hidden) * len(weight) > 2**31
    ours = splade_head(hidden, weight)
    assert ours[-3:].equal(splade_head(hidden[-3:], weight))
    assert ours[:3].equal(splade_head(hidden[:3], weight))
