"""Hard negatives: what the student, BM25 and a dense teacher rank high though it does not answer.

The student and BM25 are asked through Tamis itself, the dense teacher through faiss.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import numpy as np
import torch

from tamis.index.errors import InputError
from tamis.index.index import Index
from tamis.index.vectors import SparseVectors
from tamis.retriever.training.batches import Hard
from tamis.retriever.training.device_rows import Ragged
from tamis.retriever.training.homes import CHUNK
from tamis.retriever.training.regularisers import keep_heaviest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from tamis.retriever.training.config import MiningConfig, TrainingConfig
    from tamis.retriever.training.student import Student
    from tamis.retriever.training.training_set import TrainingSet

HARD = ("queries", "homes", "offsets", "candidates")
MOST_TERMS = 200  # of a text in the student's index


def search_sparse(
    queries: SparseVectors, passages: SparseVectors, depth: int, device: torch.device
) -> NDArray[np.int64]:
    """The best passages of each query, ``[queries, depth]``, -1 for none.

    Exact on a GPU; otherwise by an index of Tamis at its default recall.
    """
    depth = min(depth, len(passages))
    if device.type == "cuda":
        from tamis.retriever.gpu_index import search_vectors

        return search_vectors(queries, passages, depth, device).docs.astype(np.int64)
    with tempfile.TemporaryDirectory() as folder:
        index = Index.build(f"{folder}/index", passages)
        return index.search(queries, depth).docs.astype(np.int64)


def search_dense(
    queries: NDArray[np.float32], passages: NDArray[np.float32], depth: int
) -> NDArray[np.int64]:
    """The best passages of each query by inner product, ``[queries, depth]`` (faiss, exact).

    Raises:
        InputError: faiss is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            "expected faiss for mining.dense, found none; pip install 'tamis[hybrid]', or set "
            "mining.dense = false"
        ) from error
    index = faiss.IndexFlatIP(passages.shape[1])
    index.add(passages)
    found: NDArray[np.int64] = index.search(queries, min(depth, len(passages)))[1]
    return found


@torch.no_grad()
def sparse_vectors(
    encode: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor
) -> SparseVectors:
    """The heaviest terms of texts, by row number, whose dense weights ``encode`` makes."""
    parts = []
    for some in torch.split(rows, CHUNK):
        weights = keep_heaviest(encode(some), MOST_TERMS).float()
        text, terms = weights.nonzero(as_tuple=True)
        counts = torch.bincount(text, minlength=len(some)).cumsum(0)
        parts.append(
            SparseVectors(
                torch.nn.functional.pad(counts, (1, 0)).cpu().numpy(),
                terms.int().cpu().numpy(),
                weights[text, terms].cpu().numpy(),
                weights.shape[1],
            )
        )
    return SparseVectors.concatenate(parts)


def mine(config: TrainingConfig, data: TrainingSet, student: Student) -> Hard:
    """Hard negatives of every query that has a home: what came with the sources, what is found.

    Args:
        config: says who is asked, and how deep.
        data: texts and teachers.
        student: asked as it is now.

    Raises:
        InputError: faiss is needed and is not installed.
    """
    homes, mining, teacher = data.homes, config.mining, data.dense
    found = [homes.listed(data.listed)]
    for one in _asked(mining, data, student):
        kept = homes.without_answers(one[:, mining.skip :])
        if teacher is not None:
            kept = homes.without_false_negatives(kept, teacher, mining.margin)
        found.append(kept)
    return homes.groups(found, data.passages.offsets.device)


def _asked(
    mining: MiningConfig, data: TrainingSet, student: Student
) -> Iterator[NDArray[np.int64]]:
    """What each of those asked ranks first for the queries with homes, ``[H, depth]``."""
    rows, depth, teacher = data.homes.queries, mining.depth, data.dense
    if not mining.every or len(rows) == 0:
        return
    device = data.passages.offsets.device
    if mining.bm25:
        words = data.words.scorer
        yield search_sparse(words.queries.take(rows), words.passages, depth, device)
    if mining.dense and teacher is not None:
        queries, passages = (one.float().cpu().numpy() for one in teacher.embeddings)
        yield search_dense(queries[rows], passages, depth)
    if mining.student:
        order = data.passages.offsets.diff().argsort()  # so that little is padded
        chosen = torch.from_numpy(rows).to(order.device)
        asked = sparse_vectors(lambda some: student.queries(data.queries, some), chosen)
        held = sparse_vectors(lambda some: student.passages(data.passages, some), order)
        held = held.take(order.argsort().cpu().numpy())
        yield search_sparse(asked, held, depth, device)


def flatten(hard: Hard) -> list[torch.Tensor]:
    """Its tensors, in the order of `HARD`."""
    return [hard.queries, hard.homes, *hard.candidates]


def unflatten(parts: list[torch.Tensor]) -> Hard:
    """What `flatten` took apart."""
    queries, homes, offsets, values = parts
    return Hard(queries, homes, Ragged(offsets, values))
