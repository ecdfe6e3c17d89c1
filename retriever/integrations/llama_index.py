"""LlamaIndex: a retriever over an index.

>>> from tamis.retriever.integrations.llama_index import TamisRetriever  # doctest: +SKIP
>>> TamisRetriever.open("planets", k=4).retrieve("Which planet is red?")  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

try:
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import NodeWithScore, TextNode
except ImportError as error:
    raise ImportError(
        "expected llama-index-core, found none; install it with: pip install 'tamis[llama-index]'"
    ) from error

from tamis.retriever.integrations.found import check_options, hits_of, stored_fields, text_of
from tamis.retriever.searcher import Searcher

if TYPE_CHECKING:
    from pathlib import Path

    from llama_index.core.schema import QueryBundle


class TamisRetriever(BaseRetriever):
    """Gives LlamaIndex nodes with the score of the search.

    A node's metadata is its document's alone: by text and metadata LlamaIndex knows a node again.
    """

    def __init__(self, searcher: Searcher, k: int = 10, **options: Any) -> None:  # noqa: ANN401
        """Search with a searcher.

        Args:
            searcher: of the index.
            k: how many nodes to give.
            options: further arguments of `Searcher.search`, such as ``filter`` or ``recall``.

        Raises:
            InputError: no such option is there.
        """
        check_options(options)
        self._searcher, self._k, self._options = searcher, k, options
        super().__init__()

    @staticmethod
    def open(path: str | Path, k: int = 10, **options: Any) -> TamisRetriever:  # noqa: ANN401
        """A retriever over the index in a folder; ``options`` go to `Searcher.search`."""
        return TamisRetriever(Searcher.open(path), k, **options)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [
            NodeWithScore(
                node=TextNode(id_=hit.doc_id, text=text_of(hit), metadata=stored_fields(hit)),
                score=hit.score,
            )
            for hit in hits_of(self._searcher, query_bundle.query_str, self._k, self._options)
        ]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        # LlamaIndex's own searches on the event loop
        return await asyncio.to_thread(self._retrieve, query_bundle)
