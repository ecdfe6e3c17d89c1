"""Which passages and queries meet in a batch. Every batch follows from the seed and its number.

Queries cost a look-up and passages cost everything, so a batch is a set of passages, most of them
neighbours of one another, and all the queries that stand by one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from tamis.index.errors import InputError
from tamis.retriever.training.device_rows import Flat, Ragged
from tamis.retriever.training.draws import draw_of

if TYPE_CHECKING:
    from tamis.retriever.training.config import BatchConfig
    from tamis.retriever.training.data.training_data import Pairs
    from tamis.retriever.training.teachers import DenseTeacher


class Batch(NamedTuple):
    """Row numbers of what meets in a batch, all distinct.

    passages: [P] int64, by rising length.
    queries: [Q] int64, at least one.
    judged: [Q, P] bool, the passage is judged to answer the query.
    """

    passages: torch.Tensor
    queries: torch.Tensor
    judged: torch.Tensor


class Hard(NamedTuple):
    """Hard negatives of some queries.

    queries: [H] int64.
    homes: [H] int64, a passage that each stands by.
    candidates: [H] rows of passages that it does not.
    """

    queries: torch.Tensor
    homes: torch.Tensor
    candidates: Ragged


class Batches:
    """All batches of a training, by number.

    Attributes:
        hard: negatives to make groups of in place of clusters; None where there are none.
    """

    def __init__(
        self,
        pairs: Pairs,
        lengths: torch.Tensor,
        teacher: DenseTeacher | None,
        config: BatchConfig,
        seed: int,
    ) -> None:
        """Index the pairs.

        Args:
            pairs: queries by their passages.
            lengths: [passages] tokens of each passage, on the device of training.
            teacher: finds neighbours; None draws passages at random.
            config: sizes.
            seed: of all batches.

        Raises:
            InputError: there are fewer passages than a batch needs.
        """
        if len(lengths) < config.passages:
            raise InputError(
                f"expected at least batch.passages = {config.passages} distinct passages, found "
                f"{len(lengths)}; add sources or set batch.passages lower"
            )
        device = lengths.device
        self._lengths, self._teacher = lengths, teacher
        self._config, self._seed = config, seed
        self.hard: Hard | None = None
        order = pairs.passages.argsort(kind="stable")
        passages = torch.from_numpy(pairs.passages[order]).long().to(device)
        bounds = torch.searchsorted(passages, torch.arange(len(lengths) + 1, device=device))
        queries = torch.from_numpy(pairs.queries[order]).long().to(device)
        self._judged = torch.from_numpy(pairs.judged[order]).to(device)
        self._by_passage = Ragged(bounds, queries)
        self._anchors = torch.unique(passages[self._judged])
        self._query_slot = torch.full((int(queries.max()) + 1,), -1, device=device)

    def batch(self, number: int) -> Batch:
        """The batch of a step; the same for the same number."""
        draw = draw_of(self._seed, number)
        while True:
            passages = self._passages(draw)
            flat = self._by_passage.flat(passages)
            found = torch.unique(self._by_passage.values[flat.entry])
            if len(found):
                break
        most = torch.randperm(len(found), generator=draw)[: self._config.queries]
        queries = found[most.to(found.device)]
        return Batch(passages, queries, self._judgements(queries, len(passages), flat))

    def _passages(self, draw: torch.Generator) -> torch.Tensor:
        """Neighbourhoods and random passages, distinct, by rising length."""
        total, device = len(self._lengths), self._lengths.device
        wanted = self._config.passages
        near = self._near(draw, wanted - round(wanted * self._config.random_share))
        spare = torch.randint(total, (wanted * 2,), generator=draw).to(device)
        drawn = torch.cat([near, spare])
        first = torch.full((total,), len(drawn), device=device)
        position = torch.arange(len(drawn), device=device)
        first.scatter_reduce_(0, drawn, position, "amin")
        passages = drawn[first[drawn] == position][:wanted]
        if len(passages) < wanted:  # a corpus hardly larger than the batch
            passages = torch.randperm(total, generator=draw)[:wanted].to(device)
        return passages[self._lengths[passages].argsort(stable=True)]

    def _near(self, draw: torch.Generator, wanted: int) -> torch.Tensor:
        """Passages that are hard to tell apart."""
        if self._config.negatives and self.hard is not None and len(self.hard.candidates.values):
            return hard_groups(self.hard, self._config.negatives, wanted, draw)
        return self._neighbourhoods(draw, wanted)

    def _neighbourhoods(self, draw: torch.Generator, wanted: int) -> torch.Tensor:
        size, device = self._config.cluster, self._lengths.device
        if self._teacher is None or size == 0 or wanted == 0:
            return torch.empty(0, dtype=torch.int64, device=device)
        count = -(-wanted // size)
        anchors = torch.randint(len(self._lengths), (count,), generator=draw).to(device)
        if len(self._anchors):
            judged = torch.randint(len(self._anchors), (count,), generator=draw).to(device)
            lucky = (torch.rand(count, generator=draw) < self._config.judged_share).to(device)
            anchors = torch.where(lucky, self._anchors[judged], anchors)
        size = min(size, len(self._lengths))
        return self._teacher.neighbours(anchors, size).flatten()[:wanted]

    def _judgements(self, queries: torch.Tensor, passages: int, flat: Flat) -> torch.Tensor:
        row, entry = flat
        self._query_slot[queries] = torch.arange(len(queries), device=queries.device)
        slot = self._query_slot[self._by_passage.values[entry]]
        kept = (slot >= 0) & self._judged[entry]
        judged = torch.zeros(len(queries), passages, dtype=torch.bool, device=queries.device)
        judged[slot[kept], row[kept]] = True
        self._query_slot[queries] = -1
        return judged


def hard_groups(hard: Hard, negatives: int, wanted: int, draw: torch.Generator) -> torch.Tensor:
    """Passages [wanted] of queries drawn at random: each one's home, then its drawn negatives."""
    homes, candidates = hard.homes, hard.candidates
    count = -(-wanted // (1 + negatives))
    rows = torch.randint(len(homes), (count,), generator=draw).to(homes.device)
    share = torch.rand(count, negatives, generator=draw).to(homes.device)
    lengths = candidates.lengths(rows)[:, None]
    entry = candidates.offsets[rows][:, None] + (share * lengths).long()
    drawn = candidates.values[entry.clamp(max=len(candidates.values) - 1)]
    drawn = torch.where(lengths > 0, drawn, homes[rows][:, None])
    return torch.cat([homes[rows][:, None], drawn], 1).flatten()[:wanted]
