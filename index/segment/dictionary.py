"""The append-only map word <-> term id of a collection. Knows nothing of files or of text analysis.

Words are numbered in the order they came, from ``first_term`` (the vocabulary size of the learned
encoder; 0 without one), and a number is never given twice. The arrays of hash_table.py hold the
map: a storage layer writes them as they are and maps them back without building anything.

Document frequencies belong to a generation of the collection, not to the words: they are an array
of their own, and words added after it was counted have frequency 0.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from xxhash import xxh3_128

from tamis.index.errors import CorruptionError, InputError, MismatchError
from tamis.index.segment.alike import LONGEST, Beginnings, Letters, distances, within_one
from tamis.index.segment.hash_table import GrowingWords, Words, no_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

TERM_LIMIT = 2**31 - 1  # the largest vocabulary size, so that it and every id are int32
_ARRAYS = {"first_term": np.int64, "text": np.uint8, "offsets": np.int64, "slots": np.uint64}


class Dictionary:
    """The read side: word to term id and back, over arrays that may be memory maps.

    A lookup hashes the word and reads a slot or two, about a microsecond; opening reads nothing but
    the ends of the arrays, at ten million words (290 MB mapped) as at ten. Threads may share one.

    Attributes:
        first_term: the term id of the first word.
    """

    def __init__(
        self,
        first_term: int,
        text: NDArray[np.uint8],
        offsets: NDArray[np.int64],
        slots: NDArray[np.uint64],
        document_frequency: NDArray[np.int32],
    ) -> None:
        """Take checked arrays; `from_arrays` is the way in."""
        self.first_term = first_term
        self._arrays: dict[str, NDArray[Any]] = {"text": text, "offsets": offsets, "slots": slots}
        self._document_frequency = document_frequency
        self._words = Words(text.data, offsets.data, slots)

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Dictionary:
        """Read what `DictionaryWriter.arrays` gave, without copying it.

        Args:
            arrays: ``first_term``, ``text``, ``offsets`` and ``slots``; ``document_frequency`` of
                the generation read, at most one a word. Without it every word has frequency 0.

        Raises:
            CorruptionError: the arrays do not fit together. Checksums are the storage layer's.
        """
        _check_arrays(arrays)
        return Dictionary(
            int(arrays["first_term"][0]),
            arrays["text"],
            arrays["offsets"],
            arrays["slots"],
            arrays.get("document_frequency", np.zeros(0, np.int32)),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that `from_arrays` takes, as views."""
        return {
            "first_term": np.array([self.first_term], np.int64),
            "document_frequency": self._document_frequency,
            **self._arrays,
        }

    def __len__(self) -> int:
        return len(self._words)

    @property
    def vocab_size(self) -> int:
        """One more than the largest term id: learned terms and words together."""
        return self.first_term + len(self)

    @property
    def size_bytes(self) -> int:
        """Bytes of all arrays, document frequencies included."""
        return sum(array.nbytes for array in self._arrays.values()) + (
            self._document_frequency.nbytes
        )

    def lookup(self, word: str) -> int:
        """The term id of a word, -1 when it has none."""
        ordinal = self._words.find(word.encode("utf-8", "surrogatepass"))
        return ordinal if ordinal < 0 else self.first_term + ordinal

    def lookup_many(self, words: Sequence[str]) -> NDArray[np.int32]:
        """The term ids of words, ``[words]`` int32, -1 for each that has none."""
        find, first = self._words.find, self.first_term
        ordinals = (find(word.encode("utf-8", "surrogatepass")) for word in words)
        terms = (at if at < 0 else at + first for at in ordinals)
        return np.fromiter(terms, np.int32, len(words))

    def is_held(self, word: str) -> bool:
        """Whether a document of the generation holds a word."""
        ordinal = self._words.find(word.encode("utf-8", "surrogatepass"))
        return 0 <= ordinal < self._document_frequency.size and bool(
            self._document_frequency[ordinal]
        )

    def beginning(self, prefix: str) -> NDArray[np.int64]:
        """The term ids of all words that begin so, rising; none for an empty prefix.

        Takes two bytes a word of memory from its first call on.
        """
        return self._beginnings.of(prefix.encode("utf-8", "surrogatepass")) + self.first_term

    def near(self, word: str, edits: int) -> NDArray[np.int64]:
        """The terms, rising, of the generation's words within so many edits; see `distances`.

        Takes five bytes a word of memory from its first call on; words of more than `LONGEST`
        letters are not compared.
        """
        if not 0 < len(word) <= LONGEST:
            return np.zeros(0, np.int64)
        found = self._letters.near(word, edits) + self.first_term
        found = found[self.document_frequency(found) > 0]
        words = list(map(self._words.word, (found - self.first_term).tolist()))
        if edits == 1 or not words:
            return found[np.array(within_one(word, words), np.bool_)]
        return found[distances(word, words) <= edits]

    @cached_property
    def _beginnings(self) -> Beginnings:
        return Beginnings(self._arrays["text"], self._arrays["offsets"])

    @cached_property
    def _letters(self) -> Letters:
        return Letters(self._arrays["text"], self._arrays["offsets"])

    def word(self, term: int) -> str:
        """The word of a term id.

        Raises:
            InputError: the id is a word piece's, or past the last word.
        """
        ordinal = term - self.first_term
        if not 0 <= ordinal < len(self):
            raise InputError(
                f"expected a word's term id from {self.first_term} to {self.vocab_size - 1}, "
                f"found {term}; ids below belong to the encoder"
            )
        return self._words.word(ordinal)

    def words_from(self, words: int) -> list[str]:
        """The words after the first ``words`` ones, in order."""
        return [self._words.word(ordinal) for ordinal in range(words, len(self))]

    def document_frequency(self, terms: ArrayLike) -> NDArray[np.int64]:
        """How many documents of the generation hold each term, ``[terms]`` int64.

        Terms of -1 (`lookup` of an unknown word) and words newer than the generation count 0.

        Raises:
            InputError: an id is neither -1 nor a word's.
        """
        ids = np.asarray(terms, np.int64)
        ordinals = ids - self.first_term
        known = (ordinals >= 0) & (ordinals < len(self))
        if not (known | (ids == -1)).all():
            raise InputError(
                f"expected term ids from {self.first_term} to {self.vocab_size - 1} or -1, "
                f"found {ids[~known & (ids != -1)][0]}; look words up in this dictionary"
            )
        counted = known & (ordinals < self._document_frequency.size)
        found = np.zeros(ids.shape, np.int64)
        found[counted] = self._document_frequency[ordinals[counted]]
        return found

    @property
    def fingerprint(self) -> str:
        """The identity of all words and their ids: 32 hexadecimal digits."""
        return self.fingerprint_of(len(self))

    def fingerprint_of(self, words: int) -> str:
        """The identity of the first ``words`` words: XXH3-128 over first term, offsets and text.

        Reads all of them, at memory speed: 40 milliseconds for ten million words.

        Raises:
            InputError: there are not that many words.
        """
        if not 0 <= words <= len(self):
            raise InputError(f"expected 0 to {len(self)} words, found {words}; name a prefix")
        offsets = self._arrays["offsets"][: words + 1]
        digest = xxh3_128(np.array([self.first_term], "<i8").tobytes())
        digest.update(np.ascontiguousarray(offsets, "<i8").data)
        digest.update(np.ascontiguousarray(self._arrays["text"][: int(offsets[-1])]).data)
        return digest.hexdigest()

    def check_prefix(self, words: int, fingerprint: str) -> None:
        """Accept vectors made when the dictionary was its first ``words`` words, refuse others.

        Raises:
            MismatchError: this dictionary is shorter, or begins with other words.
        """
        if words > len(self):
            raise MismatchError(
                f"expected a dictionary of at least {words} words, found one of {len(self)}; "
                "open the vectors with the collection they were written for"
            )
        found = self.fingerprint_of(words)
        if found != fingerprint:
            raise MismatchError(
                f"expected a dictionary whose first {words} words have fingerprint {fingerprint}, "
                f"found {found}; open the vectors with the collection they were written for"
            )


class DictionaryWriter:
    """The write side: adds words and counts their documents, in memory. One thread at a time.

    Takes 30 to 40 bytes a word of eight letters, twice that while it grows.
    """

    def __init__(self, first_term: int = 0, base: Dictionary | None = None) -> None:
        """Begin an empty dictionary, or go on from a copy of ``base`` and its frequencies.

        Raises:
            InputError: ``first_term`` is no term id, or not that of ``base``.
        """
        if not 0 <= first_term <= TERM_LIMIT or (
            base is not None and base.first_term != first_term
        ):
            expected = f"{base.first_term}, as before" if base is not None else f"0 to {TERM_LIMIT}"
            raise InputError(
                f"expected first_term {expected}, found {first_term}; "
                "give the vocabulary size of the collection's encoder"
            )
        self.first_term = first_term
        if base is None:
            base = Dictionary.from_arrays(
                {"first_term": np.array([first_term], np.int64), **no_words()}
            )
        self._words = GrowingWords(base.arrays())
        self._document_frequency = base.document_frequency(np.arange(first_term, base.vocab_size))

    def __len__(self) -> int:
        return len(self._words)

    @property
    def vocab_size(self) -> int:
        """One more than the largest term id given so far."""
        return self.first_term + len(self._words)

    def add(self, words: Iterable[str]) -> NDArray[np.int32]:
        """The term ids of words, ``[words]`` int32; unknown words are added in their order.

        Raises:
            InputError: a word is no text (a lone surrogate), or there are `TERM_LIMIT` terms.
        """
        return np.fromiter(map(self.add_word, words), np.int32)

    def add_word(self, word: str) -> int:
        """The term id of one word, new if it was unknown; raises as `add`."""
        try:
            key = word.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"expected a word of Unicode text, found a lone surrogate in {word!r}; "
                "decode the corpus as UTF-8"
            ) from error
        ordinal = self._words.find(key)
        return self.first_term + (self._append(key) if ordinal < 0 else ordinal)

    def words_from(self, words: int) -> list[str]:
        """The words after the first ``words`` ones, in order."""
        return [self._words.word(ordinal) for ordinal in range(words, len(self))]

    def _append(self, key: bytes) -> int:
        if self.vocab_size >= TERM_LIMIT:
            raise InputError(
                f"expected at most {TERM_LIMIT} terms, found one more; "
                "split the corpus over several collections"
            )
        return self._words.append(key)

    def count_documents(self, terms: NDArray[np.integer[Any]]) -> None:
        """Add one document to the frequency of each term; ``terms`` names a term once a document.

        Raises:
            InputError: an id is not a word's.
        """
        if terms.size == 0:
            return
        if terms.min() < self.first_term or terms.max() >= self.vocab_size:
            raise InputError(
                f"expected term ids from {self.first_term} to {self.vocab_size - 1}, found "
                f"{terms.min()} to {terms.max()}; add the words first"
            )
        counts = np.bincount(terms - self.first_term, minlength=self._document_frequency.size)
        counts[: self._document_frequency.size] += self._document_frequency
        self._document_frequency = counts

    def take(self, other: Dictionary) -> NDArray[np.int32]:
        """Add the words of a dictionary, in its order, and its document frequencies.

        Returns:
            The term of each of its words here, ``[words]`` int32.

        Raises:
            InputError: there are more than `TERM_LIMIT` terms.
        """
        own = np.arange(other.first_term, other.vocab_size)
        terms = self.add(map(other.word, own.tolist()))
        counts = self.document_frequency().astype(np.int64)
        counts[terms - self.first_term] += other.document_frequency(own)
        self._document_frequency = counts
        return terms

    def document_frequency(self) -> NDArray[np.int32]:
        """How many documents hold each word, ``[words]`` int32: the array of a generation."""
        found = np.zeros(len(self), np.int32)
        found[: self._document_frequency.size] = self._document_frequency
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `Dictionary.from_arrays` takes, as copies that further words leave alone."""
        return {
            "first_term": np.array([self.first_term], np.int64),
            "document_frequency": self.document_frequency(),
            **self._words.arrays(),
        }

    def dictionary(self) -> Dictionary:
        """A read side of the words and frequencies so far, in memory."""
        return Dictionary.from_arrays(self.arrays())


def _check_arrays(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Check names, types, shapes and ends: all that costs nothing on a memory map."""
    for name, dtype in _ARRAYS.items():
        found = arrays.get(name)
        if found is None or found.dtype != dtype or found.ndim != 1:
            shape = "none" if found is None else f"{found.dtype} {found.shape}"
            raise CorruptionError(
                f"expected dictionary array {name} of {np.dtype(dtype)}, one dimension, found "
                f"{shape}; restore the folder from a copy"
            )
    offsets, slots = arrays["offsets"], arrays["slots"]
    good_ends = offsets.size > 0 and offsets[0] == 0 and offsets[-1] == arrays["text"].size
    power_of_two = slots.size > 0 and slots.size & (slots.size - 1) == 0
    first = arrays["first_term"]
    good_first = first.size == 1 and 0 <= first[0] <= TERM_LIMIT - max(offsets.size - 1, 0)
    counts = arrays.get("document_frequency", np.zeros(0, np.int32))
    if counts.dtype != np.int32 or counts.ndim != 1 or counts.size >= max(offsets.size, 1):
        raise CorruptionError(
            f"expected at most one int32 document frequency for each of {offsets.size - 1} words, "
            f"found {counts.dtype} {counts.shape}; restore the folder from a copy"
        )
    if not (good_ends and good_first and power_of_two and offsets.size <= slots.size):
        raise CorruptionError(
            f"expected dictionary arrays that fit together, found {arrays['text'].size} bytes of "
            f"text, {offsets.size} offsets, {slots.size} slots; restore the folder from a copy"
        )
