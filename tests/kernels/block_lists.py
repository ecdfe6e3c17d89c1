"""Random packed lists, and dense attention as the truth for what each row reads."""

import itertools

import numpy as np
import torch


def random_lists(generator, counts, longest=40):
    """Bounds and lists of blocks of odd lengths; counts of documents a list."""
    blocks = [count + 2 for count in counts]
    lengths = generator.integers(1, longest, sum(blocks))
    lengths[0] = longest + 9  # longer than a tile
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return bounds, np.concatenate([[0], np.cumsum(blocks)]).astype(np.int32)


def dense_mask(bounds, lists, *, causal, query_reads=True, window=None):
    """[tokens, tokens] bool, written from the words of the definition, block by block."""
    mask = np.zeros((bounds[-1], bounds[-1]), bool)
    for first, end in itertools.pairwise(lists):
        for block in range(first, end):
            for i in range(bounds[block], bounds[block + 1]):
                for j in range(bounds[block], bounds[block + 1]):
                    near = window is None or abs(i - j) <= window
                    mask[i, j] = near and (j <= i or not causal)
                if block > first and window is None:
                    mask[i, bounds[first] : bounds[first + 1]] = True
                if block == end - 1 and query_reads and window is None:
                    mask[i, bounds[first] : bounds[block]] = True
    return torch.from_numpy(mask)


def dense_attention(q, k, v, mask, scale):
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    logits = torch.einsum("shd,thd->hst", q, k) * scale
    weights = logits.masked_fill(~mask.to(q.device), -torch.inf).softmax(-1)
    return torch.einsum("hst,thd->shd", weights, v)


def dense_scores(q, k, segments, scale):
    """[segments][signals, heads], one at a time."""
    group = q.shape[1] // k.shape[1]
    k = k.repeat_interleave(group, 1)
    return [
        torch.logsumexp(torch.einsum("shd,thd->sht", q[s0:s1], k[k0:k1]) * scale, -1)
        for s0, s1, k0, k1 in segments.tolist()
    ]


def random_heads(generator, tokens, heads, kv_heads, width, dtype=torch.float32, device="cpu"):
    seeded = torch.Generator().manual_seed(int(generator.integers(1 << 30)))
    return [
        torch.randn(tokens, count, width, generator=seeded, dtype=torch.float64)
        .to(dtype)
        .to(device)
        for count in (heads, kv_heads, kv_heads)
    ]
