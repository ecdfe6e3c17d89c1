"""The face of Tamis: text in, ranked passages out.

A name is imported from its module when it is first asked for: who searches loads nothing that
only indexing needs, and torch is loaded by what computes with it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tamis.retriever.corpus.passages import read_passages
    from tamis.retriever.editor import Editor, create_index
    from tamis.retriever.fusion.several_indexes import search_several
    from tamis.retriever.indexing import index_corpus
    from tamis.retriever.models.encoder import SparseEncoder, load_encoder, load_query_encoder
    from tamis.retriever.rerank.block_reranker import BlockReranker
    from tamis.retriever.rerank.dense import DenseReranker
    from tamis.retriever.rerank.lazy_reranker import LazyReranker
    from tamis.retriever.rerank.reranker import Reranker, reranked
    from tamis.retriever.search_options import SearchOptions
    from tamis.retriever.searcher import Searcher
    from tamis.retriever.types import Hit, MatchedTerm, Passage, SearchResult, Seen, StageTimes
    from tamis.retriever.words.lexical import LexicalConfig

_MODULES = {  # by which names they give
    "corpus.passages": ["read_passages"],
    "editor": ["Editor", "create_index"],
    "fusion.several_indexes": ["search_several"],
    "indexing": ["index_corpus"],
    "models.encoder": ["SparseEncoder", "load_encoder", "load_query_encoder"],
    "rerank.block_reranker": ["BlockReranker"],
    "rerank.dense": ["DenseReranker"],
    "rerank.lazy_reranker": ["LazyReranker"],
    "rerank.reranker": ["Reranker", "reranked"],
    "search_options": ["SearchOptions"],
    "searcher": ["Searcher"],
    "types": ["Hit", "MatchedTerm", "Passage", "SearchResult", "Seen", "StageTimes"],
    "words.lexical": ["LexicalConfig"],
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "BlockReranker",
    "DenseReranker",
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
    "search_several",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module's attributes are of any type
    """What is named for the first time."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
