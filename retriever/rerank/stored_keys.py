"""Keys and values of documents, computed once: a query is then scored without reading any document.

Only for documents that do not read the query, and only in the layers where the query reads them:
with the bundled model the keys of the scoring layer alone. A row is int8 or int4 with one float16
scale a head, and every ``keep_every``-th token of a document is kept, counted from its last. A
stored number is at most half a step from the true one: the largest of its head over 254, or over 14
(and float16's rounding of the step); so a logit q k errs by no more than |q| times that, summed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from tamis.index.errors import InputError
from tamis.retriever.rerank.attention import DocumentKeys
from tamis.retriever.rerank.reranker import Reranker
from tamis.retriever.rerank.rounding import restored, rounded, rounded_bytes
from tamis.retriever.rerank.text_store import KEYS, TextStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.retriever.rerank.loading import LoadedReranker
    from tamis.retriever.rerank.prompt import Conditioning


class KeyReranker(Reranker, Protocol):
    """A reranker whose document keys can be stored: `BlockReranker`, as far as a store needs it."""

    parts: LoadedReranker
    conditioning: Conditioning

    def document_keys(self, documents: Sequence[str]) -> DocumentKeys:
        """See `BlockReranker.document_keys`."""

    def score_held(self, query: str, held: DocumentKeys) -> NDArray[np.float32]:
        """See `BlockReranker.score_held`."""


@dataclass(frozen=True, slots=True)
class KeyLayout:
    """How the keys of a token lie in a store.

    Attributes:
        layers: the layers that are stored, rising; the last has keys alone.
        heads: key heads.
        width: of a head.
        keep_every: one token in so many is kept.
        bits: of a stored number, 8 or 4.
    """

    layers: tuple[int, ...]
    heads: int
    width: int
    keep_every: int = 1
    bits: int = 8

    @property
    def parts(self) -> int:
        """Key and value rows a token."""
        return 2 * len(self.layers) - 1

    @property
    def row_bytes(self) -> int:
        """Bytes a token."""
        return rounded_bytes((self.parts, self.heads, self.width), self.bits)


class DocumentStore:
    """The keys in a store; safe to use from several threads.

    Attributes:
        store: what holds them.
        layout: of a token's.
    """

    def __init__(self, store: TextStore) -> None:
        """Read a store of this kind."""
        self.store = store
        stored = store.about.settings
        self.layout = KeyLayout(**stored | {"layers": tuple(stored["layers"])})

    @staticmethod
    def build(
        reranker: KeyReranker,
        texts: Iterable[str],
        folder: Path,
        *,
        budget_bytes: int,
        keep_every: int = 1,
        bits: int = 8,
    ) -> DocumentStore:
        """Compute and write the keys of documents that have text, each text once.

        A store that is there already is replaced when the new one is finished.

        Args:
            reranker: with conditioning "none".
            texts: of the documents, as they will be reranked.
            folder: of the store.
            budget_bytes: refuse to write more.
            keep_every: keep one token in so many.
            bits: of a stored number; 4 takes about half the bytes of 8, and errs 18 times as much.

        Raises:
            InputError: the reranker reads the query into documents, ``keep_every`` is below 1,
                ``bits`` is not 8 or 4, or the budget is too small.
        """
        if reranker.conditioning != "none":
            raise InputError(
                "expected a reranker whose documents do not read the query, found conditioning "
                f"{reranker.conditioning!r}; load it with conditioning='none'"
            )
        if keep_every < 1:
            raise InputError(f"expected keep_every of at least 1, found {keep_every}")
        if bits not in (4, 8):
            raise InputError(f"expected keys of 8 or 4 bits, found {bits}")
        layout = _layout(reranker.document_keys(["a"]), keep_every, bits)
        store = TextStore.build(
            folder,
            KEYS,
            reranker.parts.fingerprint,
            texts,
            lambda some: _contents(reranker.document_keys(some), layout),
            budget_bytes=budget_bytes,
            settings=asdict(layout) | {"layers": list(layout.layers)},
        )
        return DocumentStore(store)

    @staticmethod
    def open(folder: Path, fingerprint: str) -> DocumentStore:
        """Open a store for the reranker it was made by; errors as of `TextStore.open`."""
        return DocumentStore(TextStore.open(folder, KEYS, fingerprint))

    def __len__(self) -> int:
        return len(self.store)

    @property
    def rows(self) -> int:
        """Kept tokens of all documents."""
        return self.store.contents.nbytes // self.layout.row_bytes

    def find(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Where the keys of texts are ``[texts]``, for `keys`; -1 where the store has none."""
        return self.store.find(texts)

    def keys(self, at: NDArray[np.int64], device: torch.device, dtype: torch.dtype) -> DocumentKeys:
        """The keys of the documents that `find` found, in that order; at least one."""
        contents, bounds = self.store.gathered(at)
        rows = torch.from_numpy(contents).view(-1, self.layout.row_bytes).to(device)
        shape = (self.layout.parts, self.layout.heads, self.layout.width)
        parts = restored(rows, shape, self.layout.bits, dtype)
        layers: dict[int, tuple[torch.Tensor, torch.Tensor | None]] = {}
        for number, layer in enumerate(self.layout.layers):
            last = number == len(self.layout.layers) - 1
            layers[layer] = (parts[:, 2 * number], None if last else parts[:, 2 * number + 1])
        starts = (bounds // self.layout.row_bytes).astype(np.int32)
        return DocumentKeys(starts, layers, np.zeros(len(at), bool))


def _layout(held: DocumentKeys, keep_every: int, bits: int) -> KeyLayout:
    layers = tuple(sorted(held.layers))
    heads, width = held.layers[layers[0]][0].shape[1:]
    return KeyLayout(layers, heads, width, keep_every, bits)


@torch.inference_mode()
def _contents(held: DocumentKeys, layout: KeyLayout) -> list[NDArray[np.uint8]]:
    """The kept rows of each document as they are stored."""
    kept = _kept(held.bounds, layout.keep_every)
    tensors = [t for layer in layout.layers for t in held.layers[layer] if t is not None]
    rows = torch.stack(tensors, 1)[torch.from_numpy(np.concatenate(kept))]
    packed = rounded(rows, layout.bits)
    return np.split(packed, np.cumsum([len(rows) for rows in kept])[:-1])


def _kept(bounds: NDArray[np.int32], keep_every: int) -> list[NDArray[np.int64]]:
    """By document, the rows that stay: its last, and one in ``keep_every`` before it."""
    return [
        np.arange(stop - 1, start - 1, -keep_every, dtype=np.int64)[::-1]
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]
