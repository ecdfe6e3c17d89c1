"""What the kernels are compared with is given the same mask."""

import numpy as np
import pytest
import torch
from block_lists import dense_attention, dense_mask, random_heads, random_lists

from tamis.kernels.blocks.ops import block_ranges
from tamis.scripts.bench import attention_peers as block_peers


@pytest.fixture
def lists():
    return random_lists(np.random.default_rng(0), (4, 0, 3), 120)


@pytest.mark.parametrize("causal", [False, True])
def test_tiles_hold_as_many_pairs_as_the_dense_mask(lists, causal):
    mask = dense_mask(*lists, causal=causal).numpy()
    tiles = -(-len(mask) // block_peers.TILE)
    whole = np.zeros((tiles * block_peers.TILE,) * 2, bool)
    whole[: len(mask), : len(mask)] = mask
    pairs = whole.reshape(tiles, block_peers.TILE, tiles, -1).sum((1, 3))
    assert (pairs == block_peers.TILE**2).any()
    assert (pairs == 0).any()
    assert np.array_equal(block_peers.tile_pairs(block_ranges(*lists, causal=causal)), pairs)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_under_that_mask_equals_dense_attention(lists):
    q, k, v = random_heads(np.random.default_rng(1), int(lists[0][-1]), 4, 2, 16)
    mask = block_peers.flex_mask(block_ranges(*lists, causal=True), q.device)
    wanted = dense_attention(q, k, v, dense_mask(*lists, causal=True), 0.2)
    torch.testing.assert_close(block_peers.flex_attention(q, k, v, mask, 0.2), wanted)
