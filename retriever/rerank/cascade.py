"""Two passes over many candidates: stored keys for all of them, a full reading of the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from tamis.index.interrupts import check_for_interrupts
from tamis.retriever.rerank.attention import DocumentKeys
from tamis.retriever.rerank.readout import SHARE
from tamis.retriever.rerank.reranker import (
    Assessment,
    check_first_stage,
    with_others_below,
    with_text,
)
from tamis.retriever.rerank.stored_keys import DocumentStore
from tamis.retriever.rerank.text_store import KEYS, CurrentStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.retriever.rerank.stored_keys import KeyReranker

TEXTS_AT_ONCE = 64


@dataclass(frozen=True)
class Cascade:
    """A reranker that ranks candidates by their stored keys and reads the best of them.

    The keys of a text that the store does not hold, because it is new or has changed, are computed.

    Attributes:
        reranker: with conditioning "query"; the store was made by the same parts.
        store: keys of most candidates.
        best: how many are read; shorter lists are read whole.
    """

    reranker: KeyReranker
    store: DocumentStore
    best: int = 10

    def score(
        self, query: str, documents: Sequence[str], *, first_stage: Sequence[float] | None = None
    ) -> NDArray[np.float32]:
        """The scores ``[documents]``; see `tamis.retriever.rerank.reranker.Reranker`.

        The best of the first pass have the second's scores; the others stand below them in the
        order of the first, see `with_others_below`.

        Raises:
            InputError: first-stage scores are of another number than the documents, or not finite.
        """
        if first_stage is not None:
            check_first_stage(
                first_stage, len(documents)
            )  # those that are not read have their say, too
        texts, blank = with_text(documents)
        if len(texts) <= self.best:
            return self.reranker.score(query, documents, first_stage=first_stage)
        prior = None if first_stage is None else np.asarray(first_stage, np.float32)
        quick = self._quick(
            query, [documents[at] for at in texts], None if prior is None else prior[texts]
        )
        order = [texts[at] for at in np.argsort(-quick, kind="stable").tolist()]
        chosen = order[: self.best]
        best = self.reranker.score(
            query,
            [documents[at] for at in chosen],
            first_stage=None if prior is None else prior[chosen].tolist(),
        )
        scores = np.empty(len(documents), np.float32)
        scores[[*order, *blank]] = with_others_below(best, len(documents))
        return scores

    @torch.inference_mode()
    def _quick(
        self, query: str, documents: Sequence[str], first_stage: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        """The scores of the first pass: no stored document is read."""
        at = self.store.find(documents)
        missing = np.flatnonzero(at < 0).tolist()
        held = self._held(at[at >= 0], [documents[one] for one in missing])
        scores = np.empty(len(documents), np.float32)
        order = [*np.flatnonzero(at >= 0).tolist(), *missing]
        scores[order] = self.reranker.score_held(query, held)
        if first_stage is None:
            return scores
        readout = self.reranker.parts.settings.readouts.get("none", SHARE)
        prior = torch.from_numpy(first_stage)
        mixed: NDArray[np.float32] = readout.with_prior(torch.from_numpy(scores), prior).numpy()
        return mixed

    def _held(self, at: NDArray[np.int64], missing: Sequence[str]) -> DocumentKeys:
        """The stored keys at places of the store, then those of the missing texts."""
        pieces = []
        if len(at):
            backbone = self.reranker.parts.backbone
            pieces.append(self.store.keys(at, backbone.device, backbone.dtype))
        for start in range(0, len(missing), TEXTS_AT_ONCE):
            check_for_interrupts()
            pieces.append(self.reranker.document_keys(missing[start : start + TEXTS_AT_ONCE]))
        return _joined(pieces)


class OverStoredKeys:
    """A reranker for the documents of one collection, by the keys stored beside it as they are now.

    Keys may be stored, replaced and removed while this is in use.
    """

    def __init__(self, reranker: KeyReranker, collection: Path) -> None:
        """Take a reranker with conditioning "query", and the folder of the collection."""
        self._reranker = reranker
        self._current = CurrentStore(collection, KEYS, reranker.parts.fingerprint)

    def score(
        self, query: str, documents: Sequence[str], *, first_stage: Sequence[float] | None = None
    ) -> NDArray[np.float32]:
        """By `Cascade` where there are keys of this reranker; otherwise all texts are read.

        Keys of another reranker, or of another version, are left alone, with a warning.

        Raises:
            CorruptionError: the stored keys are damaged.
        """
        return self.assess(query, documents, first_stage=first_stage).scores

    def assess(
        self,
        query: str,
        documents: Sequence[str],
        *,
        first_stage: Sequence[float] | None = None,
        explain: bool = False,
    ) -> Assessment:
        """See `AssessingReranker.assess`; a score has no parts."""
        store = self._current.opened()
        if store is None:
            return Assessment(self._reranker.score(query, documents, first_stage=first_stage))
        cascade = Cascade(self._reranker, DocumentStore(store))
        scores = cascade.score(query, documents, first_stage=first_stage)
        return Assessment(scores, not_stored=store.missing(documents))


def _joined(pieces: Sequence[DocumentKeys]) -> DocumentKeys:
    """The documents of several pieces, one piece after the other."""
    lengths = np.concatenate([np.diff(piece.bounds) for piece in pieces])
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    layers: dict[int, tuple[torch.Tensor, torch.Tensor | None]] = {}
    for layer in pieces[0].layers:
        keys = torch.cat([piece.layers[layer][0] for piece in pieces])
        values = [value for piece in pieces if (value := piece.layers[layer][1]) is not None]
        layers[layer] = keys, torch.cat(values) if values else None
    return DocumentKeys(bounds, layers, np.concatenate([piece.blank for piece in pieces]))
