"""The face of Tamis: text in, ranked passages out."""

from typing import TYPE_CHECKING, Any

from tamis.retriever.corpus.passages import read_passages
from tamis.retriever.editor import Editor, create_index
from tamis.retriever.indexing import index_corpus
from tamis.retriever.models.encoder import SparseEncoder, load_encoder, load_query_encoder
from tamis.retriever.rerank.lazy_reranker import LazyReranker
from tamis.retriever.rerank.reranker import Reranker, reranked
from tamis.retriever.search_options import SearchOptions
from tamis.retriever.searcher import Searcher
from tamis.retriever.types import Hit, MatchedTerm, Passage, SearchResult, Seen, StageTimes
from tamis.retriever.words.lexical import LexicalConfig

if TYPE_CHECKING:
    from tamis.retriever.rerank.block_reranker import BlockReranker

__all__ = [
    "BlockReranker",
    "Editor",
    "Hit",
    "LazyReranker",
    "LexicalConfig",
    "MatchedTerm",
    "Passage",
    "Reranker",
    "SearchOptions",
    "SearchResult",
    "Searcher",
    "Seen",
    "SparseEncoder",
    "StageTimes",
    "create_index",
    "index_corpus",
    "load_encoder",
    "load_query_encoder",
    "read_passages",
    "reranked",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module's attributes are of any type
    """`BlockReranker` when it is asked for: it needs torch, and a search does not."""
    if name != "BlockReranker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tamis.retriever.rerank.block_reranker import BlockReranker

    return BlockReranker
