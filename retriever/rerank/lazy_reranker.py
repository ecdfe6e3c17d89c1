"""A reranker that is loaded when it is first needed: torch is imported then, not before."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.retriever.rerank.block_reranker import BlockReranker
    from tamis.retriever.rerank.reranker import Reranker


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
        self._model: BlockReranker | None = None

    def score(
        self, query: str, documents: Sequence[str], *, first_stage: Sequence[float] | None = None
    ) -> NDArray[np.float32]:
        """See `Reranker.score`; nothing is loaded where there is nothing to score.

        Raises:
            InputError: torch is not installed, or there is no such model.
        """
        if not len(documents):
            return np.empty(0, np.float32)
        return self.loaded().score(query, documents, first_stage=first_stage)

    def over(self, folder: Path) -> Reranker:
        """See `BlockReranker.over`; nothing is loaded yet."""
        return _LazyOver(self, folder)

    def loaded(self) -> BlockReranker:
        """The model; lists are best scored one after the other, as torch uses all threads."""
        with self._lock:
            if self._model is None:
                from tamis.retriever.models.encoder import choose_device

                device = str(choose_device(self.device))  # says so where torch is missing
                from tamis.retriever.rerank.block_reranker import BlockReranker

                self._model = BlockReranker.from_pretrained(self.name, device=device)
            return self._model


class _LazyOver:
    """A `LazyReranker` for the documents of one collection."""

    def __init__(self, lazy: LazyReranker, folder: Path) -> None:
        self._lazy, self._folder = lazy, folder
        self._bound: Reranker | None = None

    def score(
        self, query: str, documents: Sequence[str], *, first_stage: Sequence[float] | None = None
    ) -> NDArray[np.float32]:
        if not len(documents):
            return np.empty(0, np.float32)
        if self._bound is None:
            self._bound = self._lazy.loaded().over(self._folder)
        return self._bound.score(query, documents, first_stage=first_stage)
