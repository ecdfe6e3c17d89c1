"""One packed batch of lists to rerank: where every block stands. Knows nothing of text or models.

A list is a prefix, its documents and a query. Blocks of all lists are laid end to end, without
padding; each kind of block starts at a fixed position of its own, so that neither the length of a
query nor the number of documents moves any token of a document.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import InputError
from tamis.kernels.blocks.ranges import Ranges, block_ranges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class BlockSizes:
    """The most tokens of each kind of block; a block's positions start after those before it.

    Attributes:
        prefix: positions 0 to ``prefix``.
        document: the positions after them.
        query: the positions after those of documents.
    """

    prefix: int = 64
    document: int = 384
    query: int = 64

    @property
    def positions(self) -> int:
        """Positions that a model must have."""
        return self.prefix + self.document + self.query


@dataclass(frozen=True, slots=True)
class Block:
    """One list as token ids.

    Attributes:
        prefix: read by every document and by the query.
        documents: each reads the prefix and itself.
        query: reads everything.
        signals: how many of the query's last tokens give the scores.
        answer: what should be said after the query; for training alone.
    """

    prefix: Sequence[int]
    documents: Sequence[Sequence[int]]
    query: Sequence[int]
    signals: int
    answer: Sequence[int] = ()


@dataclass(frozen=True, eq=False)
class BlockLayout:
    """A ragged batch of lists, packed.

    Attributes:
        ids: ``[tokens]`` int64.
        positions: ``[tokens]`` int64.
        bounds: ``[blocks + 1]`` int32, first token of each block, from 0, rising.
        lists: ``[lists + 1]`` int32, first block of each list.
        signals: ``[lists, 2]`` int32, the tokens of each list that give its scores.
        answers: ``[lists, 2]`` int32, the tokens after them, in the query's block.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    bounds: NDArray[np.int32]
    lists: NDArray[np.int32]
    signals: NDArray[np.int32]
    answers: NDArray[np.int32]

    @staticmethod
    def pack(lists: Sequence[Block], sizes: BlockSizes) -> BlockLayout:
        """Lay lists end to end.

        Raises:
            InputError: there is no list, or a block is empty or longer than its positions.
        """
        if not lists:
            raise InputError("expected at least one list to rerank, found none")
        blocks: list[Sequence[int]] = []
        starts: list[int] = []
        for one in lists:
            _check_list(one, sizes)
            blocks += [one.prefix, *one.documents, [*one.query, *one.answer]]
            starts += [0, *[sizes.prefix] * len(one.documents), sizes.prefix + sizes.document]
        lengths = np.array([len(block) for block in blocks], np.int64)
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        within = np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths)
        counts = [len(one.documents) + 2 for one in lists]
        firsts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        ends = bounds[firsts[1:]]
        asked = ends - [len(one.answer) for one in lists]
        signals = np.stack([asked - [one.signals for one in lists], asked], 1).astype(np.int32)
        return BlockLayout(
            np.concatenate([np.asarray(block, np.int64) for block in blocks]),
            within + np.repeat(starts, lengths),
            bounds,
            firsts,
            signals,
            np.stack([asked, ends], 1).astype(np.int32),
        )

    @property
    def tokens(self) -> int:
        """Tokens of all blocks."""
        return len(self.ids)

    @functools.cached_property
    def documents(self) -> NDArray[np.int32]:
        """``[lists + 1]``: first document of each list, among the documents of all."""
        return self.lists - 2 * np.arange(len(self.lists), dtype=np.int32)

    @functools.cached_property
    def segments(self) -> NDArray[np.int32]:
        """``[documents, 4]`` int32: the signal rows that score it, and its own tokens."""
        counts = np.diff(self.documents)
        inner = np.ones(len(self.bounds) - 1, bool)
        inner[self.lists[:-1]] = inner[self.lists[1:] - 1] = False
        own = np.stack([self.bounds[:-1], self.bounds[1:]], 1)[inner]
        return np.concatenate([np.repeat(self.signals, counts, 0), own], 1).astype(np.int32)

    def ranges(self, *, causal: bool, query_reads: bool, window: int | None = None) -> Ranges:
        """Which keys each token reads; made once for all layers.

        Args:
            causal: whether a token reads its block only up to itself.
            query_reads: whether the query reads the documents.
            window: how far tokens see where they see their own block alone.
        """
        key = (causal, query_reads, window)
        if key not in self._ranges:
            whole = block_ranges(self.bounds, self.lists, causal=causal, query_reads=query_reads)
            self._ranges[key] = whole if window is None else whole.within(window)
        return self._ranges[key]

    @functools.cached_property
    def _ranges(self) -> dict[tuple[bool, bool, int | None], Ranges]:
        return {}


def _check_list(one: Block, sizes: BlockSizes) -> None:
    room = sizes.query - len(one.answer)
    kinds = (("prefix", [one.prefix], sizes.prefix), ("query", [one.query], room))
    for name, blocks, most in (*kinds, ("document", one.documents, sizes.document)):
        for block in blocks:
            if not 0 < len(block) <= most:
                raise InputError(
                    f"expected a {name} of 1 to {most} tokens, found {len(block)}; build blocks "
                    "with PromptBuilder, which cuts them"
                )
    if not 0 < one.signals <= len(one.query):
        raise InputError(
            f"expected 1 to {len(one.query)} signal tokens, found {one.signals}; they are the last "
            "tokens of the query"
        )
