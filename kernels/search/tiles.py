"""Documents on a device: their own vectors, and inverted lists by tile.

A *tile* is a range of documents whose sums fit into the shared memory of a multiprocessor. Its
postings stand row by row; a *row* is a term that occurs. A posting is a document's place in the
tile (16 bits) and the image of its weight: the weight in 65535ths of the term's largest, rounded
up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tamis.kernels.search.loops import IMAGE_MAX, PLACE_BITS, TILE

if TYPE_CHECKING:
    from collections.abc import Iterable

TILES_AT_ONCE = 64  # sorted together while the lists are made


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """Documents as the kernels read them; all tensors on one device.

    Attributes:
        begins: ``[documents + 1]`` int64, where each document's entries begin.
        terms: ``[nnz]`` int32, rows, rising within a document.
        weights: ``[nnz]`` float32.
        rows: ``[V]`` int32, the row of a term, -1 where it does not occur.
        steps: ``[R]`` float32, the weight of one image step.
        postings: ``[nnz]`` int32, ``image << 16 | place``.
        bases: ``[T + 1]`` int64, where each tile's postings begin.
        slices: ``[T, R + 1]`` int32, where each row's begin from there.
        order: ``[T]`` int32, the tiles' numbers, far ones in turn: a few stand for all.
    """

    begins: torch.Tensor
    terms: torch.Tensor
    weights: torch.Tensor
    rows: torch.Tensor
    steps: torch.Tensor
    postings: torch.Tensor
    bases: torch.Tensor
    slices: torch.Tensor
    order: torch.Tensor

    @property
    def documents(self) -> int:
        """How many there are."""
        return len(self.begins) - 1

    @property
    def size_bytes(self) -> int:
        """Memory of the device that they take."""
        tensors = (getattr(self, name) for name in self.__slots__)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def tiles_of(
    begins: torch.Tensor, pieces: Iterable[tuple[torch.Tensor, torch.Tensor]], vocab_size: int
) -> Tiles:
    """Bring documents to a device and make their lists there.

    Args:
        begins: ``[documents + 1]`` int64 on the device, where each document's entries begin.
        pieces: the entries in order, in pieces of any size: terms int32 and weights float32.
        vocab_size: V, number of terms.
    """
    device, count = begins.device, int(begins[-1])
    terms = torch.empty(count, dtype=torch.int32, device=device)
    weights = torch.empty(count, dtype=torch.float32, device=device)
    largest = torch.zeros(vocab_size, device=device)
    at = 0
    for some, heavy in pieces:
        to = slice(at, at + len(some))
        terms[to].copy_(some, non_blocking=True)
        weights[to].copy_(heavy, non_blocking=True)
        largest.scatter_reduce_(0, terms[to].long(), weights[to], "amax")
        at += len(some)
    occurs = largest > 0
    rows = torch.where(occurs, occurs.cumsum(0) - 1, -1).to(torch.int32)
    for first in range(0, count, 1 << 26):
        part = terms[first : first + (1 << 26)]
        part.copy_(rows[part.long()])
    steps = largest[occurs] / IMAGE_MAX
    return Tiles(begins, terms, weights, rows, steps, *_lists(begins, terms, weights, steps))


def _lists(
    begins: torch.Tensor, terms: torch.Tensor, weights: torch.Tensor, steps: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Postings, bases, slices and order of `Tiles`."""
    documents, rows, device = len(begins) - 1, len(steps), begins.device
    firsts = torch.arange(0, documents, TILE, device=device)
    bases = torch.cat([begins[firsts], begins[-1:]])
    tiles = len(firsts)
    postings = torch.empty(len(terms), dtype=torch.int32, device=device)
    slices = torch.zeros(tiles, rows + 1, dtype=torch.int32, device=device)
    for tile in range(0, tiles, TILES_AT_ONCE):
        end = min(tile + TILES_AT_ONCE, tiles)
        entries = slice(int(bases[tile]), int(bases[end]))
        lengths = begins[tile * TILE : end * TILE + 1].diff()
        docs = torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths)
        keys = docs // TILE * rows + terms[entries]
        order = torch.sort(keys, stable=True).indices  # places rise within a list
        images = (weights[entries] / steps[terms[entries].long()]).ceil_().clamp_(1, IMAGE_MAX)
        packed = (images.long() << PLACE_BITS) | (docs % TILE)
        postings[entries] = packed[order].to(torch.int32)
        counts = torch.bincount(keys, minlength=(end - tile) * rows).view(end - tile, rows)
        slices[tile:end, 1:] = counts.cumsum(1)
    return postings, bases, slices, _spread(tiles).to(device)


def _spread(tiles: int) -> torch.Tensor:
    """The numbers below ``tiles`` in steps of about the golden section, as int32."""
    step = max(int(tiles * 0.618), 1)
    while torch.gcd(torch.tensor(step), torch.tensor(tiles)) > 1:
        step += 1
    return (torch.arange(tiles) * step % tiles).to(torch.int32)
