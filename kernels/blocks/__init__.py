"""Block-sparse attention of a reranker."""
