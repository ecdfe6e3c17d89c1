"""Surroundings: what the indexes of one data folder share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tamis.retriever.models.own_encoder import recorded_encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tamis.index.files.lock import FolderLock
    from tamis.index.files.storage import Storage
    from tamis.index.writing.background import Background
    from tamis.index.writing.build_process import BuildProcess
    from tamis.retriever.models.encoder import Encoder, QueryEncoder
    from tamis.retriever.rerank.reranker import Reranker


class MakesWay(Protocol):
    """Sees to it that one more index can be opened for writing."""

    def __call__(self, *, out_of_room: bool) -> AbstractContextManager[None]:
        """Close others where too many are open; the ``with`` block opens the one to come.

        Args:
            out_of_room: it has failed for want of room: see whether there is some.

        Raises:
            OSError: there is still no room, or all others are being written for too long.
        """


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the indexes of one data folder share.

    Attributes:
        encoder_places: where the own encoders of collections lie now, by fingerprint.
        encoder_of: the document side of a location and query side.
        reranker: the second stage of searches; None for none so far.
        builder: writes segments in a process of its own; None to write them here.
        lock: held, and covers all indexes.
        merging: whose threads merge.
        upkeep: whose threads publish and open again.
        storage_of: how to reach a folder's files.
        make_way: called before an index is opened for writing.
    """

    encoder_places: Mapping[str, str]
    encoder_of: Callable[[str, QueryEncoder], Encoder]
    reranker: Callable[[], Reranker | None]
    builder: BuildProcess | None
    lock: FolderLock
    merging: Background
    upkeep: Background
    storage_of: Callable[[Path], Storage]
    make_way: MakesWay

    def encoder_place(self, path: Path) -> str | None:
        """Where the own encoder of a folder's collection lies now; None where it lay."""
        recorded = recorded_encoder(path) if self.encoder_places else None
        return self.encoder_places.get(recorded.fingerprint) if recorded is not None else None
