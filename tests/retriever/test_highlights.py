"""Which words are marked, and which stretch of a text is shown."""

import numpy as np
import pytest
import tokenizers

from tamis.retriever import (
    Hit,
    LexicalConfig,
    MatchedTerm,
    Passage,
    Searcher,
    highlights,
    index_corpus,
)
from tamis.retriever.highlights import SNIPPET_CHARACTERS, highlight
from tamis.retriever.models.description import EncoderDescription
from tamis.retriever.models.inference_free import TableQueryEncoder
from tamis.retriever.models.tokenizer import Tokenizer

PIECES = ["[UNK]", "sie", "##ve", "##s", "owl", "sift", "##ing", "drum", "東", "京"]


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    path = tmp_path_factory.mktemp("highlights") / "index"
    passages = [Passage("1", "a drum sieve"), Passage("2", "sifting flour")]
    collection = index_corpus(passages, path, encoder=None, lexical=LexicalConfig())
    lexical = Searcher.open(path).lexical
    return Searcher(_word_pieces(), collection, lexical)


def _word_pieces():
    vocabulary = {piece: term for term, piece in enumerate(PIECES)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = tokenizers.normalizers.BertNormalizer()
    backend.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    description = EncoderDescription("pieces", "f", "none", len(PIECES), 512, "table")
    return TableQueryEncoder(Tokenizer(backend), np.ones(len(PIECES), np.float32), description)


def marked(searcher, text, *terms, expansion=False):
    matched = tuple(MatchedTerm(term, 1.0, 1.0, 1.0, expansion) for term in terms)
    spans = highlight(searcher, Hit("1", 1.0, 1, {"text": text}, matched))["text"]
    return [span.text for span in spans if span.match], "".join(span.text for span in spans)


def test_stemmed_words_mark_every_form_as_a_whole(searcher):
    found, text = marked(searcher, "Sieving: two SIEVES, one sieve-maker.", "=siev")
    assert found == ["Sieving", "SIEVES", "sieve"]
    assert text == "Sieving: two SIEVES, one sieve-maker."


def test_pieces_mark_words_that_they_cover_by_half(searcher):
    assert marked(searcher, "sieves owl", "sie", "##ve")[0] == ["sieves"]
    assert marked(searcher, "sifting owl", "##ing")[0] == []
    assert marked(searcher, "sifting owl", "sift", "owl")[0] == ["sifting", "owl"]


def test_expansions_mark_nothing(searcher):
    assert marked(searcher, "a drum", "drum", expansion=True)[0] == []


def test_scripts_without_spaces_mark_the_characters_found(searcher):
    assert marked(searcher, "私は東京に住む", "東", "京")[0] == ["東京"]
    assert marked(searcher, "私は東京に住む", "=東京")[0] == ["東京"]


def test_underscores_join_no_words(searcher):
    assert marked(searcher, "Structural_owl_house", "=owl")[0] == ["owl"]


def test_a_long_text_shows_the_stretch_with_most_of_the_words(searcher):
    filler = "flour and water and salt " * 30
    text = f"drum {filler}here a drum met an owl by a sieve. {filler}"
    found, shown = marked(searcher, text, "=drum", "=owl", "=siev")
    assert found == ["drum", "owl", "sieve"]
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert len(shown) <= SNIPPET_CHARACTERS + 2
    assert shown.strip("…") in text
    assert text[text.index(shown.strip("…")) - 1] == " "


def test_a_long_text_shows_one_word_that_counts_before_two_that_do_not(searcher):
    filler = "flour and water and salt " * 30
    text = f"an owl by a drum {filler}here a sieve. {filler}"
    matched = tuple(
        MatchedTerm(term, 1.0, 1.0, worth, expansion=False)
        for term, worth in (("=siev", 5.0), ("=owl", 2.0), ("=drum", 2.5))
    )
    spans = highlight(searcher, Hit("1", 9.5, 1, {"text": text}, matched))["text"]
    assert [span.text for span in spans if span.match] == ["sieve"]


def test_words_that_hardly_count_are_not_marked(searcher):
    def found(*worths):
        terms = ("=owl", "=drum", "=flour", "=salt")
        matched = tuple(
            MatchedTerm(term, 1.0, 1.0, worth, expansion=False)
            for term, worth in zip(terms, worths, strict=False)
        )
        text = "owl drum flour salt"
        spans = highlight(searcher, Hit("1", sum(worths), 1, {"text": text}, matched))["text"]
        return [span.text for span in spans if span.match]

    assert found(9.0, 0.6, 0.4) == ["owl", "drum"]  # .06 and .04 of the score
    assert found(0.9, 9.0, 0.1) == ["owl", "drum"]
    # forty terms of equal weight, as a long query has: each makes .025 of the score
    terms = tuple(MatchedTerm(f"=w{n}", 1.0, 1.0, 1.0, expansion=False) for n in range(40))
    hit = Hit("1", 40.0, 1, {"text": "w3 stone w7"}, terms)
    assert [one.text for one in highlight(searcher, hit)["text"] if one.match] == ["w3", "w7"]


def test_a_long_text_without_words_shows_its_beginning(searcher):
    found, shown = marked(searcher, "flour " * 200)
    assert found == []
    assert shown.startswith("flour flour")
    assert shown.endswith("flour…")


def test_a_long_word_is_cut(searcher):
    assert marked(searcher, "x" * 5000)[1] == "x" * SNIPPET_CHARACTERS + "…"


def test_only_words_of_usual_length_are_remembered(searcher):
    remembered = highlights._stems_of.cache_info
    before = remembered().currsize
    assert marked(searcher, f"quagga {'x' * 5000}", "=quagga")[0] == ["quagga"]
    assert remembered().currsize - before == 1


def test_as_many_words_are_remembered_as_it_says(searcher):
    for text in range(5):
        words = " ".join(f"w{text}x{word}" for word in range(2000))
        assert marked(searcher, f"quagga {words}", "=quagga")[0] == ["quagga"]
    assert highlights._stems_of.cache_info().currsize == highlights.KNOWN_WORDS


def test_fields_that_are_missing_or_no_text_are_left_out(searcher):
    hit = Hit("1", 1.0, 1, {"title": "", "text": 5})
    assert highlight(searcher, hit) == {}
