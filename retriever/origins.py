"""Where vectors come from: made of a document's text, or brought by the document.

Formats before 3 do not record it; there a vector is of its text where it weighs the text's words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tamis.index.generations.parts import Origin
from tamis.index.segment.dictionary import DictionaryWriter
from tamis.retriever.words.analysis import stemmer_version
from tamis.retriever.words.lexical import LexicalConfig, WordCounter, lengths, saturate
from tamis.retriever.words.several_languages import analyzer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tamis.index.generations.settings import LexicalSettings
    from tamis.index.segment.dictionary import Dictionary
    from tamis.index.vectors import SparseVectors

_NEAR = 0.1  # of a whole number


class Recognition:
    """Tells vectors that documents brought from those that were made of their texts."""

    def __init__(self, made: LexicalSettings, words: Dictionary) -> None:
        """Take how words were made, and the words."""
        self._made, self._words = made, words
        self._config = LexicalConfig.of(made)
        self._same_stems = made.stemmer == stemmer_version()
        self._counter: WordCounter | None = None

    def given(
        self, texts: Sequence[str], origins: NDArray[np.uint8], vectors: SparseVectors | None
    ) -> NDArray[np.bool_]:
        """Which documents brought their vectors: ``[texts]``.

        Args:
            texts: of the documents.
            origins: ``[texts]``, what is recorded.
            vectors: ``[texts]``; None where all are made of texts.
        """
        given: NDArray[np.bool_] = origins == Origin.GIVEN
        unknown = np.flatnonzero(origins == Origin.UNKNOWN)
        if unknown.size and vectors is not None:
            chosen = [texts[row] for row in unknown.tolist()]
            of_texts = self._of_texts(chosen, vectors.take(unknown))
            given[unknown] = ~of_texts
        return given

    def _of_texts(self, texts: Sequence[str], vectors: SparseVectors) -> NDArray[np.bool_]:
        """Which vectors weigh the words of their texts, as this collection weighs them."""
        words = vectors.where(
            vectors.terms >= self._words.first_term, vectors.terms, vectors.vocab_size
        )
        if self._made.average_length == 0:  # no text with words has come yet
            without: NDArray[np.bool_] = np.diff(words.offsets) == 0
            return without
        if self._counter is None:
            dictionary = DictionaryWriter(self._words.first_term, self._words)
            self._counter = WordCounter(analyzer_of(self._config), dictionary)
        counts = self._counter.count(texts)
        expected, of_words = (
            saturate(counts, self._made.average_length, self._config),
            lengths(counts),
        )
        return np.array(
            [
                _same(words.row(row), expected.row(row))
                or (not self._same_stems and self._may_weigh(words.row(row)[1], int(of_words[row])))
                for row in range(len(texts))
            ],
            np.bool_,
        )

    def _may_weigh(self, weights: NDArray[np.float32], length: int) -> bool:
        """Whether weights can be those of a text of so many words, whichever stems they have."""
        k1, b = self._config.k1, self._config.b
        if k1 == 0:
            return weights.size <= length and bool((weights == 1).all())
        discount = k1 * (1 - b + b * length / self._made.average_length)
        counts = weights * discount / (k1 + 1 - weights.astype(np.float64))
        whole = np.rint(counts)
        return bool((np.abs(counts - whole) < _NEAR).all()) and int(whole.sum()) == length


def _same(
    one: tuple[NDArray[np.int32], NDArray[np.float32]],
    other: tuple[NDArray[np.int32], NDArray[np.float32]],
) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
