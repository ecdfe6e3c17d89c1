"""Names of terms: every range has its own, and each is read back as the term it was."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from letter_encoder import Letters

from tamis.index.errors import InputError
from tamis.index.segment.dictionary import DictionaryWriter
from tamis.retriever.vocabulary import (
    Vocabulary,
    Words,
    parse_piece,
    parse_word,
    piece_name,
    word_name,
)
from tamis.retriever.words.analysis import Analyzer, LexicalConfig
from tamis.retriever.words.fields import is_key


class Latents:
    """A range of numbered terms that no text spells."""

    size = 3

    def name(self, term):
        return f"~{term:04}"

    def term(self, name):
        return int(name[1:]) if name.startswith("~") and int(name[1:]) < self.size else None

    def terms_of(self, text):
        return set()


@pytest.fixture
def vocabulary():
    """26 letters, 3 latents, and the words tea, cup and pot, the last of which no document has."""
    writer = DictionaryWriter(29)
    tea, cup, _ = (writer.add_word(word) for word in ("tea", "cup", "pot"))
    writer.count_documents(np.array([tea, cup]))
    words = Words(writer.dictionary(), Analyzer(LexicalConfig()))
    return Vocabulary((Letters(), Latents(), words))


def test_each_range_begins_where_the_one_before_it_ends(vocabulary):
    assert vocabulary.size == 32
    names = [vocabulary.name(term) for term in (0, 25, 26, 28, 29, 30)]
    assert names == ["a", "z", "~0000", "~0002", "=tea", "=cup"]
    assert [vocabulary.term(name) for name in names] == [0, 25, 26, 28, 29, 30]


def test_what_no_range_has_is_no_term(vocabulary):
    for name in ("tea", "=pot", "~0003", "A", ""):
        assert vocabulary.term(name) is None
    for term in (-1, 32):
        with pytest.raises(InputError, match=f"expected a term from 0 to 31, found {term}"):
            vocabulary.name(term)


def test_a_text_holds_terms_of_every_range(vocabulary):
    assert vocabulary.terms_of("Teas") == {ord(letter) - 97 for letter in "teas"} | {29}


def test_a_vocabulary_without_ranges_is_empty():
    empty = Vocabulary(())
    assert (empty.size, empty.term("a"), empty.terms_of("a")) == (0, None, set())


@given(st.text(min_size=1), st.text(min_size=1))
def test_words_and_word_pieces_print_apart_and_parse_back(piece, word):
    word = word.lstrip("=") or "tea"
    assume(not is_key(word))  # in no word a colon comes after a letter, but in those of fields
    assert (parse_word(word_name(word)), parse_piece(word_name(word))) == (word, None)
    assert (parse_word(piece_name(piece)), parse_piece(piece_name(piece))) == (None, piece)
    assert word_name(word) != piece_name(piece)


@pytest.mark.parametrize(
    ("piece", "printed"), [("tea", "tea"), ("##a", "##a"), ("=", "=="), ("==", "===")]
)
def test_a_word_piece_that_begins_with_an_equals_sign_doubles_it(piece, printed):
    assert piece_name(piece) == printed
    assert word_name("tea") == "=tea"
