"""Everything on disk, and search over it: vectors and bytes, no models."""

from tamis.index.collection import Collection
from tamis.index.errors import (
    CorruptionError,
    FormatError,
    InputError,
    LockedError,
    MismatchError,
    StoppedError,
    TamisError,
)
from tamis.index.index import Index
from tamis.index.params import IndexConfig, SearchParams
from tamis.index.segment.columns import Column
from tamis.index.topk import TopK
from tamis.index.vectors import SparseVectors
from tamis.index.writing.writer import CollectionWriter

__all__ = [
    "Collection",
    "CollectionWriter",
    "Column",
    "CorruptionError",
    "FormatError",
    "Index",
    "IndexConfig",
    "InputError",
    "LockedError",
    "MismatchError",
    "SearchParams",
    "SparseVectors",
    "StoppedError",
    "TamisError",
    "TopK",
]
