"""The stemmed words of a text, told from its word pieces, for the lexical channel in training.

Text travels as word pieces alone. A word is a piece and the ``##`` pieces that follow it; the
table maps the sequence of its pieces to the words that the analyser makes of it. What the analyser
joins over punctuation (``covid-19``) gives its parts only. Needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from tamis.index.errors import FormatError
from tamis.retriever.models.tensor_files import save_arrays
from tamis.retriever.training.data.token_rows import TokenRows, row_hashes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.retriever.models.tokenizer import Tokenizer
    from tamis.retriever.words.analysis import Analyzer

CONTINUES = "##"


@dataclass(frozen=True, slots=True, eq=False)
class WordTable:
    """From the pieces of a word to the number of its stem.

    Attributes:
        continues: ``[vocabulary]`` bool, pieces that go on with the word before them.
        hashes: ``[words]`` uint64, rising: of the pieces of each known word (`row_hashes`).
        stems: ``[words]`` int32, the stem's number; -1 where the word is a stop word.
        stem_count: one more than the largest number.
    """

    continues: NDArray[np.bool_]
    hashes: NDArray[np.uint64]
    stems: NDArray[np.int32]
    stem_count: int

    def words(self, rows: TokenRows) -> TokenRows:
        """The stem numbers of each text, in order, repeated as they are; unknown words left out."""
        words, row_of_word = _split(rows, self.continues)
        stems = self._look_up(row_hashes(words))
        known = stems >= 0
        counts = np.bincount(row_of_word[known], minlength=len(rows))
        return TokenRows(np.concatenate([[0], np.cumsum(counts)]), stems[known])

    def _look_up(self, hashes: NDArray[np.uint64]) -> NDArray[np.int32]:
        if self.hashes.size == 0:
            return np.full(hashes.size, -1, np.int32)
        at = np.minimum(np.searchsorted(self.hashes, hashes), self.hashes.size - 1)
        return np.where(self.hashes[at] == hashes, self.stems[at], np.int32(-1))

    def save(self, path: Path) -> None:
        """Write the table as safetensors."""
        tensors: dict[str, NDArray[Any]] = {
            "continues": self.continues.astype(np.uint8),
            "hashes": self.hashes,
            "stems": self.stems,
            "stem_count": np.array([self.stem_count]),
        }
        save_arrays(tensors, path)

    @staticmethod
    def load(path: Path) -> WordTable:
        """Read what `save` wrote.

        Raises:
            FormatError: the file is missing or something else.
        """
        try:
            tensors = load_file(str(path))
            return WordTable(
                tensors["continues"].astype(bool),
                tensors["hashes"],
                tensors["stems"],
                int(tensors["stem_count"][0]),
            )
        except (OSError, SafetensorError, KeyError) as error:
            raise FormatError(
                f"{path}: expected a table of words, found none ({error!r}); prepare the data again"
            ) from error


def build_word_table(
    corpora: list[TokenRows], tokenizer: Tokenizer, analyzer: Analyzer, *, least_count: int = 1
) -> WordTable:
    """A table of every word that occurs in the corpora.

    Args:
        corpora: tokenised with ``tokenizer``.
        tokenizer: its continuing pieces begin with ``##``; in others every piece is a word.
        analyzer: of the lexical channel.
        least_count: rarer words are left out.
    """
    strings = [tokenizer.piece(term) or "" for term in range(tokenizer.size)]
    continues = np.array([piece.startswith(CONTINUES) for piece in strings])
    words, _ = _split(TokenRows.concatenate(corpora), continues)
    hashes, first, counts = np.unique(row_hashes(words), return_index=True, return_counts=True)
    common = counts >= least_count
    hashes, first = hashes[common], first[common]
    stems, stem_count = _stems(words.take(first), strings, analyzer)
    return WordTable(continues, hashes, stems, stem_count)


def _split(rows: TokenRows, continues: NDArray[np.bool_]) -> tuple[TokenRows, NDArray[np.int64]]:
    """One row a word, and the text that each word stands in."""
    starts = ~continues[rows.ids]
    starts[rows.offsets[:-1][rows.lengths > 0]] = True
    begins = np.flatnonzero(starts)
    row_of_token = np.repeat(np.arange(len(rows)), rows.lengths)
    offsets = np.append(begins, rows.ids.size).astype(np.int64)
    return TokenRows(offsets, rows.ids), row_of_token[begins]


def _stems(
    words: TokenRows, strings: list[str], analyzer: Analyzer
) -> tuple[NDArray[np.int32], int]:
    """The stem of each word, by number of first appearance, and how many stems there are."""
    numbers: dict[str, int] = {}
    stems = np.full(len(words), -1, np.int32)
    for i in range(len(words)):
        pieces = [strings[term].removeprefix(CONTINUES) for term in words.row(i)]
        made = analyzer.analyze("".join(pieces))
        if made:
            stems[i] = numbers.setdefault(made[0], len(numbers))
    return stems, len(numbers)
