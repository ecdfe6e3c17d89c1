"""Texts as token ids, many to an array: small enough to travel, fast to batch. Needs no torch."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.retriever.models.tokenizer import Tokenizer

MAGIC = b"tamis token rows 1\n"
WINDOW_TEXTS = 8192  # tokenised at a time


@dataclass(frozen=True, slots=True, eq=False)
class TokenRows:
    """Token ids of texts, without special ids around them.

    Attributes:
        offsets: ``[rows + 1]`` int64, from 0 to the number of tokens, never falling.
        ids: ``[tokens]`` int32.
    """

    offsets: NDArray[np.int64]
    ids: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return np.diff(self.offsets)

    def row(self, i: int) -> NDArray[np.int32]:
        """The ids of one text."""
        return self.ids[self.offsets[i] : self.offsets[i + 1]]

    def take(self, rows: NDArray[np.int64]) -> TokenRows:
        """Some rows, in the order given."""
        counts = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        source = np.repeat(self.offsets[rows] - offsets[:-1], counts) + np.arange(offsets[-1])
        return TokenRows(offsets, self.ids[source])

    @staticmethod
    def of(rows: Iterable[Sequence[int]]) -> TokenRows:
        """Rows given as sequences of ids."""
        arrays = [np.asarray(row, np.int32) for row in rows]
        offsets = np.cumsum([0, *(len(row) for row in arrays)]).astype(np.int64)
        ids = np.concatenate(arrays) if arrays else np.empty(0, np.int32)
        return TokenRows(offsets, ids.astype(np.int32))

    @staticmethod
    def concatenate(parts: Sequence[TokenRows]) -> TokenRows:
        """The rows of all parts, one after the other."""
        lengths = np.concatenate([part.lengths for part in parts])
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return TokenRows(offsets, np.concatenate([part.ids for part in parts]))

    def save(self, path: Path) -> None:
        """Write the rows compressed: about 1.2 bytes a token of English word pieces."""
        width = np.dtype("<u2" if self.ids.size == 0 or self.ids.max() < 1 << 16 else "<i4")
        head = np.array([len(self), self.ids.size, width.itemsize], "<i8").tobytes()
        body = self.lengths.astype("<u4").tobytes() + self.ids.astype(width).tobytes()
        path.write_bytes(MAGIC + lzma.compress(head + body, preset=6))

    @staticmethod
    def load(path: Path) -> TokenRows:
        """Read what `save` wrote.

        Raises:
            FormatError: the file is missing, damaged, or something else.
        """
        try:
            stored = path.read_bytes()
            if not stored.startswith(MAGIC):
                raise ValueError(f"it begins with {stored[:20]!r}")
            return TokenRows._unpack(lzma.decompress(stored[len(MAGIC) :]))
        except (OSError, ValueError, lzma.LZMAError) as error:
            raise FormatError(
                f"{path}: expected token rows, found none ({error}); prepare the data again"
            ) from error

    @staticmethod
    def _unpack(raw: bytes) -> TokenRows:
        rows, tokens, width = np.frombuffer(raw, "<i8", 3).tolist()
        if len(raw) != 24 + 4 * rows + width * tokens or width not in (2, 4):
            raise ValueError(f"{len(raw)} bytes do not hold {rows} rows of {tokens} tokens")
        lengths = np.frombuffer(raw, "<u4", rows, 24).astype(np.int64)
        ids = np.frombuffer(raw, "<u2" if width == 2 else "<i4", tokens, 24 + 4 * rows)
        return TokenRows(np.concatenate([[0], np.cumsum(lengths)]), ids.astype(np.int32))


def tokenise(texts: Sequence[str], tokenizer: Tokenizer, limit: int) -> TokenRows:
    """The first ``limit`` ids of each text."""
    parts = [TokenRows.of([])]
    for start in range(0, len(texts), WINDOW_TEXTS):
        rows = tokenizer.bare_ids(texts[start : start + WINDOW_TEXTS])
        parts.append(TokenRows.of(row[:limit] for row in rows))
    return TokenRows.concatenate(parts)


def row_hashes(rows: TokenRows) -> NDArray[np.uint64]:
    """One hash a row, equal for equal rows: the sum over positions of a mixed position and id."""
    position = np.arange(rows.ids.size) - np.repeat(rows.offsets[:-1], rows.lengths)
    mixed = _mix(rows.ids.astype(np.uint64) + (position.astype(np.uint64) << np.uint64(32)))
    running = np.zeros(mixed.size + 1, np.uint64)
    np.cumsum(mixed, out=running[1:])  # wraps around; concatenated with a 0 it would be a float
    return running[rows.offsets[1:]] - running[rows.offsets[:-1]]


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014); wraps around."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
