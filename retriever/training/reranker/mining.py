"""Candidates for training lists: what a bi-encoder and BM25 find, with both scores."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from tamis.retriever.training.reranker.students import PackedRows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tamis.retriever.training.data.token_rows import TokenRows
    from tamis.retriever.training.reranker.students import PackedModel

K1, B = 0.9, 0.4
QUERIES_AT_ONCE = 512
TOKENS_AT_ONCE = 200_000


class Candidates(NamedTuple):
    """What was found for each query, its positive first.

    Attributes:
        passages: ``[queries, 1 + mined]`` int32; the first is the labelled one, -1 for none.
        cosine: the same shape, float32: of the bi-encoder's vectors.
        words: the same shape, float32: BM25.
    """

    passages: NDArray[np.int32]
    cosine: NDArray[np.float32]
    words: NDArray[np.float32]


@torch.inference_mode()
def vectors(model: PackedModel, rows: TokenRows, around: tuple[int, int]) -> torch.Tensor:
    """The unit vectors ``[rows, D]`` float16 of texts."""
    order = np.argsort(rows.lengths, kind="stable")
    found = torch.empty(len(rows), model.model.config.hidden_size, dtype=torch.float16)
    found = found.to(model.model.device)
    for part in _by_tokens(rows.lengths[order] + 2):
        numbers = order[part]
        texts = PackedRows.pack([[around[0], *rows.row(i).tolist(), around[1]] for i in numbers])
        found[torch.from_numpy(numbers).to(found.device)] = model.means(texts).half()
    return found


def word_weights(passages: TokenRows, vocab: int, device: torch.device) -> torch.Tensor:
    """BM25 weights of word pieces, ``[passages, vocab]`` sparse float32."""
    row = np.repeat(np.arange(len(passages)), passages.lengths)
    pairs, tf = np.unique(row * vocab + passages.ids, return_counts=True)
    doc, term = pairs // vocab, pairs % vocab
    df = np.bincount(term, minlength=vocab)
    idf = np.log1p((len(passages) - df + 0.5) / (df + 0.5))
    norm = K1 * (1 - B + B * passages.lengths[doc] / passages.lengths.mean())
    weights = (idf[term] * tf / (tf + norm)).astype(np.float32)
    offsets = np.searchsorted(doc, np.arange(len(passages) + 1))
    rows, columns, values = (torch.from_numpy(a).to(device) for a in (offsets, term, weights))
    size = (len(passages), vocab)
    with warnings.catch_warnings():  # that CSR tensors are in beta, once a process
        warnings.filterwarnings("ignore", "Sparse ", UserWarning)
        return torch.sparse_csr_tensor(rows, columns, values, size=size, check_invariants=False)


@torch.inference_mode()
def mine(
    queries: TokenRows,
    positives: NDArray[np.int64],
    passages: tuple[torch.Tensor, torch.Tensor],
    query_vectors: torch.Tensor,
    each: int,
) -> Candidates:
    """The ``each`` best passages of each query by cosine, and by BM25 among the others.

    Args:
        queries: their ids.
        positives: ``[queries, most]`` labelled passages, the one that is to be found first, -1 for
            none; never mined.
        passages: vectors ``[passages, D]`` and word weights ``[passages, vocab]``.
        query_vectors: ``[queries, D]``.
        each: how many by each of the two.
    """
    dense, words = passages
    found: list[tuple[torch.Tensor, ...]] = []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        part = np.arange(start, min(start + QUERIES_AT_ONCE, len(queries)))
        cosine = (query_vectors[part[0] : part[-1] + 1] @ dense.T).float()  # [queries, passages]
        lexical = (words @ _counts(queries, part, words.shape[1], dense.device)).T.contiguous()
        taken = torch.from_numpy(positives[part]).to(dense.device)
        at = taken[:, :1]
        for ranking in (cosine, lexical):
            best = _best(ranking, taken, each)
            taken, at = torch.cat([taken, best], 1), torch.cat([at, best], 1)
        held = at.clamp_min(0)
        parts = (at.int(), cosine.gather(1, held), lexical.gather(1, held))
        found.append(tuple(part.cpu() for part in parts))
    return Candidates(*(torch.cat(parts).numpy() for parts in zip(*found, strict=True)))


def _best(ranking: torch.Tensor, taken: torch.Tensor, count: int) -> torch.Tensor:
    """The best columns of each row beside those taken (-1 for none)."""
    best = ranking.topk(count + taken.shape[1], 1).indices
    fresh = (best[:, :, None] != taken[:, None, :]).all(2)
    order = torch.argsort((~fresh).int(), dim=1, stable=True)[:, :count]
    return best.gather(1, order)


def _counts(
    queries: TokenRows, part: NDArray[np.int64], vocab: int, device: torch.device
) -> torch.Tensor:
    """How often each word piece stands in each query, ``[vocab, queries]`` float32."""
    some = queries.take(part)
    column = np.repeat(np.arange(len(part)), some.lengths)
    found = torch.zeros(vocab, len(part), device=device)
    where = tuple(torch.from_numpy(a.astype(np.int64)).to(device) for a in (some.ids, column))
    found.index_put_(where, torch.ones((), device=device), accumulate=True)
    return found


def _by_tokens(lengths: NDArray[np.int64]) -> Iterator[slice]:
    ends = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + TOKENS_AT_ONCE, "right")))
        yield slice(start, stop)
        start = stop
