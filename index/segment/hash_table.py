"""Words by ordinal and ordinals by word: the hash table under the dictionary.

Three arrays hold it, so that they can be written as they are and mapped back:

- ``text``: the words in UTF-8, one after another, uint8;
- ``offsets``: where each word begins in ``text``, and the end, ``[words + 1]`` int64;
- ``slots``: an open-addressing hash table of two to the power of n slots, uint64. A slot is 0 when
  empty, else the upper 32 bits of the word's XXH3-64 above its ordinal plus one. A word's first
  slot is given by the upper n bits of its hash; collisions take the next slot, round the end.

Knows nothing of term ids, documents or files.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
from xxhash import xxh3_64_intdigest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_ORDINAL = 0xFFFFFFFF  # the lower half of a slot
_SMALLEST_TABLE = 64


class Words:
    """Words by ordinal and ordinals by word, over the three arrays."""

    def __init__(
        self,
        text: memoryview | bytearray,
        offsets: memoryview | array[int],
        slots: NDArray[np.uint64],
    ) -> None:
        self._text = text
        self._offsets = offsets
        self._take_slots(slots)

    def _take_slots(self, slots: NDArray[np.uint64]) -> None:
        self._slots = slots.data  # a memoryview gives Python integers, twice as fast
        self._mask = slots.size - 1
        self._shift = 33 - slots.size.bit_length()  # 32 bits of hash -> the table's bits

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def word(self, ordinal: int) -> str:
        """The word of an ordinal, which the caller has checked."""
        start, stop = self._offsets[ordinal], self._offsets[ordinal + 1]
        return bytes(self._text[start:stop]).decode()

    def find(self, key: bytes) -> int:
        """The ordinal of a word in UTF-8, -1 when there is none."""
        tag = xxh3_64_intdigest(key) >> 32
        at = tag >> self._shift
        while slot := self._slots[at]:
            if slot >> 32 == tag:
                ordinal = (slot & _ORDINAL) - 1
                start, stop = self._offsets[ordinal], self._offsets[ordinal + 1]
                if bytes(self._text[start:stop]) == key:
                    return ordinal
            at = (at + 1) & self._mask
        return -1


class GrowingWords(Words):
    """Words to which more can be appended."""

    def __init__(self, base: Mapping[str, NDArray[Any]]) -> None:
        self._own_text = bytearray(base["text"].data)
        self._own_offsets = array("q", base["offsets"].tobytes())
        super().__init__(self._own_text, self._own_offsets, base["slots"].copy())

    def append(self, key: bytes) -> int:
        """Add a word that `find` does not find; its ordinal."""
        ordinal = len(self)
        if 3 * (ordinal + 1) > 2 * len(self._slots):
            self._take_slots(_spread(np.asarray(self._slots), 2 * len(self._slots)))
        self._own_text += key
        self._own_offsets.append(len(self._own_text))
        _place(self._slots, xxh3_64_intdigest(key) >> 32 << 32 | ordinal + 1, self._shift)
        return ordinal

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of the three arrays."""
        return {
            "text": np.frombuffer(bytes(self._own_text), np.uint8),
            "offsets": np.array(self._own_offsets, np.int64),
            "slots": np.array(self._slots, np.uint64),
        }


def _place(slots: memoryview[int], slot: int, shift: int) -> None:
    """Put a slot into the first free place from its own on, round the end of the table."""
    at = slot >> 32 >> shift
    while slots[at]:
        at = (at + 1) & (len(slots) - 1)
    slots[at] = slot


def _spread(slots: NDArray[np.uint64], size: int) -> NDArray[np.uint64]:
    """The filled slots in a table of ``size`` slots.

    Sorted slots lie in the order of their first places; each takes its first place or the one
    after its predecessor, whichever is later, which is what one insertion after another gives.
    """
    filled = np.sort(slots[slots != 0])
    shift = 33 - size.bit_length()
    order = np.arange(filled.size)
    first = (filled >> np.uint64(32 + shift)).astype(np.int64)
    places = order + np.maximum.accumulate(first - order)
    table = np.zeros(size, np.uint64)
    inside = places < size
    table[places[inside]] = filled[inside]
    for slot in filled[~inside].tolist():  # the few that pass the end go round
        _place(table.data, slot, shift)
    return table


def no_words() -> dict[str, NDArray[Any]]:
    """The three arrays of a table without words."""
    return {
        "text": np.zeros(0, np.uint8),
        "offsets": np.zeros(1, np.int64),
        "slots": np.zeros(_SMALLEST_TABLE, np.uint64),
    }
