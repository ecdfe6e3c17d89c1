"""The second stage of a search, as the rest of the package sees it. Needs torch when it runs."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tamis.index.errors import CorruptionError, FormatError, MismatchError
from tamis.retriever.types import content_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.retriever.rerank.block_reranker import BlockReranker
    from tamis.retriever.rerank.cascade import Cascade
    from tamis.retriever.types import SearchResult

LOG = logging.getLogger("tamis.retriever")
KEYS_FOLDER = "rerank-keys"  # of a collection: what `DocumentStore` writes there


class Reranker(Protocol):
    """Scores the documents that a first stage found for a query."""

    def score(
        self, query: str, documents: Sequence[str], *, first_stage: Sequence[float] | None = None
    ) -> NDArray[np.float32]:
        """The scores ``[documents]``, higher for better.

        Args:
            query: its text.
            documents: their texts.
            first_stage: the scores they were found with, which a reranker may take into account.
        """


class LazyReranker:
    """A `BlockReranker` that is loaded when it is first asked; safe to share between threads.

    Attributes:
        name: ``default``, a folder, or a hub name.
        device: where it will run; None takes CUDA where there is a device.
    """

    def __init__(self, name: str = "default", device: str | None = None) -> None:
        """Remember what to load."""
        self.name, self.device = name, device
        self._lock = threading.Lock()
        self._loaded: BlockReranker | None = None
        self._cascades: dict[Path, tuple[int, Cascade | None]] = {}

    def score(
        self, query: str, documents: Sequence[str], *, first_stage: Sequence[float] | None = None
    ) -> NDArray[np.float32]:
        """See `Reranker.score`; nothing is loaded where there is nothing to score.

        Raises:
            InputError: torch is not installed, or there is no such model.
        """
        if not len(documents):
            return np.empty(0, np.float32)
        with self._lock:  # one list at a time: torch uses all threads it is given
            return self._reranker().score(query, documents, first_stage=first_stage)

    def over(self, keys: Path) -> Reranker:
        """This reranker for the documents of one collection.

        Args:
            keys: the folder of stored keys; where there is none, all texts are read.
        """
        return _OverKeys(self, keys) if keys.is_dir() else self

    def score_over(
        self,
        keys: Path,
        query: str,
        documents: Sequence[str],
        first_stage: Sequence[float] | None = None,
    ) -> NDArray[np.float32]:
        """As `score`, by the keys stored in a folder as far as they go; see `Cascade`.

        Keys of another reranker, or of another version, are left alone and a warning is logged.

        Raises:
            CorruptionError: the stored keys are damaged.
        """
        if not len(documents):
            return np.empty(0, np.float32)
        with self._lock:
            reranker: Reranker = self._cascade(keys) or self._reranker()
            return reranker.score(query, documents, first_stage=first_stage)

    def _cascade(self, keys: Path) -> Cascade | None:
        """The cascade over a folder as it is now; None where its keys cannot be used."""
        from tamis.retriever.rerank.cascade import Cascade
        from tamis.retriever.rerank.stored_keys import ABOUT, DocumentStore

        try:
            version = (keys / ABOUT).stat().st_mtime_ns
        except OSError:  # being replaced
            return None
        known = self._cascades.get(keys)
        if known is None or known[0] != version:
            reranker, cascade = self._reranker(), None
            try:
                store = DocumentStore.open(keys, reranker.parts.fingerprint)
                cascade = Cascade(reranker, store)
            except CorruptionError:
                raise
            except (FormatError, MismatchError) as error:
                LOG.warning("%s; texts are read instead", error)
            self._cascades = {path: kept for path, kept in self._cascades.items() if path.is_dir()}
            known = self._cascades[keys] = version, cascade
        return known[1]

    def _reranker(self) -> BlockReranker:
        if self._loaded is None:
            from tamis.retriever.models.encoder import choose_device

            device = str(choose_device(self.device))  # says so where torch is missing
            from tamis.retriever.rerank.block_reranker import BlockReranker

            self._loaded = BlockReranker.from_pretrained(self.name, device=device)
        return self._loaded


@dataclass(frozen=True)
class _OverKeys:
    """A lazy reranker for the documents of one collection."""

    reranker: LazyReranker
    keys: Path

    def score(
        self, query: str, documents: Sequence[str], *, first_stage: Sequence[float] | None = None
    ) -> NDArray[np.float32]:
        return self.reranker.score_over(self.keys, query, documents, first_stage)


def reranked(reranker: Reranker, query: str, found: SearchResult, k: int) -> SearchResult:
    """The k best hits of a result in the reranker's order.

    Scores become the reranker's; matched terms stay those of the first stage, and sum to its score.

    Args:
        reranker: scores the hits.
        query: the text that was searched for.
        found: the first stage's hits, all of which are scored.
        k: how many to keep.
    """
    began = perf_counter()
    texts = [content_of(hit.document) for hit in found.hits]
    first_stage = [hit.score for hit in found.hits]
    scores = reranker.score(query, texts, first_stage=first_stage)
    order = np.argsort(-scores, kind="stable")[:k].tolist()
    hits = tuple(
        replace(found.hits[at], score=float(scores[at]), rank=rank)
        for rank, at in enumerate(order, start=1)
    )
    times = replace(found.times, rerank_ms=(perf_counter() - began) * 1000)
    return replace(found, hits=hits, times=times)
