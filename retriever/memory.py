"""What a build keeps in memory, and a bound on it."""

from __future__ import annotations

from tamis.index.errors import InputError
from tamis.index.files.system import used_bytes
from tamis.retriever.words.lexical import REMEMBERED_CHUNKS

BYTES_A_DOCUMENT = 8 + 32  # of a build, see builder.py, and of its id
BYTES_A_TERM = 50 + 40  # the terms of a build, and the words while the corpus is read
BYTES_A_COMMON_TERM = 1024
BYTES_A_CHUNK = 200  # of a remembered stretch of text and its words
_SHARE_OF_CHUNKS = 8  # one in so many bytes of a bound may remember chunks
_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_bytes(text: str) -> int:
    """Read a size such as ``2GiB``, ``500M`` or ``1e9``; units are powers of 1,024.

    Raises:
        InputError: it is something else, or not above zero.
    """
    number = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:] in _UNITS else ""
    try:
        size = int(float(number.removesuffix(unit)) * _UNITS[unit or "B"])
    except (ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise InputError(f"expected a size such as 2GiB or 500M, found {text!r}")
    return size


class MemoryBound:
    """Refuses a corpus as soon as it is clear that its build would pass the bound."""

    def __init__(self, limit_bytes: int | None) -> None:
        """Keep below so many bytes; None is no bound."""
        self._limit = limit_bytes

    @property
    def remembered_chunks(self) -> int:
        """How many stretches of text the word counter may remember."""
        if self._limit is None:
            return REMEMBERED_CHUNKS
        return min(REMEMBERED_CHUNKS, self._limit // _SHARE_OF_CHUNKS // BYTES_A_CHUNK)

    def check(self, documents: int, terms: int) -> None:
        """Compare what is held now, and what the build will need beside it, with the bound.

        Raises:
            InputError: they are more.
        """
        if self._limit is None:
            return
        needed = used_bytes() + documents * BYTES_A_DOCUMENT + terms * BYTES_A_TERM
        if needed > self._limit:
            raise InputError(
                f"expected a build within {self._limit >> 20:,} MiB, found that the first "
                f"{documents:,} documents with {terms:,} terms need {needed >> 20:,} MiB; "
                "give it more memory, or make several indexes"
            )
