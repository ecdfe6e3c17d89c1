"""Truth: BM25 worked out by hand, the formula in plain Python, and bm25s on the same words."""

from __future__ import annotations

import gzip
import json
import math
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tamis.index.errors import InputError, MismatchError
from tamis.index.segment.dictionary import DictionaryWriter
from tamis.index.vectors import SparseVectors
from tamis.retriever.recorded import lexical_settings
from tamis.retriever.words.bm25f import Averages
from tamis.retriever.words.lexical import (
    Analyzer,
    LexicalConfig,
    LexicalQueries,
    WordCounter,
    idf,
    lengths,
    saturate,
)

FIRST_TERM = 1_009
TEXTS = [
    "Tea and coffee: tea first.",
    "",
    "A cup of COFFEE",
    "The cup, the pot, the tea pot",
    "the of",
]


def term_frequencies(texts, analyzer, dictionary):
    """One batch through a counter of its own."""
    return WordCounter(analyzer, dictionary).count(texts)


def built(texts, config=None):
    """The document vectors and the query side of a small collection."""
    config = config or LexicalConfig()
    analyzer, writer = Analyzer(config), DictionaryWriter(FIRST_TERM)
    counts = WordCounter(analyzer, writer).count(texts)
    documents = saturate(counts, float(lengths(counts).mean()), config)
    return documents, LexicalQueries(analyzer, writer.dictionary(), len(texts), config.weight)


def scored(documents, queries):
    size = max(documents.vocab_size, queries.vocab_size)
    matrices = (
        SparseVectors(v.offsets, v.terms, v.weights, size).to_scipy() for v in (documents, queries)
    )
    of_documents, of_queries = matrices
    return (of_queries @ of_documents.T).toarray()


def test_counts_and_document_frequencies_are_those_of_the_words():
    writer = DictionaryWriter(FIRST_TERM)
    counts = term_frequencies(TEXTS, Analyzer(LexicalConfig()), writer)
    found = writer.dictionary()

    words = [{found.word(t): int(n) for t, n in row.items()} for row in counts.to_dicts()]
    assert words == [
        {"tea": 2, "coffe": 1, "first": 1},
        {},
        {"cup": 1, "coffe": 1},
        {"cup": 1, "pot": 2, "tea": 1},
        {},
    ]
    assert lengths(counts).tolist() == [4, 0, 2, 4, 0]
    assert found.document_frequency(
        found.lookup_many(["tea", "coffe", "pot", "milk"])
    ).tolist() == [
        2,
        2,
        1,
        0,
    ]
    assert counts.vocab_size == found.vocab_size


@given(st.lists(st.text("ab c1-é水", max_size=30), max_size=12), st.integers(1, 5))
def test_batches_of_any_size_count_as_one(texts, size):
    analyzer = Analyzer(LexicalConfig("none"))
    writer, at_once = DictionaryWriter(FIRST_TERM), DictionaryWriter(FIRST_TERM)
    counter = WordCounter(analyzer, writer)
    rows = []
    for start in range(0, len(texts), size):
        rows += counter.count(texts[start : start + size]).to_dicts()

    assert rows == term_frequencies(texts, analyzer, at_once).to_dicts()
    truth = [Counter(at_once.add(analyzer.analyze(text)).tolist()) for text in texts]
    assert rows == truth
    assert writer.dictionary().fingerprint == at_once.dictionary().fingerprint
    assert writer.document_frequency().tolist() == at_once.document_frequency().tolist()


def test_forgetting_chunks_changes_nothing():
    texts = [f"tea {'x' * 40} w{i % 7} cup-{i}" for i in range(50)]
    expected = term_frequencies(texts, Analyzer(LexicalConfig()), DictionaryWriter()).to_dicts()
    counter = WordCounter(Analyzer(LexicalConfig()), DictionaryWriter(), 9)
    found = []
    for text in texts:
        found += counter.count([text]).to_dicts()
        assert len(counter._seen) <= 9
    assert counter._seen
    counter.forget()
    assert not counter._seen
    assert found == expected


def test_saturation_is_the_number_worked_by_hand():
    # tf 2, length 4, mean length 2: 2 * 2.2 / (2 + 1.2 * (1 - 0.75 + 0.75 * 2)) = 4.4 / 4.1
    counts = SparseVectors.from_dicts([{0: 2.0, 1: 1.0, 2: 1.0}, {}, {0: 1.0, 2: 1.0}], 3)
    found = saturate(counts, 2.0, LexicalConfig(k1=1.2, b=0.75))

    assert found.to_dicts()[0][0] == pytest.approx(4.4 / 4.1, rel=1e-6)
    assert found.to_dicts()[0][1] == pytest.approx(2.2 / 3.1, rel=1e-6)
    assert found.to_dicts()[2][0] == pytest.approx(1.0, rel=1e-6)
    assert found.to_dicts()[1] == {}


@pytest.mark.parametrize(("k1", "b"), [(0.0, 0.4), (0.9, 0.0), (2.5, 1.0)])
def test_saturation_follows_its_settings_to_their_ends(k1, b):
    counts = SparseVectors.from_dicts([{0: 3.0, 5: 1.0}, {5: 2.0}], 7)
    found = saturate(counts, 3.0, LexicalConfig(k1=k1, b=b)).to_dicts()

    for row, (length, frequencies) in enumerate([(4, {0: 3, 5: 1}), (2, {5: 2})]):
        for term, tf in frequencies.items():
            truth = tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / 3))
            assert found[row][term] == pytest.approx(truth, rel=1e-6)


def test_idf_is_the_number_worked_by_hand_and_never_falls_to_zero():
    found = idf(np.array([0, 1, 3, 10]), 10)

    assert found[1] == pytest.approx(math.log(1 + 9.5 / 1.5), rel=1e-6)
    assert found[2] == pytest.approx(math.log(1 + 7.5 / 3.5), rel=1e-6)
    assert (np.diff(found) < 0).all()
    assert found[3] > 0


def test_a_document_frequency_above_the_number_of_documents_is_refused():
    with pytest.raises(InputError, match="up to 3, found 4; read both from one generation"):
        idf(np.array([1, 4]), 3)


def test_a_query_weighs_its_known_words_and_repeats_them():
    _, queries = built(TEXTS)
    found = queries.encode(["tea TEA milk pots", "", "milk", "the"])
    of = queries.dictionary.lookup

    assert [sorted(row) for row in found.to_dicts()] == [sorted([of("tea"), of("pot")]), [], [], []]
    assert found.to_dicts()[0][of("tea")] == pytest.approx(2 * math.log(1 + 3.5 / 2.5), rel=1e-6)
    assert found.to_dicts()[0][of("pot")] == pytest.approx(math.log(1 + 4.5 / 1.5), rel=1e-6)


def test_the_weight_multiplies_and_zero_turns_words_off():
    _, queries = built(TEXTS, LexicalConfig(weight=0.5))
    usual = queries.encode(["tea cup"])

    np.testing.assert_allclose(queries.encode(["tea cup"], 2.0).weights, 4 * usual.weights)
    assert queries.encode(["tea cup", "pot"], 0.0).to_dicts() == [{}, {}]
    assert queries.encode(["tea cup", "pot"], 1e-60).to_dicts() == [{}, {}]
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="0 turns words off"):
            queries.encode(["tea"], weight)


def test_words_whose_documents_are_gone_are_left_out():
    writer = DictionaryWriter(FIRST_TERM)
    writer.add(["tea", "cup"])
    writer.count_documents(np.array([FIRST_TERM]))
    queries = LexicalQueries(Analyzer(LexicalConfig()), writer.dictionary(), 1)

    assert queries.encode(["cup tea"]).terms.tolist() == [FIRST_TERM]


def test_scores_do_not_depend_on_how_the_collection_was_cut():
    rng = np.random.default_rng(3)
    texts = [" ".join(f"w{w}" for w in rng.zipf(1.5, 30) % 97) for _ in range(61)]
    documents, queries = built(texts)
    analyzer, writer = Analyzer(LexicalConfig()), DictionaryWriter(FIRST_TERM)
    parts = [term_frequencies(texts[:20], analyzer, writer)]
    writer = DictionaryWriter(FIRST_TERM, base=writer.dictionary())
    parts.append(term_frequencies(texts[20:], analyzer, writer))
    mean = sum(int(lengths(part).sum()) for part in parts) / len(texts)
    cut = [saturate(part, mean, LexicalConfig()) for part in parts]
    later = LexicalQueries(analyzer, writer.dictionary(), len(texts))
    asked = ["w1 w5 w9", "w2 w2 w80"]

    whole = scored(documents, queries.encode(asked))
    split = np.hstack([scored(part, later.encode(asked)) for part in cut])
    np.testing.assert_array_equal(whole, split)


def bm25s_scores(texts, queries, config):
    """Scores of bm25s for the words that the analyser gives, times the constant it leaves out."""
    bm25s = pytest.importorskip("bm25s")
    analyzer = Analyzer(config)
    peer = bm25s.BM25(method="lucene", k1=config.k1, b=config.b)
    peer.index([analyzer.analyze(text) for text in texts], show_progress=False)
    words = [
        [word for word in analyzer.analyze_query(query) if word in peer.vocab_dict]
        for query in queries
    ]
    nothing = np.zeros(len(texts), np.float32)
    return (config.k1 + 1) * np.stack([peer.get_scores(w) if w else nothing for w in words])


@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.5, 0.75), (1.2, 0.0)])
def test_scores_equal_those_of_bm25s(k1, b):
    rng = np.random.default_rng(11)
    texts = [
        " ".join(f"word{w}s" for w in rng.zipf(1.3, rng.integers(0, 70)) % 503) for _ in range(307)
    ]
    queries = [" ".join(f"Word{w}" for w in rng.zipf(1.3, 9) % 503) for _ in range(41)]
    config = LexicalConfig(k1=k1, b=b)
    documents, asked = built([*texts, *TEXTS], config)

    found = scored(documents, asked.encode(queries))

    assert np.count_nonzero(found) > 1_000
    np.testing.assert_allclose(
        found, bm25s_scores([*texts, *TEXTS], queries, config), atol=1e-4, rtol=0
    )


@pytest.mark.slow
@pytest.mark.skipif(
    "TAMIS_DATA" not in os.environ, reason="no collections are installed, see TAMIS_DATA"
)
def test_scores_equal_those_of_bm25s_on_every_public_collection():
    for folder in sorted(Path(os.environ["TAMIS_DATA"], "eval").iterdir()):
        texts = [f"{d.get('title') or ''} {d['text']}" for d in _lines(folder / "corpus.jsonl.gz")]
        queries = [query["text"] for query in _lines(folder / "queries.jsonl")][:500]
        documents, asked = built(texts)
        peer = bm25s_scores(texts, queries, LexicalConfig())
        difference = np.abs(scored(documents, asked.encode(queries)) - peer).max()
        assert difference < 1e-4, folder.name


def _lines(path):
    stored = path.read_bytes()
    text = gzip.decompress(stored) if path.suffix == ".gz" else stored
    return [json.loads(line) for line in text.splitlines()]


def test_a_collection_of_no_words_scores_nothing():
    documents, queries = built(["", "the", "of a"])

    assert documents.to_dicts() == [{}, {}, {}]
    assert queries.encode(["tea", ""]).to_dicts() == [{}, {}]


def test_words_without_an_average_length_are_refused():
    counts = SparseVectors.from_dicts([{0: 1.0}], 1)

    for average in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="average length above 0"):
            saturate(counts, average, LexicalConfig())


def test_the_query_side_opens_from_a_manifest():
    _, queries = built(TEXTS, LexicalConfig("none", weight=0.25))
    settings = lexical_settings(queries.analyzer.config, queries.dictionary, Averages(3.0), 0)
    again = LexicalQueries.from_settings(settings, queries.dictionary, len(TEXTS))

    assert again.encode(["coffee tea"]).to_dicts() == queries.encode(["coffee tea"]).to_dicts()
    assert again.weight == 0.25
    with pytest.raises(MismatchError):
        LexicalQueries.from_settings(
            structs.replace(settings, analyzer=99), queries.dictionary, len(TEXTS)
        )


def test_collections_that_are_analysed_alike_remember_their_queries_words_once():
    settings = lexical_settings(LexicalConfig(k1=1.2), built(TEXTS)[1].dictionary, Averages(2.0), 0)
    other = structs.replace(settings, k1=0.5)
    of = [
        LexicalQueries.from_settings(one, built(TEXTS)[1].dictionary, len(TEXTS)).analyzer
        for one in (settings, settings, other)
    ]
    assert of[0] is of[1]
    assert of[0] is not of[2]
