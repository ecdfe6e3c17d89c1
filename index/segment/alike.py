"""Words that begin alike, or differ by a typing error: scans over the text of a dictionary.

No structure beside the dictionary's own arrays but seven bytes a word, made at the first question:
its first two bytes; its length, and a bit for each letter that it has. An edit changes one letter,
so one bit comes and one goes at most, and one alone where the length changes; what is further off
is never compared. A scan takes less than a millisecond for a hundred thousand words, and grows with
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

WORDS_AT_ONCE = 1 << 20
LONGEST = 64  # letters of words that are compared
_OTHERS = 26  # the first bit of what is no letter from a to z
_SPREAD = 6  # bits of these


class Beginnings:
    """The first two bytes of each word, by which words that begin so are found.

    Attributes:
        pairs: ``[words]`` uint16; the second byte is 0 where there is none.
    """

    def __init__(self, text: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self._text, self._offsets = text, offsets
        starts, ends = offsets[:-1], offsets[1:]
        second = text.take(starts + 1, mode="clip") * (ends - starts > 1)
        self.pairs = text[starts].astype(np.uint16) << np.uint16(8) | second.astype(np.uint16)

    def of(self, prefix: bytes) -> NDArray[np.int64]:
        """The ordinals of the words that begin so, rising; none for an empty prefix."""
        if len(prefix) == 1:
            return np.flatnonzero(self.pairs >> np.uint16(8) == prefix[0])
        found = np.flatnonzero(self.pairs == int.from_bytes(prefix[:2]))
        found = found[np.diff(self._offsets)[found] >= len(prefix)] if len(prefix) > 2 else found
        for place, byte in enumerate(prefix[2:], start=2):
            found = found[self._text[self._offsets[found] + place] == byte]
        return found


class Letters:
    """Length and letters of each word, to tell at once which are too far from another.

    Attributes:
        lengths: ``[words]`` uint8, in characters; 255 for longer ones.
        bits: ``[words]`` uint32, a bit for each letter.
    """

    def __init__(self, text: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        words = offsets.size - 1
        self.lengths = np.zeros(words, np.uint8)
        self.bits = np.zeros(words, np.uint32)
        for first in range(0, words, WORDS_AT_ONCE):
            starts = offsets[first : first + WORDS_AT_ONCE + 1]
            some = slice(first, first + starts.size - 1)
            of_words = text[starts[0] : starts[-1]]
            places = (starts[:-1] - starts[0]).astype(np.intp)
            self.bits[some] = np.bitwise_or.reduceat(_bits(of_words), places)
            characters = np.add.reduceat(~_is_continued(of_words), places, dtype=np.int64)
            self.lengths[some] = np.minimum(characters, 255)

    @property
    def size_bytes(self) -> int:
        """Of both arrays."""
        return self.lengths.nbytes + self.bits.nbytes

    def near(self, word: str, edits: int) -> NDArray[np.int64]:
        """The ordinals of all words within so many edits of a word, and of others, rising."""
        shortest = np.uint8(max(0, len(word) - edits))
        apart = np.bitwise_count(self.bits ^ Letters.of(word))
        near = apart <= 2 * edits
        near &= self.lengths - shortest <= len(word) + edits - shortest  # shorter ones wrap round
        found = np.flatnonzero(near)
        longer = np.abs(self.lengths[found].astype(np.int16) - len(word))
        kept: NDArray[np.int64] = found[apart[found] + longer <= 2 * edits]
        return kept

    @staticmethod
    def of(word: str) -> np.uint32:
        """The bits of one word."""
        text = np.frombuffer(word.encode("utf-8", "surrogatepass"), np.uint8)
        return np.uint32(np.bitwise_or.reduce(_bits(text)))


def within_one(word: str, others: Iterable[str]) -> list[bool]:
    """Whether one edit at most lies between a word and each of others; see `distances`.

    Such a word begins or ends as the other does: two letters in the wrong order lie in one half of
    it, or beside its middle.
    """
    half = (len(word) - 1) // 2
    begins, ends = word[:half], word[len(word) - half :]
    return [
        (other.startswith(begins) or other.endswith(ends)) and _is_within_one(word, other)
        for other in others
    ]


def _is_within_one(word: str, other: str) -> bool:
    """Whether two words are the same after an edit of the first letter in which they differ."""
    pairs = enumerate(zip(word, other, strict=False))
    at = next((place for place, (one, two) in pairs if one != two), min(len(word), len(other)))
    word, other = word[at:], other[at:]
    turned = word[1::-1] + word[2:]
    return word[1:] in (other, other[1:]) or word == other[1:] or turned == other


def distances(word: str, others: Sequence[str]) -> NDArray[np.int16]:
    """How many edits lie between a word and each of others: ``[others]`` int16.

    A letter more, less, another one, or two beside one another in the wrong order is an edit
    (optimal string alignment: no part of a word is edited twice). Source: Boytsov, Indexing
    methods for approximate dictionary searching, JEA 2011, section 2. A row of the table is made
    at once for all others: what insertions add within it is a running minimum.

    Args:
        word: at least one letter.
        others: to compare with, each at least one letter.
    """
    letters = np.array(others).view(np.uint32).reshape(len(others), -1).T  # [width, others]
    inserted = np.arange(len(letters) + 1, dtype=np.int16)[:, None]
    far = np.int16(len(word))
    row = np.repeat(inserted, len(others), axis=1)  # [width + 1, others]
    older, differed = row, np.ones(letters.shape, np.bool_)
    for i, letter in enumerate(map(ord, word), start=1):
        differs, least = letters != letter, row + 1
        np.minimum(least[1:], row[:-1] + differs, out=least[1:])
        if i > 1:
            turned = older[:-2] + 1 + far * (differs[:-1] | differed[1:])
            np.minimum(least[2:], turned, out=least[2:])
        older, row, differed = row, np.minimum.accumulate(least - inserted) + inserted, differs
    sizes = np.fromiter(map(len, others), np.int64, len(others))
    return row[sizes, np.arange(len(others))]


def _is_continued(text: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether bytes of UTF-8 go on with a character."""
    continued: NDArray[np.bool_] = (text & 0xC0) == 0x80
    return continued


def _bits(text: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The bit of each character at its last byte, 0 at its others."""
    bits, continued = _BIT_OF[text], _is_continued(text)
    bits[:-1][continued[1:]] = 0
    return bits


def _bits_of_bytes() -> NDArray[np.uint32]:
    """``[256]``: letters from a to z have a bit of their own, other bytes share the rest."""
    places = _OTHERS + np.arange(256) % _SPREAD
    places[ord("a") : ord("z") + 1] = np.arange(26)
    return (np.uint32(1) << places.astype(np.uint32)).astype(np.uint32)


_BIT_OF = _bits_of_bytes()
