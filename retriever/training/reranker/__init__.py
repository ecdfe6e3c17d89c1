"""Training a reranker."""
