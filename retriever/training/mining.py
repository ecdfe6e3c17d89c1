"""Hard negatives: what the student, BM25 and a dense teacher rank high though it does not answer.

The student and BM25 are asked through indexes of Tamis, the dense teacher through faiss.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tamis.index.errors import InputError
from tamis.index.index import Index
from tamis.index.vectors import SparseVectors
from tamis.retriever.training.batches import Hard
from tamis.retriever.training.device_rows import Ragged
from tamis.retriever.training.regularisers import keep_heaviest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from tamis.retriever.training.config import MiningConfig, TrainingConfig
    from tamis.retriever.training.data.training_data import Listed, Pairs
    from tamis.retriever.training.student import Student
    from tamis.retriever.training.teachers import DenseTeacher
    from tamis.retriever.training.training_set import TrainingSet

CHUNK = 256  # texts whose weights are dense at a time
HARD = ("queries", "homes", "offsets", "candidates")
MOST_TERMS = 200  # of a text in the student's index


class Homes:
    """Queries that negatives are wanted for, and the passage that each stands by.

    Attributes:
        queries: [H] int64, rising.
        passages: [H] int64, the first judged passage, or what the best candidate made of it.
    """

    def __init__(self, pairs: Pairs, listed: Listed) -> None:
        """Take the queries with a judged passage, and those with candidates."""
        kept = pairs.judged | np.isin(pairs.queries, listed.queries)
        order = np.flatnonzero(kept)
        order = order[np.argsort(~pairs.judged[order], kind="stable")]  # judged ones first
        queries, first = np.unique(pairs.queries[order], return_index=True)
        self.queries: NDArray[np.int64] = queries.astype(np.int64)
        self.passages: NDArray[np.int64] = pairs.passages[order][first].astype(np.int64)
        self._answers = _keys(pairs.queries[pairs.judged], pairs.passages[pairs.judged])

    def without_answers(self, found: NDArray[np.int64]) -> NDArray[np.int64]:
        """Passages [H, depth] with what answers the query, and its home, replaced by -1."""
        keys = _keys(np.broadcast_to(self.queries[:, None], found.shape), found)
        answers = np.isin(keys, self._answers) | (found == self.passages[:, None])
        return np.where(answers, -1, found)

    def without_false_negatives(
        self, found: NDArray[np.int64], teacher: DenseTeacher, margin: float
    ) -> NDArray[np.int64]:
        """Passages [H, depth] with what scores above ``margin`` of the home replaced by -1.

        Moreira et al., NV-Retriever (arXiv 2407.15831), there called TopK-PercPos.
        """
        device = teacher.passages.device
        parts = []
        for start in range(0, len(found), CHUNK):
            rows = slice(start, start + CHUNK)
            asked = teacher.queries[torch.from_numpy(self.queries[rows]).to(device)].float()
            with_home = np.concatenate([self.passages[rows, None], found[rows].clip(min=0)], 1)
            held = teacher.passages[torch.from_numpy(with_home).to(device)].float()
            scores = (held * asked[:, None, :]).sum(2)
            parts.append((scores[:, 1:] > margin * scores[:, :1]).cpu().numpy())
        return np.where(np.concatenate(parts), -1, found) if parts else found

    def groups(self, found: list[NDArray[np.int64]], device: torch.device) -> Hard:
        """Hard negatives out of passages [H, any], -1 for none, each once a query."""
        both = np.sort(np.concatenate(found, 1), 1)
        new = both >= 0
        new[:, 1:] &= both[:, 1:] != both[:, :-1]
        offsets = np.concatenate([[0], np.cumsum(new.sum(1))])
        candidates = (torch.from_numpy(part).to(device) for part in (offsets, both[new]))
        queries, homes = (
            torch.from_numpy(part).to(device) for part in (self.queries, self.passages)
        )
        return Hard(queries, homes, Ragged(*candidates))

    def listed(self, listed: Listed) -> NDArray[np.int64]:
        """The candidates of each query that came with the sources, [H, most], -1 for none."""
        at = np.searchsorted(self.queries, listed.queries)
        first = np.searchsorted(listed.queries, listed.queries)
        column = np.arange(len(at)) - first
        out = np.full((len(self.queries), int(column.max(initial=-1)) + 1), -1, np.int64)
        out[at, column] = listed.passages
        return out


def search_index(queries: SparseVectors, passages: SparseVectors, depth: int) -> NDArray[np.int64]:
    """The best passages of each query by an index of Tamis, ``[queries, depth]``, -1 for none."""
    with tempfile.TemporaryDirectory() as folder:
        index = Index.build(f"{folder}/index", passages)
        return index.search(queries, min(depth, len(index))).docs.astype(np.int64)


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
    if mining.bm25:
        words = data.words.scorer
        yield search_index(words.queries.take(rows), words.passages, depth)
    if mining.dense and teacher is not None:
        queries, passages = (one.float().cpu().numpy() for one in teacher.embeddings)
        yield search_dense(queries[rows], passages, depth)
    if mining.student:
        order = data.passages.offsets.diff().argsort()  # so that little is padded
        chosen = torch.from_numpy(rows).to(order.device)
        asked = sparse_vectors(lambda some: student.queries(data.queries, some), chosen)
        held = sparse_vectors(lambda some: student.passages(data.passages, some), order)
        yield search_index(asked, held.take(order.argsort().cpu().numpy()), depth)


def flatten(hard: Hard) -> list[torch.Tensor]:
    """Its tensors, in the order of `HARD`."""
    return [hard.queries, hard.homes, *hard.candidates]


def unflatten(parts: list[torch.Tensor]) -> Hard:
    """What `flatten` took apart."""
    queries, homes, offsets, values = parts
    return Hard(queries, homes, Ragged(offsets, values))


def _keys(queries: Any, passages: Any) -> NDArray[np.int64]:  # noqa: ANN401  arrays of integers
    return (np.asarray(queries, np.int64) << 32) + np.asarray(passages, np.int64)
