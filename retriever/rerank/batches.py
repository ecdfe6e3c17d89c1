"""Lists to rerank, cut and joined to batches of a size. Knows nothing of models."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tamis.retriever.rerank.layout import Block

    Batch = list[tuple[int, Block]]  # lists, or pieces of them, by number


def batches_of(blocks: Sequence[Block], batch_tokens: int) -> Iterator[Batch]:
    """Lists by number, cut where they are longer than a batch, joined where several fit.

    Args:
        blocks: the lists; those without documents are left out.
        batch_tokens: of a batch; a document that is longer with its prefix and query stands alone.
    """
    batch: Batch = []
    room = batch_tokens
    for number, whole in enumerate(blocks):
        for block in _pieces(whole, batch_tokens):
            size = _tokens(block)
            if batch and size > room:
                yield batch
                batch, room = [], batch_tokens
            batch.append((number, block))
            room -= size
    if batch:
        yield batch


def _pieces(block: Block, most: int) -> Iterator[Block]:
    frame = len(block.prefix) + len(block.query)
    piece: list[Sequence[int]] = []
    size = frame
    for document in block.documents:
        if piece and size + len(document) > most:
            yield replace(block, documents=piece)
            piece, size = [], frame
        piece.append(document)
        size += len(document)
    if piece:
        yield replace(block, documents=piece)


def _tokens(block: Block) -> int:
    return len(block.prefix) + len(block.query) + sum(map(len, block.documents))
