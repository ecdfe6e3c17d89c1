"""Several rankings made one: of one query by several systems, or of several indexes."""

from tamis.retriever.fusion.rankings import min_max, rocchio, rrf, sparse_rocchio, weighted_sum

__all__ = ["min_max", "rocchio", "rrf", "sparse_rocchio", "weighted_sum"]
