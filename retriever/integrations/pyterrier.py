"""PyTerrier: a transformer from queries to results; it needs no Java.

>>> from tamis.retriever.integrations.pyterrier import TamisRetriever  # doctest: +SKIP
>>> TamisRetriever.open("planets", k=100).search("Which planet is red?")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import pandas as pd
    import pyterrier as pt
except ImportError as error:
    raise ImportError(
        "expected python-terrier, found none; install it with: pip install 'tamis[pyterrier]'"
    ) from error

from tamis.index.errors import InputError
from tamis.retriever.integrations.found import check_options, text_of
from tamis.retriever.searcher import Searcher

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.retriever.types import SearchResult


TOKS = "query_toks"


class TamisRetriever(pt.Transformer):
    """Answers a frame of ``qid`` and ``query`` with ``docno``, ``score``, ``rank``, title and text.

    Where the frame has ``query_toks``, weights by term as learned encoders of PyTerrier give them,
    these are searched in place of the texts, as they are.

    Further columns of the queries are kept. Ranks begin at 0, as PyTerrier's do.
    """

    def __init__(self, searcher: Searcher, k: int = 1000, **options: Any) -> None:  # noqa: ANN401
        """Search with a searcher.

        Args:
            searcher: of the index.
            k: how many documents a query.
            options: further arguments of `Searcher.search`, such as ``exact``.

        Raises:
            InputError: no such option is there.
        """
        super().__init__()
        check_options(options)
        self.searcher, self.k, self.options = searcher, k, options

    @staticmethod
    def open(path: str | Path, k: int = 1000, **options: Any) -> TamisRetriever:  # noqa: ANN401
        """A transformer over the index in a folder; ``options`` go to `Searcher.search`."""
        return TamisRetriever(Searcher.open(path), k, **options)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """The results of all queries, query by query, best first."""
        column = TOKS if TOKS in inp.columns else "query"
        pt.validate.query_frame(inp, extra_columns=[column])
        queries = inp.to_dict(orient="records")
        asked = [_weights(query) if column == TOKS else str(query[column]) for query in queries]
        found = self.searcher.search(asked, self.k, **self.options) if asked else []
        rows = [
            {**query, **row}
            for query, result in zip(queries, found, strict=True)
            for row in _rows(result)
        ]
        columns = [*inp.columns, "docno", "score", "rank", "title", "text"]
        return pd.DataFrame(rows, columns=list(dict.fromkeys(columns)))


def _weights(query: dict[str, Any]) -> dict[str, float]:
    """The weights by term that a query is given as."""
    toks = query[TOKS]
    if not isinstance(toks, dict):
        raise InputError(
            f"expected weights by term in {TOKS} of query {query['qid']!r}, found "
            f"{str(toks)[:80]!r}; drop the column to search for the text"
        )
    return {str(term): float(weight) for term, weight in toks.items()}


def _rows(result: SearchResult) -> list[dict[str, Any]]:
    return [
        {
            "docno": hit.doc_id,
            "score": hit.score,
            "rank": rank,
            "title": hit.document.get("title", ""),
            "text": text_of(hit),
        }
        for rank, hit in enumerate(result.hits)
    ]
