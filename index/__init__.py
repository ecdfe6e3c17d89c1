"""Everything on disk, and search over it: vectors and bytes, no models."""

from tamis.index.collection import Collection
from tamis.index.errors import (
    CorruptionError,
    FormatError,
    InputError,
    LockedError,
    MismatchError,
    TamisError,
)
from tamis.index.index import Index, IndexConfig, SearchParams
from tamis.index.topk import TopK
from tamis.index.vectors import SparseVectors

__all__ = [
    "Collection",
    "CorruptionError",
    "FormatError",
    "Index",
    "IndexConfig",
    "InputError",
    "LockedError",
    "MismatchError",
    "SearchParams",
    "SparseVectors",
    "TamisError",
    "TopK",
]
