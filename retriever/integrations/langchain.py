"""LangChain: a retriever over an index.

>>> from tamis.retriever.integrations.langchain import TamisRetriever  # doctest: +SKIP
>>> TamisRetriever.open("planets", k=4).invoke("Which planet is red?")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

try:
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import run_in_executor
except ImportError as error:
    raise ImportError(
        "expected langchain-core, found none; install it with: pip install 'tamis[langchain]'"
    ) from error
from pydantic import ConfigDict, Field, InstanceOf

from tamis.retriever.integrations.found import hits_of, metadata_of, text_of
from tamis.retriever.searcher import Searcher

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )


class TamisRetriever(BaseRetriever):
    """Gives LangChain documents: the text, and all else in ``metadata``.

    What is given with a call, such as ``invoke(query, filter=..., k=2)``, stands in place of the
    retriever's own for that call. What is no option of a search is refused by name.

    Attributes:
        searcher: of the index.
        k: how many documents to give.
        filter: which documents may be found; see `Searcher.search`.
        options: further arguments of `Searcher.search`, such as ``recall``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    searcher: InstanceOf[Searcher]
    k: int = 10
    filter: dict[str, Any] | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    @staticmethod
    def open(path: "str | Path", k: int = 10, **options: Any) -> "TamisRetriever":  # noqa: ANN401
        """A retriever over the index in a folder; ``options`` go to `Searcher.search`."""
        return TamisRetriever(searcher=Searcher.open(path), k=k, options=options)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: "CallbackManagerForRetrieverRun",
        k: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> list[Document]:
        own = {**self.options, **({"filter": self.filter} if self.filter is not None else {})}
        hits = hits_of(self.searcher, query, self.k if k is None else k, {**own, **options})
        return [
            Document(page_content=text_of(hit), metadata=metadata_of(hit), id=hit.doc_id)
            for hit in hits
        ]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: "AsyncCallbackManagerForRetrieverRun",
        k: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> list[Document]:
        # LangChain's own passes nothing on but the query
        search = self._get_relevant_documents
        found: list[Document] = await run_in_executor(
            None, search, query, run_manager=run_manager.get_sync(), k=k, **options
        )
        return found
