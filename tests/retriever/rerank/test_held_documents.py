"""Queries in fixed places, replayed on a GPU, score what queries run one by one do."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tiny_rerankers import ARCHITECTURES, texts, write_reranker

from tamis.index.errors import InputError
from tamis.retriever.rerank.block_reranker import BlockReranker
from tamis.retriever.rerank.held_documents import LENGTHS, STEP, HeldQueries, filled_up
from tamis.retriever.rerank.layout import BlockLayout
from tamis.retriever.rerank.loading import load_reranker

QUERY, DOCUMENTS = texts()
# Of two lengths within one step, of another, and the first again.
QUERIES = (QUERY, QUERY + " a", "coarse", " ".join([QUERY] * 3), QUERY)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def open_parts(folder, architecture, device, **settings):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    path = str(write_reranker(folder, architecture, **settings))
    return load_reranker(path, torch.device(device), torch.float32)


def pack(parts, query, documents=()):
    block = parts.prompts.build(query, documents, "none")
    return BlockLayout.pack([block], parts.prompts.sizes)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("reads_from", [0, 1, 2])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_queries_score_what_they_score_one_by_one(tmp_path, architecture, reads_from, device):
    parts = open_parts(tmp_path, architecture, device, reads_from=reads_from)
    with torch.inference_mode():
        held = parts.backbone.document_keys(pack(parts, "", DOCUMENTS))
        queries = HeldQueries(parts.backbone, held, parts.prompts.sizes.query)
        wanted = [parts.backbone.with_held(pack(parts, query), held) for query in QUERIES]
    found = [queries(pack(parts, query)) for query in QUERIES]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 if device == "cpu" else 1e-4)
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_causal_queries_of_like_length_share_a_forward(tmp_path):
    parts = open_parts(tmp_path, "llama", "cpu")
    with torch.inference_mode():
        held = parts.backbone.document_keys(pack(parts, "", DOCUMENTS))
    queries = HeldQueries(parts.backbone, held, parts.prompts.sizes.query)
    layouts = [pack(parts, query) for query in QUERIES[:2]]
    assert layouts[0].tokens != layouts[1].tokens
    assert filled_up(layouts[0]).tokens == filled_up(layouts[1]).tokens
    for layout in layouts:
        queries(layout)
    assert len(queries._forwards) == 1


@pytest.mark.parametrize("device", DEVICES)
def test_a_reranker_scores_documents_held_for_many_queries(tmp_path, device):
    parts = open_parts(tmp_path, "qwen3", device)
    reranker = BlockReranker(parts)
    held = reranker.document_keys(DOCUMENTS)
    assert not any(keys.requires_grad for keys, _ in held.layers.values())
    many = reranker.hold(held)
    for query in QUERIES:
        wanted, found = reranker.score_held(query, held), reranker.score_held(query, many)
        np.testing.assert_allclose(found, wanted, atol=1e-5 if device == "cpu" else 1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_few_lengths_are_kept_and_all_are_scored(tmp_path, device):
    parts = open_parts(tmp_path, "bert", device)
    with torch.inference_mode():
        held = parts.backbone.document_keys(pack(parts, "", DOCUMENTS))
        queries = HeldQueries(parts.backbone, held, parts.prompts.sizes.query)
        lengths = [1, 2, 1, *range(3, LENGTHS + 2), 2]
        for length in lengths:
            layout = pack(parts, " ".join(["a"] * length))
            wanted = parts.backbone.with_held(layout, held)
            torch.testing.assert_close(queries(layout), wanted, rtol=0, atol=1e-4)
    frame = pack(parts, "").tokens
    kept = [tokens - frame for _, tokens, _ in queries._forwards]
    assert kept == lengths[3:]


def test_threads_may_ask_at_once(tmp_path):
    parts = open_parts(tmp_path, "llama", "cpu")
    reranker = BlockReranker(parts)
    held = reranker.document_keys(DOCUMENTS)
    many = reranker.hold(held)
    wanted = [reranker.score_held(query, held) for query in QUERIES]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda query: reranker.score_held(query, many), QUERIES * 5))
    for one, other in zip(found, wanted * 5, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_query_without_room_is_refused(tmp_path):
    parts = open_parts(tmp_path, "llama", "cpu")
    with torch.inference_mode():
        held = parts.backbone.document_keys(pack(parts, "", DOCUMENTS))
    queries = HeldQueries(parts.backbone, held, 1)
    with pytest.raises(InputError, match=f"at most {STEP} tokens, found "):
        queries(pack(parts, " ".join([QUERY] * 3)))


def test_a_block_is_filled_up_after_its_signals():
    block_bounds, signals = np.array([0, 5, 24], np.int32), np.array([[22, 24]], np.int32)
    ids = np.arange(1, 25, dtype=np.int64)
    lists, answers = np.array([0, 2], np.int32), np.array([[24, 24]], np.int32)
    layout = filled_up(BlockLayout(ids, ids + 100, block_bounds, lists, signals, answers))
    assert layout.bounds.tolist() == [0, 5, 5 + 2 * STEP]
    assert layout.ids.tolist() == [*range(1, 25), *[0] * 13]
    assert layout.positions[-1] == 124
    assert layout.signals.tolist() == [[22, 24]]
