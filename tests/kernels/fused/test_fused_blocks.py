"""The block attention kernels against dense attention in float64; on CUDA, or interpreted."""

import itertools

import numpy as np
import pytest
import torch
from block_lists import dense_attention, dense_mask, dense_scores, random_heads, random_lists

from tamis.kernels.blocks.ops import block_attention, block_ranges, cached_ranges, segment_scores
from tamis.kernels.blocks.segment_scores import one_writer
from tamis.kernels.blocks.work import key_work, query_work

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
HEADS = [(6, 2, 24), (4, 2, 32)] + ([(12, 12, 32), (32, 8, 128)] if CUDA else [])
TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
DTYPES = [torch.float32, torch.float16] + ([torch.bfloat16] if CUDA else [])


def batch(seed, heads, dtype=torch.float32, counts=(2, 0, 3)):
    generator = np.random.default_rng(seed)
    bounds, lists = random_lists(generator, counts, 70 if CUDA else 13)
    return bounds, lists, random_heads(generator, int(bounds[-1]), *heads, dtype, DEVICE)


def worst(found, wanted):
    assert torch.isfinite(found).all()
    return ((found.double() - wanted.double()).norm() / wanted.double().norm()).item()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("heads", HEADS)
def test_the_forward_equals_dense_attention(heads, causal, dtype):
    bounds, lists, (q, k, v) = batch(1, heads, dtype)
    mask = dense_mask(bounds, lists, causal=causal)
    wanted = dense_attention(q.double(), k.double(), v.double(), mask, 0.2)
    found = block_attention(q, k, v, block_ranges(bounds, lists, causal=causal), 0.2)
    assert worst(found, wanted) < TOLERANCE[dtype]


@pytest.mark.parametrize("causal", [False, True])
def test_a_range_cut_into_pieces_equals_dense_attention_both_ways(causal):
    generator = np.random.default_rng(11)
    bounds, lists = random_lists(generator, (20,), 70 if CUDA else 9)
    leaves = random_heads(generator, int(bounds[-1]), 2, 1, 16, torch.float32, DEVICE)
    ranges = block_ranges(bounds, lists, causal=causal)
    sizes = (4, 64, 64, torch.device(DEVICE))
    assert len(query_work(ranges, *sizes).merges) > 0
    assert len(key_work(ranges, *sizes).merges) > 0
    truth = [leaf.double().requires_grad_() for leaf in leaves]
    found = [leaf.clone().requires_grad_() for leaf in leaves]
    wanted = dense_attention(*truth, dense_mask(bounds, lists, causal=causal), 0.2)
    out = block_attention(*found, ranges, 0.2)
    assert worst(out, wanted) < 2e-5
    wanted.sum().backward()
    out.sum().backward()
    for one, other in zip(found, truth, strict=True):
        assert worst(one.grad, other.grad) < 5e-5


def test_keys_may_lie_by_row_by_head_or_with_gaps():
    bounds, lists, (q, k, v) = batch(12, (4, 2, 32))
    ranges = block_ranges(bounds, lists, causal=True)
    wanted = block_attention(q, k, v, ranges, 0.2)
    by_head = [t.transpose(0, 1).contiguous().transpose(0, 1) for t in (k, v)]
    joined = torch.cat([k, v], 2)
    with_gaps = joined[:, :, :32], joined[:, :, 32:]
    rows = torch.cat([k.flatten(1), v.flatten(1)], 1).view(-1, 4, 32)
    for keys, values in (by_head, with_gaps, (rows[:, :2], rows[:, 2:])):
        assert torch.equal(block_attention(q, keys, values, ranges, 0.2), wanted)


def test_a_tile_that_crosses_blocks_keeps_them_apart():
    bounds, lists, (q, k, v) = batch(13, (4, 2, 32), counts=(5,))
    ranges = block_ranges(bounds, lists, causal=False)
    before = block_attention(q, k, v, ranges, 0.2)
    third = slice(int(bounds[3]), int(bounds[4]))
    k[third], v[third] = torch.randn_like(k[third]), torch.randn_like(v[third])
    after = block_attention(q, k, v, ranges, 0.2)
    query = slice(int(bounds[-2]), int(bounds[-1]))
    for rows in (third, query):
        assert not torch.equal(before[rows], after[rows])
        before[rows] = after[rows]
    assert torch.equal(before, after)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("level", [-150.0, 150.0])
def test_products_far_from_zero_give_the_same_weights(level, dtype):
    bounds, lists, (q, k, v) = batch(21, (4, 2, 32), counts=(5,))
    plain = dense_attention(
        *(t.double() for t in (q, k, v)), dense_mask(bounds, lists, causal=True), 0.2
    )
    q[..., 0], k[..., 0] = 1.0, level / 0.2  # one number more in every product
    q[::3, :, 0] = 0.0  # but not in every row
    rows = dense_attention(
        *(t.double() for t in (q, k, v)), dense_mask(bounds, lists, causal=True), 0.2
    )
    assert worst(rows, plain) > 0.1
    found = block_attention(
        *(t.to(dtype) for t in (q, k, v)), block_ranges(bounds, lists, causal=True), 0.2
    )
    # float32 keeps six digits of a product of 150
    assert worst(found, rows) < 10 * TOLERANCE[dtype]


@pytest.mark.parametrize("causal", [False, True])
def test_blocks_that_read_themselves_within_a_window_equal_dense_attention(causal):
    bounds, lists, (q, k, v) = batch(2, (4, 2, 16))
    ranges = block_ranges(bounds, lists, causal=causal).within(5)
    mask = dense_mask(bounds, lists, causal=causal, window=5)
    own = torch.zeros_like(mask)
    for start, stop in itertools.pairwise(bounds):
        own[start:stop, start:stop] = True
    wanted = dense_attention(q.double(), k.double(), v.double(), mask & own, 0.3)
    assert worst(block_attention(q, k, v, ranges, 0.3), wanted) < 2e-5


def test_a_query_that_reads_the_prefix_alone_equals_dense_attention():
    bounds, lists, (q, k, v) = batch(3, (2, 1, 16))
    ranges = block_ranges(bounds, lists, causal=False, query_reads=False)
    mask = dense_mask(bounds, lists, causal=False, query_reads=False)
    wanted = dense_attention(q.double(), k.double(), v.double(), mask, 0.3)
    assert worst(block_attention(q, k, v, ranges, 0.3), wanted) < 2e-5


def test_documents_that_are_keys_alone_give_the_query_what_it_had():
    bounds, lists, (q, k, v) = batch(4, (4, 2, 32), counts=(4,))
    whole = block_attention(q, k, v, block_ranges(bounds, lists, causal=True), 0.2)
    prefix, start = int(bounds[1]), int(bounds[-2])
    ranges = cached_ranges(prefix, start - prefix, int(bounds[-1]) - start, causal=True)
    rows = torch.cat([q[:prefix], q[start:]])
    found = block_attention(rows, k, v, ranges, 0.2)
    assert worst(found, torch.cat([whole[:prefix], whole[start:]])) < 2e-5


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("heads", [(6, 2, 24)] + ([(12, 12, 32), (8, 2, 128)] if CUDA else []))
def test_the_backward_equals_that_of_dense_attention(heads, causal, window):
    bounds, lists, leaves = batch(5, heads, counts=(2, 1))
    grad = torch.randn(leaves[0].shape, generator=torch.Generator().manual_seed(7)).to(DEVICE)
    ranges = block_ranges(bounds, lists, causal=causal)
    mask = dense_mask(bounds, lists, causal=causal, window=window)
    ranges = ranges if window is None else ranges.within(window)
    truth = [leaf.double().requires_grad_() for leaf in leaves]
    dense_attention(*truth, mask, 0.2).backward(grad.double())
    found = [leaf.clone().requires_grad_() for leaf in leaves]
    block_attention(*found, ranges, 0.2).backward(grad)
    for one, other in zip(found, truth, strict=True):
        assert worst(one.grad, other.grad) < 5e-5


@pytest.mark.parametrize("heads", HEADS)
def test_segment_scores_equal_a_log_sum_of_exponentials(heads):
    bounds, _, (q, k, _) = batch(6, heads, counts=(3, 4))
    signals = [(0, 3)] * 4 + [(40, 57)] * 3
    at = [1, 2, 3, 4, 6, 7, 8]
    segments = np.array(
        [[*s, bounds[b], bounds[b + 1]] for s, b in zip(signals, at, strict=True)], np.int32
    )
    found = segment_scores(q, k, segments, 0.4)
    assert found.shape == (7, 17, heads[0])
    for one, wanted in zip(found, dense_scores(q.double(), k.double(), segments, 0.4), strict=True):
        assert worst(one[: len(wanted)], wanted) < 1e-5
        assert (one[len(wanted) :] == 0).all()


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("heads", HEADS)
def test_the_backward_of_segment_scores_equals_that_of_the_definition(heads, apart):
    bounds, _, leaves = batch(9, heads, counts=(3, 4))
    spans = [[bounds[b], bounds[b + 1]] for b in (1, 2, 3, 6, 7, 8)]
    signals = [(0, 3)] * 3 + ([(bounds[9], bounds[10])] if apart else [(2, 19)]) * 3
    segments = np.array([[*s, *span] for s, span in zip(signals, spans, strict=True)], np.int32)
    assert one_writer(segments) == apart
    truth = [leaf.double().requires_grad_() for leaf in leaves[:2]]
    wanted = dense_scores(*truth, segments, 0.4)
    generator = torch.Generator().manual_seed(8)
    grads = [torch.randn(one.shape, generator=generator).to(DEVICE) for one in wanted]
    torch.autograd.backward(wanted, [grad.double() for grad in grads])
    found = [leaf.clone().requires_grad_() for leaf in leaves[:2]]
    scores = segment_scores(*found, segments, 0.4)
    there = torch.full_like(scores, 3.0)  # beyond a list's signals nothing counts
    for at, grad in enumerate(grads):
        there[at, : len(grad)] = grad
    scores.backward(there)
    for one, other in zip(found, truth, strict=True):
        assert worst(one.grad, other.grad) < 5e-5


def test_two_runs_of_segment_scores_give_the_same_gradients():
    bounds, _, leaves = batch(10, (4, 2, 32), counts=(3,))
    segments = np.array([[0, 3, bounds[b], bounds[b + 1]] for b in (1, 2, 3)], np.int32)
    runs = []
    for _ in range(2):
        q, k = (leaf.clone().requires_grad_() for leaf in leaves[:2])
        segment_scores(q, k, segments, 0.4).sum().backward()
        runs.append((q.grad, k.grad))
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])


def test_segments_are_read_where_their_table_lies():
    bounds, _, (q, k, _) = batch(6, (4, 2, 32), counts=(3,))
    segments = np.array([[0, 3, bounds[b], bounds[b + 1]] for b in (1, 2, 3)], np.int32)
    other = segments[::-1].copy()
    found = segment_scores(q, k, segments, 0.4, torch.from_numpy(other).to(DEVICE))
    assert torch.equal(found, segment_scores(q, k, other, 0.4))
    assert not torch.equal(found, segment_scores(q, k, segments, 0.4))


def test_two_runs_give_the_same_bits():
    bounds, lists, (q, k, v) = batch(8, (2, 1, 16), counts=(2,))
    runs = []
    for _ in range(2):
        leaves = [leaf.clone().requires_grad_() for leaf in (q, k, v)]
        out = block_attention(*leaves, block_ranges(bounds, lists, causal=True), 0.2)
        out.sum().backward()
        runs.append([out, *(leaf.grad for leaf in leaves)])
    for one, other in zip(*runs, strict=True):
        assert torch.equal(one, other)
