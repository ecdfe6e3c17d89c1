"""``tamis search --batch``: many queries at once, and their rankings as a run of TREC."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from tamis.eval.rankings import Rankings
from tamis.eval.run import Run
from tamis.retriever.corpus.queries import read_queries

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.retriever.search_options import SearchOptions
    from tamis.retriever.searcher import Searcher


def search_batch(
    searcher: Searcher, queries: Path, out: Path, options: SearchOptions, device: str
) -> str:
    """Search for every query of a file and write the run.

    Args:
        searcher: of the collection.
        queries: as `read_queries` takes them.
        out: the run's file.
        options: as `Rankings.rank` takes them, and ``lexical_weight``.
        device: as `Rankings` takes it.

    Returns:
        A line that tells how many there were, and what of them found nothing.

    Raises:
        InputError: a file cannot be read or written, or as `Rankings.rank`.
    """
    asked = read_queries(queries)
    ranker, began = Rankings(searcher.collection, device), perf_counter()
    encoded = searcher.read(list(asked.values()), options.lexical_weight)
    rankings = ranker.rank(encoded.vectors, options)
    seconds = perf_counter() - began
    Run(dict(zip(asked, rankings, strict=True))).write(out)
    told = [
        f"{len(asked):,} queries in {seconds:.1f} s ({len(asked) / seconds:,.0f}/s)",
        f"{sum(map(len, rankings)):,} hits in {out}",
    ]
    counts = {
        "found nothing": sum(not ranking for ranking in rankings),
        "had words that no document has": sum(map(bool, encoded.unknown_terms)),
        "had too many terms, and lost the lightest": int((encoded.terms_cut > 0).sum()),
    }
    return "; ".join(told + [f"{count:,} {what}" for what, count in counts.items() if count])
