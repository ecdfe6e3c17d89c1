"""In-context listwise reranking with block-sparse attention."""
