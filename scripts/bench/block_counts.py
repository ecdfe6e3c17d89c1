"""`python -m tamis.scripts.bench.block_counts DIR`: how many blocks a search has to open.

Counts, not times, over a composed collection of a folder of `tamis bench vectors`. Documents are in
the order of `order_documents`, in blocks of 8 to 1,024. For each size: the entries of summaries a
document; the blocks whose bound reaches the k-th score, which an exact search must open; and how
many of the best blocks by bound hold 0.95 and 0.99 of all results.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path  # noqa: TC003  typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from tamis.index import Index, SparseVectors
from tamis.index.segment.blocks import order_documents
from tamis.scripts.bench.composed import composed
from tamis.scripts.bench.made_vectors import (
    SEED,
    is_whole,
    open_vectors,
    read_recipe,
    read_world,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SIZES = (8, 16, 64, 256, 512, 1024)
SHARES = (0.95, 0.99)


def count_blocks(
    documents: SparseVectors, kinds: dict[str, SparseVectors], k: int
) -> Iterator[dict[str, Any]]:
    """One row for each size of blocks and kind of queries.

    Args:
        documents: the collection.
        kinds: queries by their kind.
        k: results.
    """
    with tempfile.TemporaryDirectory() as folder:
        index = Index.build(f"{folder}/index", documents)
        order = order_documents(index.parts[0].stored.segment.records, documents.vocab_size)
        truths = {kind: index.search(queries, k, exact=True) for kind, queries in kinds.items()}
    place = np.empty(len(documents), np.int64)
    place[order] = np.arange(len(documents))
    for size in SIZES:
        blocks = -(-len(documents) // size)
        summaries = _summaries(documents, place // size)
        for kind, queries in kinds.items():
            top, safe, ranks = truths[kind], [], []
            for row in range(len(queries)):
                bounds = _bounds(summaries, *queries.row(row), blocks)
                rank = np.empty(blocks, np.int64)
                rank[np.argsort(-bounds, kind="stable")] = np.arange(1, blocks + 1)
                best = top.docs[row][top.docs[row] >= 0]
                ranks.append(rank[place[best] // size])
                safe.append(int((bounds >= top.scores[row].min()).sum()))
            needed = np.quantile(np.concatenate(ranks), SHARES).astype(int).tolist()
            yield {
                "documents": len(documents),
                "size": size,
                "kind": kind,
                "k": k,
                "entries_a_document": round(summaries[1].size / len(documents), 1),
                "blocks": blocks,
                "exact": round(float(np.mean(safe))),
                **{f"for_{share}": count for share, count in zip(SHARES, needed, strict=True)},
            }


Summaries = tuple["NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.float32]"]


def _summaries(documents: SparseVectors, block_of: NDArray[np.int64]) -> Summaries:
    """Where each term's blocks begin, the blocks, and the largest weight in each."""
    rows = np.repeat(block_of, np.diff(documents.offsets))
    order = np.lexsort((-documents.weights, rows, documents.terms))
    terms, rows = documents.terms[order], rows[order]
    first = np.ones(terms.size, np.bool_)
    first[1:] = (terms[1:] != terms[:-1]) | (rows[1:] != rows[:-1])
    starts = np.searchsorted(terms[first], np.arange(documents.vocab_size + 1))
    return starts, rows[first], documents.weights[order][first]


def _bounds(
    summaries: Summaries, terms: NDArray[np.int32], weights: NDArray[np.float32], blocks: int
) -> NDArray[np.float64]:
    """The most that a document of each block may score: ``[blocks]``."""
    starts, rows, largest = summaries
    bounds = np.zeros(blocks)
    for term, weight in zip(terms.tolist(), weights.tolist(), strict=True):
        span = slice(starts[term], starts[term + 1])
        bounds[rows[span]] += weight * largest[span].astype(np.float64)
    return bounds * (1 + 1e-6)  # a score is rounded to single precision


def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR")],
    documents: int = 250_000,
    queries: int = 60,
    k: int = 10,
) -> None:
    """Print the counts of a composed collection, a JSON object a line."""
    made = composed(read_world(folder), documents, read_recipe(folder), SEED)
    collection = SparseVectors.concatenate(list(made))
    asked = {
        kind: open_vectors(folder / kind).rows(0, queries)
        for kind in ("short", "long")
        if is_whole(folder / kind)
    }
    for row in count_blocks(collection, asked, k):
        typer.echo(json.dumps(row))


if __name__ == "__main__":
    typer.run(main)
