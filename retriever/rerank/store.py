"""Keys and values of documents, computed once: a query is then scored without reading any document.

Only for documents that do not read the query, and only in the layers where the query reads them:
with the bundled model the keys of the scoring layer alone. A row is int8 with one float16 scale a
head, and every ``keep_every``-th token of a document is kept, counted from its last. The store is
bound to the reranker's fingerprint, and every file to its checksum.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import xxhash

from tamis.index.errors import CorruptionError, FormatError, InputError, MismatchError
from tamis.retriever.rerank.attention import DocumentKeys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.retriever.rerank.block_reranker import BlockReranker

ABOUT, ROWS, BOUNDS, IDS = "keys.json", "keys.bin", "bounds.bin", "ids.json"
FORMAT = 1
DOCUMENTS_AT_ONCE = 64


@dataclass(frozen=True)
class StoreSettings:
    """What a store holds.

    Attributes:
        format: of the files.
        fingerprint: of the reranker that made it.
        documents: how many.
        rows: kept tokens of all documents.
        layers: the layers that are stored, rising; the last has keys alone.
        heads: key heads.
        width: of a head.
        keep_every: one token in so many is kept.
        checksums: xxh3 of each file.
    """

    format: int
    fingerprint: str
    documents: int
    rows: int
    layers: tuple[int, ...]
    heads: int
    width: int
    keep_every: int
    checksums: dict[str, str]

    @property
    def parts(self) -> int:
        """Key and value rows a token."""
        return 2 * len(self.layers) - 1

    @property
    def row_bytes(self) -> int:
        """Bytes a token."""
        return self.parts * self.heads * (self.width + 2)


class DocumentStore:
    """Reads a store; safe to use from several threads.

    Attributes:
        settings: what it holds.
    """

    def __init__(self, folder: Path, settings: StoreSettings) -> None:
        """Map the files; see `open`."""
        self.settings = settings
        self._rows = np.memmap(
            folder / ROWS, np.int8, "r", shape=(settings.rows, settings.row_bytes)
        )
        self._bounds = np.fromfile(folder / BOUNDS, np.int64)
        ids = json.loads((folder / IDS).read_text("utf-8"))
        self._at = {doc_id: at for at, doc_id in enumerate(ids)}

    @staticmethod
    def build(
        reranker: BlockReranker,
        documents: Iterable[tuple[str, str]],
        folder: Path,
        *,
        budget_bytes: int,
        keep_every: int = 1,
    ) -> DocumentStore:
        """Compute and write the keys of documents.

        Args:
            reranker: with conditioning "none".
            documents: ids and texts.
            folder: made; must not hold a store.
            budget_bytes: refuse to write more.
            keep_every: keep one token in so many.

        Raises:
            InputError: the reranker reads the query into documents, the folder is in use, or the
                budget is too small.
        """
        if reranker.conditioning != "none":
            raise InputError(
                "expected a reranker whose documents do not read the query, found conditioning "
                f"{reranker.conditioning!r}; load it with conditioning='none'"
            )
        if (folder / ABOUT).exists() or keep_every < 1:
            raise InputError(f"{folder}: expected no store there and keep_every of at least 1")
        folder.mkdir(parents=True, exist_ok=True)
        writer = _Writer(folder, budget_bytes)
        ids: list[str] = []
        for names, held in _computed(reranker, documents):
            ids += names
            writer.add(held, keep_every)
        return writer.finish(reranker, ids, keep_every)

    @staticmethod
    def open(folder: Path, fingerprint: str, *, verify: bool = True) -> DocumentStore:
        """Open a store for the reranker it was made by.

        Raises:
            FormatError: there is no finished store.
            MismatchError: another reranker made it.
            CorruptionError: a file differs from what was written.
        """
        try:
            stored = json.loads((folder / ABOUT).read_text("utf-8"))
            settings = StoreSettings(**stored | {"layers": tuple(stored["layers"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise FormatError(
                f"{folder}: expected a finished store of document keys, found none ({error}); "
                "build it with `tamis index --rerank-cache`"
            ) from error
        if settings.format != FORMAT or settings.fingerprint != fingerprint:
            raise MismatchError(
                f"{folder}: expected keys of format {FORMAT} by reranker {fingerprint}, found "
                f"format {settings.format} by {settings.fingerprint}; build the store anew"
            )
        if verify:
            for name, wanted in settings.checksums.items():
                if _checksum(folder / name) != wanted:
                    raise CorruptionError(
                        f"{folder / name}: expected the bytes that were written, found others; "
                        "build the store anew"
                    )
        return DocumentStore(folder, settings)

    def __len__(self) -> int:
        return self.settings.documents

    @property
    def size_bytes(self) -> int:
        """Bytes of all keys."""
        return self.settings.rows * self.settings.row_bytes

    def keys(
        self, doc_ids: Sequence[str], device: torch.device, dtype: torch.dtype
    ) -> DocumentKeys:
        """The keys of some documents, in the order given.

        Raises:
            InputError: one of them is not in the store.
        """
        missing = [doc_id for doc_id in doc_ids if doc_id not in self._at]
        if missing:
            raise InputError(
                f"expected documents of the store, found {missing[0]!r}, which it does not hold; "
                "build the store anew after changes"
            )
        spans = [self._bounds[self._at[one] : self._at[one] + 2] for one in doc_ids]
        rows = np.concatenate([self._rows[start:stop] for start, stop in spans])
        bounds = np.cumsum([0, *(int(stop - start) for start, stop in spans)]).astype(np.int32)
        parts = _unpacked(torch.from_numpy(rows).to(device), self.settings, dtype)
        layers: dict[int, tuple[torch.Tensor, torch.Tensor | None]] = {}
        for number, layer in enumerate(self.settings.layers):
            last = number == len(self.settings.layers) - 1
            layers[layer] = (parts[:, 2 * number], None if last else parts[:, 2 * number + 1])
        return DocumentKeys(bounds, layers)


class _Writer:
    """Appends rows to the files of a store, within a budget."""

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        self._folder, self._budget = folder, budget_bytes
        self._file = (folder / ROWS).open("wb")
        self._bounds = [0]
        self._shape: tuple[tuple[int, ...], int, int] = ((), 0, 0)
        self._bytes = 0

    def add(self, held: DocumentKeys, keep_every: int) -> None:
        kept = _kept(held.bounds, keep_every)
        layers = tuple(sorted(held.layers))
        tensors = [t for layer in layers for t in held.layers[layer] if t is not None]
        packed = _packed(torch.stack(tensors, 1)[torch.from_numpy(np.concatenate(kept))])
        self._bytes += packed.nbytes
        if self._bytes > self._budget:
            self._file.close()
            raise InputError(
                f"expected keys of at most {self._budget} bytes, found more after "
                f"{len(self._bounds) - 1 + len(kept)} documents; raise the budget or keep_every"
            )
        self._file.write(packed.tobytes())
        self._bounds += (self._bounds[-1] + np.cumsum([len(rows) for rows in kept])).tolist()
        self._shape = (layers, *tensors[0].shape[1:])

    def finish(self, reranker: BlockReranker, ids: list[str], keep_every: int) -> DocumentStore:
        self._file.close()
        np.array(self._bounds, np.int64).tofile(self._folder / BOUNDS)
        (self._folder / IDS).write_text(json.dumps(ids), "utf-8")
        layers, heads, width = self._shape
        settings = StoreSettings(
            FORMAT,
            reranker.parts.fingerprint,
            len(ids),
            self._bounds[-1],
            layers,
            heads,
            width,
            keep_every,
            {name: _checksum(self._folder / name) for name in (ROWS, BOUNDS, IDS)},
        )
        (self._folder / ABOUT).write_text(json.dumps(asdict(settings), indent=1) + "\n", "utf-8")
        return DocumentStore(self._folder, settings)


@torch.inference_mode()
def _computed(
    reranker: BlockReranker, documents: Iterable[tuple[str, str]]
) -> Iterator[tuple[list[str], DocumentKeys]]:
    batch: list[tuple[str, str]] = []
    for document in documents:
        batch.append(document)
        if len(batch) == DOCUMENTS_AT_ONCE:
            yield [name for name, _ in batch], reranker.document_keys([text for _, text in batch])
            batch = []
    if batch:
        yield [name for name, _ in batch], reranker.document_keys([text for _, text in batch])


def _kept(bounds: NDArray[np.int32], keep_every: int) -> list[NDArray[np.int64]]:
    """By document, the rows that stay: its last, and one in ``keep_every`` before it."""
    return [
        np.arange(stop - 1, start - 1, -keep_every, dtype=np.int64)[::-1]
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]


def _packed(rows: torch.Tensor) -> NDArray[np.int8]:
    """``[rows, parts, heads, D]`` as int8 with one float16 scale a head, ``[rows, bytes]``."""
    rows = rows.float().cpu()
    scales = (rows.abs().amax(3) / 127).half().clamp_min(torch.finfo(torch.float16).tiny)
    levels = (rows / scales.float()[..., None]).round().clamp(-127, 127).to(torch.int8)
    flat = torch.cat([levels.flatten(1), scales.flatten(1).view(torch.int8)], 1)
    found: NDArray[np.int8] = flat.numpy()
    return found


def _unpacked(rows: torch.Tensor, settings: StoreSettings, dtype: torch.dtype) -> torch.Tensor:
    """``[rows, parts, heads, D]`` of what `_packed` gave."""
    shape = (settings.parts, settings.heads, settings.width)
    count = shape[0] * shape[1] * shape[2]
    levels, scales = rows[:, :count], rows[:, count:]
    factors = scales.contiguous().view(torch.float16).view(-1, *shape[:2], 1)
    found: torch.Tensor = levels.reshape(-1, *shape).to(dtype) * factors.to(dtype)
    return found


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_64()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()
