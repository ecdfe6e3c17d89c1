"""LangChain: a retriever over an index.

>>> from tamis.retriever.integrations.langchain import TamisRetriever  # doctest: +SKIP
>>> TamisRetriever.open("planets", k=4).invoke("Which planet is red?")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

try:
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
except ImportError as error:
    raise ImportError(
        "expected langchain-core, found none; install it with: pip install 'tamis[langchain]'"
    ) from error
from pydantic import ConfigDict, Field, InstanceOf

from tamis.retriever.integrations.found import hits_of, metadata_of, text_of
from tamis.retriever.searcher import Searcher

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_core.callbacks import CallbackManagerForRetrieverRun


class TamisRetriever(BaseRetriever):
    """Gives LangChain documents: the text, and all else in ``metadata``.

    Attributes:
        searcher: of the index.
        k: how many documents to give.
        options: further arguments of `Searcher.search`, such as ``filter`` or ``recall``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    searcher: InstanceOf[Searcher]
    k: int = 10
    options: dict[str, Any] = Field(default_factory=dict)

    @staticmethod
    def open(path: "str | Path", k: int = 10, **options: Any) -> "TamisRetriever":  # noqa: ANN401
        """A retriever over the index in a folder; ``options`` go to `Searcher.search`."""
        return TamisRetriever(searcher=Searcher.open(path), k=k, options=options)

    def _get_relevant_documents(
        self, query: str, *, run_manager: "CallbackManagerForRetrieverRun"
    ) -> list[Document]:
        hits = hits_of(self.searcher, query, self.k, self.options)
        return [
            Document(page_content=text_of(hit), metadata=metadata_of(hit), id=hit.doc_id)
            for hit in hits
        ]
