"""Keys and values of documents, computed once: a query is then scored without reading any document.

Only for documents that do not read the query, and only in the layers where the query reads them:
with the bundled model the keys of the scoring layer alone. A row is int8 or int4 with one float16
scale a head, and every ``keep_every``-th token of a document is kept, counted from its last. A
stored number is at most half a step from the true one: the largest of its head over 254, or over 14
(and float16's rounding of the step); so a logit q k errs by no more than |q| times that, summed.

Documents are found by a hash of their text: one that has changed since is simply not there, and
one that has moved or been renamed still is. The store is bound to the reranker's fingerprint, and
every file to its checksum.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
import xxhash

from tamis.index.errors import CorruptionError, FormatError, InputError, MismatchError
from tamis.retriever.rerank.attention import DocumentKeys
from tamis.retriever.rerank.loading import file_digest
from tamis.retriever.rerank.reranker import Reranker, with_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.retriever.rerank.loading import LoadedReranker
    from tamis.retriever.rerank.prompt import Conditioning

ABOUT, ROWS, BOUNDS, HASHES = "keys.json", "keys.bin", "bounds.bin", "hashes.bin"
FORMAT = 2
DOCUMENTS_AT_ONCE = 64


class KeyReranker(Reranker, Protocol):
    """A reranker whose document keys can be stored: `BlockReranker`, as far as a store needs it."""

    parts: LoadedReranker
    conditioning: Conditioning

    def document_keys(self, documents: Sequence[str]) -> DocumentKeys:
        """See `BlockReranker.document_keys`."""

    def score_held(self, query: str, held: DocumentKeys) -> NDArray[np.float32]:
        """See `BlockReranker.score_held`."""


@dataclass(frozen=True)
class StoreSettings:
    """What a store holds.

    Attributes:
        format: of the files.
        fingerprint: of the reranker that made it.
        documents: how many different texts.
        rows: kept tokens of all documents.
        layers: the layers that are stored, rising; the last has keys alone.
        heads: key heads.
        width: of a head.
        keep_every: one token in so many is kept.
        checksums: xxh3 of each file.
        bits: of a stored number, 8 or 4.
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
    bits: int = 8

    @property
    def parts(self) -> int:
        """Key and value rows a token; 0 in a store of no documents."""
        return max(0, 2 * len(self.layers) - 1)

    @property
    def row_bytes(self) -> int:
        """Bytes a token."""
        return (self.numbers * self.bits + 7) // 8 + 2 * self.parts * self.heads

    @property
    def numbers(self) -> int:
        """Stored numbers a token."""
        return self.parts * self.heads * self.width


class DocumentStore:
    """Reads a store; safe to use from several threads.

    Attributes:
        settings: what it holds.
    """

    def __init__(self, folder: Path, settings: StoreSettings) -> None:
        """Map the files; see `open`."""
        self.settings = settings
        shape = (settings.rows, settings.row_bytes)
        self._rows: NDArray[np.int8] = np.empty(shape, np.int8)
        if settings.rows:
            self._rows = np.memmap(folder / ROWS, np.int8, "r", shape=shape)
        self._bounds = np.fromfile(folder / BOUNDS, np.int64)
        hashes = np.fromfile(folder / HASHES, np.uint64).reshape(-1, 2)
        self._order = np.lexsort((hashes[:, 1], hashes[:, 0]))
        self._hashes = hashes[self._order]

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
        draft = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        writer = _Writer(draft, budget_bytes, keep_every, bits)
        for hashes, held in _computed(reranker, texts):
            writer.add(hashes, held)
        settings = writer.finish(reranker.parts.fingerprint)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
        return DocumentStore(folder, settings)

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
                "build it with `tamis optimize --rerank-cache`"
            ) from error
        if settings.format != FORMAT or settings.fingerprint != fingerprint:
            raise MismatchError(
                f"{folder}: expected keys of format {FORMAT} by reranker {fingerprint}, found "
                f"format {settings.format} by {settings.fingerprint}; build the store again"
            )
        if verify:
            for name, wanted in settings.checksums.items():
                if _checksum(folder / name) != wanted:
                    raise CorruptionError(
                        f"{folder / name}: expected the bytes that were written, found others; "
                        "build the store again"
                    )
        return DocumentStore(folder, settings)

    def __len__(self) -> int:
        return self.settings.documents

    @property
    def size_bytes(self) -> int:
        """Bytes of all keys."""
        return self.settings.rows * self.settings.row_bytes

    def find(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Where the keys of texts are ``[texts]``, for `keys`; -1 where the store has none."""
        found = np.full(len(texts), -1, np.int64)
        if len(self._hashes):
            wanted = _hashes(texts)
            at = np.searchsorted(self._hashes[:, 0], wanted[:, 0])
            at = np.minimum(at, len(self._hashes) - 1)
            same = (self._hashes[at] == wanted).all(1)
            found[same] = self._order[at[same]]
        return found

    def keys(self, at: NDArray[np.int64], device: torch.device, dtype: torch.dtype) -> DocumentKeys:
        """The keys of the documents that `find` found, in that order; at least one."""
        spans = [self._bounds[one : one + 2] for one in at.tolist()]
        rows = np.concatenate([self._rows[start:stop] for start, stop in spans])
        bounds = np.cumsum([0, *(int(stop - start) for start, stop in spans)]).astype(np.int32)
        parts = _unpacked(torch.from_numpy(rows).to(device), self.settings, dtype)
        layers: dict[int, tuple[torch.Tensor, torch.Tensor | None]] = {}
        for number, layer in enumerate(self.settings.layers):
            last = number == len(self.settings.layers) - 1
            layers[layer] = (parts[:, 2 * number], None if last else parts[:, 2 * number + 1])
        return DocumentKeys(bounds, layers, np.zeros(len(at), bool))


class _Writer:
    """Appends rows to the files of a store, within a budget."""

    def __init__(self, folder: Path, budget_bytes: int, keep_every: int, bits: int) -> None:
        self._folder, self._budget = folder, budget_bytes
        self._keep_every, self._bits = keep_every, bits
        self._file = (folder / ROWS).open("wb")
        self._bounds = [0]
        self._hashes: list[NDArray[np.uint64]] = [np.empty((0, 2), np.uint64)]
        self._shape: tuple[tuple[int, ...], int, int] = ((), 0, 0)
        self._bytes = 0

    def add(self, hashes: NDArray[np.uint64], held: DocumentKeys) -> None:
        self._hashes.append(hashes)
        kept = _kept(held.bounds, self._keep_every)
        layers = tuple(sorted(held.layers))
        tensors = [t for layer in layers for t in held.layers[layer] if t is not None]
        rows = torch.stack(tensors, 1)[torch.from_numpy(np.concatenate(kept))]
        packed = _packed(rows, self._bits)
        self._bytes += packed.nbytes
        if self._bytes > self._budget:
            self._file.close()
            raise InputError(
                f"expected keys of at most {self._budget} bytes, found more after "
                f"{len(self._bounds) - 1 + len(kept)} documents; raise the budget or keep_every, "
                "or store fewer bits"
            )
        self._file.write(packed.tobytes())
        self._bounds += (self._bounds[-1] + np.cumsum([len(rows) for rows in kept])).tolist()
        self._shape = (layers, *tensors[0].shape[1:])

    def finish(self, fingerprint: str) -> StoreSettings:
        self._file.close()
        np.array(self._bounds, np.int64).tofile(self._folder / BOUNDS)
        np.concatenate(self._hashes).tofile(self._folder / HASHES)
        layers, heads, width = self._shape
        settings = StoreSettings(
            FORMAT,
            fingerprint,
            len(self._bounds) - 1,
            self._bounds[-1],
            layers,
            heads,
            width,
            self._keep_every,
            {name: _checksum(self._folder / name) for name in (ROWS, BOUNDS, HASHES)},
            self._bits,
        )
        (self._folder / ABOUT).write_text(json.dumps(asdict(settings), indent=1) + "\n", "utf-8")
        return settings


@torch.inference_mode()
def _computed(
    reranker: KeyReranker, texts: Iterable[str]
) -> Iterator[tuple[NDArray[np.uint64], DocumentKeys]]:
    """Hashes and keys of the different texts, some at a time."""
    seen: set[bytes] = set()
    batch: list[str] = []
    for text in texts:
        digest = _digest(text)
        if digest not in seen and with_text([text])[0]:
            seen.add(digest)
            batch.append(text)
        if len(batch) == DOCUMENTS_AT_ONCE:
            yield _hashes(batch), reranker.document_keys(batch)
            batch = []
    if batch:
        yield _hashes(batch), reranker.document_keys(batch)


def _digest(text: str) -> bytes:
    return xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass"))


def _hashes(texts: Sequence[str]) -> NDArray[np.uint64]:
    """``[texts, 2]``: the hash of each text."""
    return np.frombuffer(b"".join(map(_digest, texts)), np.uint64).reshape(-1, 2)


def _kept(bounds: NDArray[np.int32], keep_every: int) -> list[NDArray[np.int64]]:
    """By document, the rows that stay: its last, and one in ``keep_every`` before it."""
    return [
        np.arange(stop - 1, start - 1, -keep_every, dtype=np.int64)[::-1]
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]


def _packed(rows: torch.Tensor, bits: int) -> NDArray[np.int8]:
    """``[rows, parts, heads, D]`` as levels with one float16 scale a head, ``[rows, bytes]``."""
    rows, most = rows.float().cpu(), (1 << (bits - 1)) - 1
    scales = (rows.abs().amax(3) / most).half().clamp_min(torch.finfo(torch.float16).tiny)
    levels = (rows / scales.float()[..., None]).round().clamp(-most, most).to(torch.int8).flatten(1)
    flat = [_nibbles(levels) if bits == 4 else levels, scales.flatten(1).view(torch.int8)]
    found: NDArray[np.int8] = torch.cat(flat, 1).numpy()
    return found


def _unpacked(rows: torch.Tensor, settings: StoreSettings, dtype: torch.dtype) -> torch.Tensor:
    """``[rows, parts, heads, D]`` of what `_packed` gave."""
    shape = (settings.parts, settings.heads, settings.width)
    count = settings.row_bytes - 2 * settings.parts * settings.heads
    levels, scales = rows[:, :count], rows[:, count:]
    if settings.bits == 4:
        levels = _from_nibbles(levels)[:, : settings.numbers]
    factors = scales.contiguous().view(torch.float16).view(-1, *shape[:2], 1)
    found: torch.Tensor = levels.reshape(-1, *shape).to(dtype) * factors.to(dtype)
    return found


def _nibbles(levels: torch.Tensor) -> torch.Tensor:
    """``[rows, n]`` from -7 to 7, raised by 8, two a byte, the first in the low bits."""
    raised = torch.nn.functional.pad(levels + 8, (0, levels.shape[1] % 2)).view(torch.uint8)
    return (raised[:, ::2] | (raised[:, 1::2] << 4)).view(torch.int8)


def _from_nibbles(packed: torch.Tensor) -> torch.Tensor:
    """What `_nibbles` was given, with one more column where ``n`` is odd."""
    raw = packed.contiguous().view(torch.uint8)
    return torch.stack([raw & 15, raw >> 4], 2).flatten(1).view(torch.int8) - 8


def _checksum(path: Path) -> str:
    return file_digest(path).hex()
