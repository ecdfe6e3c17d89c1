"""The face of Tamis: text in, ranked passages out."""

from tamis.retriever.editor import Editor, create_index
from tamis.retriever.encoder import SparseEncoder, load_encoder, load_query_encoder
from tamis.retriever.indexing import index_corpus
from tamis.retriever.lexical import LexicalConfig
from tamis.retriever.passages import read_passages
from tamis.retriever.reranker import LazyReranker, Reranker, reranked
from tamis.retriever.searcher import Searcher
from tamis.retriever.types import Hit, MatchedTerm, Passage, SearchResult, StageTimes

__all__ = [
    "Editor",
    "Hit",
    "LazyReranker",
    "LexicalConfig",
    "MatchedTerm",
    "Passage",
    "Reranker",
    "SearchResult",
    "Searcher",
    "SparseEncoder",
    "StageTimes",
    "create_index",
    "index_corpus",
    "load_encoder",
    "load_query_encoder",
    "read_passages",
    "reranked",
]
