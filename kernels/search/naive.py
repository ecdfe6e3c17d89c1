"""Exact search as one product and a sort: the truth of the tests.

Sums are float64, as in `tamis.index.reference`; only the order in which a product adds may differ.
"""

from __future__ import annotations

import torch


def search(
    documents: torch.Tensor, queries: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k best documents of each query by dot product.

    Args:
        documents: ``[documents, V]`` sparse CSR, weights above 0.
        queries: ``[queries, V]`` dense.
        k: how many to find.

    Returns:
        Numbers ``[queries, k]`` int64, -1 where fewer matched, and scores ``[queries, k]`` float32,
        falling, 0 there; equal scores by rising number.
    """
    scores = documents.double() @ queries.double().t()  # [documents, queries]
    scores = scores.float().t()
    best = torch.full((len(queries), k), -1)
    found = scores.new_zeros(len(queries), k)
    for query, row in enumerate(scores):
        order = torch.sort(row, descending=True, stable=True).indices
        order = order[row[order] > 0][:k]
        best[query, : len(order)], found[query, : len(order)] = order, row[order]
    return best, found
