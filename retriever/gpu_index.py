"""An index on GPUs: exact search of many queries at once, for evaluation and mining.

Documents and scores are those of an exact search by `tamis.index.Index`, bit by bit. An index that
does not fit on the cards is brought there in pieces, at each search again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tamis.index.errors import InputError
from tamis.index.generations.parts import best_of, local
from tamis.index.index import MAX_K, check_queries
from tamis.index.segment.quantize import DROPPED_BITS, IMPACT_TYPES, LIFT
from tamis.index.topk import TopK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.index.generations.parts import Part
    from tamis.index.index import Index
    from tamis.index.vectors import SparseVectors
    from tamis.kernels.search.ops import TileSearch

ENTRIES_AT_ONCE = 1 << 24  # copied to a card together
BYTES_AN_ENTRY = 12  # a term, a weight and a posting
BYTES_BESIDE = 3 << 30  # of a card's memory, for making lists and for a batch of queries


@dataclass(frozen=True, slots=True)
class Piece:
    """Some documents of one part of an index, and the device that they belong to."""

    part: Part
    first: int
    last: int
    device: torch.device

    @property
    def entries(self) -> int:
        """Weights of its documents."""
        begins = self.part.stored.segment.records.starts
        return int(begins[self.last] - begins[self.first])

    def load(self) -> TileSearch:
        """Bring the documents to the device and make their lists."""
        from tamis.kernels.search.ops import TileSearch
        from tamis.kernels.search.tiles import tiles_of

        segment = self.part.stored.segment
        begins = np.array(segment.records.starts[self.first : self.last + 1])
        begins -= begins[0]
        on_device = torch.from_numpy(begins).to(self.device)
        return TileSearch(tiles_of(on_device, self._entries(), segment.vocab_size))

    def _entries(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The documents' terms and weights, copied packed as they lie and taken apart there."""
        starts, entries, scales = self.part.stored.segment.records
        steps = torch.from_numpy(np.array(scales)).to(self.device)
        width = entries.dtype["term"].itemsize
        for first in range(int(starts[self.first]), int(starts[self.last]), ENTRIES_AT_ONCE):
            last = min(first + ENTRIES_AT_ONCE, int(starts[self.last]))
            raw = np.array(entries[first:last]).view(np.uint8).reshape(last - first, -1)
            packed = torch.from_numpy(raw).to(self.device)
            terms = _numbers(packed[:, :width])
            impacts = packed[:, width:].contiguous()
            if impacts.shape[1] == 4:
                yield terms, impacts.view(torch.float32)[:, 0]
            elif entries.dtype["impact"] == IMPACT_TYPES["f16"]:
                yield terms, (_short_floats(impacts) * steps[terms.long()]).float()
            else:
                yield terms, _numbers(impacts) * steps[terms.long()]


def _numbers(packed: torch.Tensor) -> torch.Tensor:
    """Little-endian unsigned numbers ``[n, bytes]`` uint8 as ``[n]`` int32."""
    found = packed[:, 0].int()
    for place in range(1, packed.shape[1]):
        found |= packed[:, place].int() << (8 * place)
    return found


def _short_floats(packed: torch.Tensor) -> torch.Tensor:
    """Floats of 16 bits ``[n, 2]`` uint8 as ``[n]`` float64: see `tamis.index.segment.quantize`."""
    return (_numbers(packed).long() << DROPPED_BITS).view(torch.float64) * LIFT


class GpuIndex:
    """Searches one generation of an index exactly, on one GPU or several."""

    def __init__(
        self, index: Index, pieces: Sequence[Piece], searches: Sequence[TileSearch] | None
    ) -> None:
        self._index = index
        self._pieces = tuple(pieces)
        self._searches = searches  # of each piece; None where they are brought at each search

    @staticmethod
    def from_index(index: Index, devices: Sequence[str] = ("cuda",)) -> GpuIndex:
        """Bring an index to GPUs: whole, or in pieces at each search where it does not fit.

        Args:
            index: stays open as long as this is used.
            devices: the cards; documents are divided between them.

        Raises:
            InputError: a device is no GPU of this machine, or has no room for one document.
        """
        cards = [_card(name) for name in devices]
        room = min(_free_bytes(card) for card in cards) - BYTES_BESIDE
        pieces = list(_pieces(index, cards, room))
        needed = dict.fromkeys(cards, 0)
        for piece in pieces:
            needed[piece.device] += _bytes_of(piece)
        resident = all(size <= room for size in needed.values())
        return GpuIndex(index, pieces, [piece.load() for piece in pieces] if resident else None)

    @property
    def resident(self) -> bool:
        """Whether the documents stay on the cards between searches."""
        return self._searches is not None

    def search(
        self, queries: SparseVectors, k: int = 10, *, where: Mapping[str, Any] | None = None
    ) -> TopK:
        """The k best documents of each query by dot product, precisely.

        Args:
            queries: over the index's vocabulary.
            k: 1 to 10,000.
            where: a filter over declared columns, see `tamis.index.segment.filters`.

        Raises:
            InputError: k is out of range, a query has too many terms, or the filter is faulty.
            MismatchError: the queries use another vocabulary.
        """
        if not 1 <= k <= MAX_K:
            raise InputError(f"expected k from 1 to {MAX_K}, found {k}; ask for fewer results")
        check_queries(queries, self._index.vocab_size)
        cards = list(dict.fromkeys(piece.device for piece in self._pieces))
        allowed = {
            part.first: part.allowed(where, self._index.columns) for part in self._index.parts
        }

        def on(card: torch.device) -> list[tuple[int, TopK]]:
            numbers = [n for n, piece in enumerate(self._pieces) if piece.device == card]
            return [self._search_piece(n, queries, k, allowed) for n in numbers]

        if len(cards) > 1:
            with ThreadPoolExecutor(len(cards)) as pool:
                found = [one for several in pool.map(on, cards) for one in several]
        else:
            found = [one for card in cards for one in on(card)]
        return best_of(sorted(found, key=lambda pair: pair[0]), len(queries), k)

    def _search_piece(
        self,
        number: int,
        queries: SparseVectors,
        k: int,
        allowed: Mapping[int, NDArray[np.bool_] | None],
    ) -> tuple[int, TopK]:
        from tamis.kernels.search.ops import Queries

        piece = self._pieces[number]
        search = piece.load() if self._searches is None else self._searches[number]
        permitted = allowed[piece.part.first]
        if permitted is not None:
            permitted = permitted[piece.first : piece.last]
        local = piece.part.local(queries)
        best = search.search(Queries(local.offsets, local.terms, local.weights), k, permitted)
        return piece.part.first + piece.first, TopK(*best)


def _card(name: str) -> torch.device:
    device = torch.device(name)
    count = torch.cuda.device_count()
    if device.type != "cuda" or (device.index or 0) >= count:
        raise InputError(
            f"expected one of this machine's {count} CUDA GPUs, found {name!r}; "
            "search the index itself where there is none"
        )
    return device


def _free_bytes(card: torch.device) -> int:
    return int(torch.cuda.mem_get_info(card)[0])


def _pieces(index: Index, cards: Sequence[torch.device], room: int) -> Iterator[Piece]:
    """Every part of the index, divided between the cards and so that each piece has room."""
    most = max(room, 0) // (2 * BYTES_AN_ENTRY)
    for part in index.parts:
        begins = part.stored.segment.records.starts
        bounds = _shares(begins, len(cards))
        for card, (first, end) in zip(cards, pairwise(bounds), strict=True):
            while first < end:
                last = int(np.searchsorted(begins, begins[first] + most, "right")) - 1
                if last <= first:
                    raise InputError(
                        f"expected {BYTES_BESIDE >> 30} GiB of free memory and room for a document "
                        f"on {card}, found {(room + BYTES_BESIDE) / 2**30:.1f} GiB; free some, or "
                        "search the index itself"
                    )
                yield Piece(part, first, min(last, end), card)
                first = last


def _shares(begins: NDArray[np.int64], cards: int) -> list[int]:
    """Where each card's documents begin, and the end: of about as many entries each."""
    marks = [int(begins[-1]) * card // cards for card in range(cards)]
    return [*np.searchsorted(begins[:-1], marks).tolist(), len(begins) - 1]


def _bytes_of(piece: Piece) -> int:
    from tamis.kernels.search.loops import TILE

    rows = piece.part.stored.segment.vocab_size + 1
    documents = piece.last - piece.first
    return piece.entries * BYTES_AN_ENTRY + documents * 8 + -(-documents // TILE) * rows * 4


def search_vectors(
    queries: SparseVectors, documents: SparseVectors, k: int, device: torch.device
) -> TopK:
    """The k best documents of each query, precisely, of vectors that no index holds.

    Args:
        queries: over the documents' vocabulary.
        documents: have to fit on the card, with 12 bytes a weight.
        k: at least 1.
        device: a GPU.
    """
    from tamis.kernels.search.ops import Queries, TileSearch
    from tamis.kernels.search.tiles import tiles_of

    if documents.vocab_size > documents.nnz:  # room is to go with the terms that are there
        used, places = np.unique(documents.terms, return_inverse=True)
        queries = local(queries, used, used.size)
        documents = documents.renumbered(places.astype(np.int32), used.size)
    begins, terms, weights = (
        torch.from_numpy(np.array(part))
        for part in (documents.offsets, documents.terms, documents.weights)
    )
    tiles = tiles_of(begins.to(device), [(terms, weights)], documents.vocab_size)
    asked = Queries(queries.offsets, queries.terms, queries.weights)
    return TopK(*TileSearch(tiles).search(asked, k))
