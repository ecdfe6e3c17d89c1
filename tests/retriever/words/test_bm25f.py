"""Truth: the formula of BM25F in a dozen lines of plain Python, and bm25s for one field."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tamis.index.errors import InputError
from tamis.retriever import Editor, LexicalConfig, Passage, Searcher, create_index, index_corpus
from tamis.retriever.builds.pieces import assemble, index_piece
from tamis.retriever.corpus.shares import Share
from tamis.retriever.first_stage.query_words import lexical_queries
from tamis.retriever.renewal import upgrade_index
from tamis.retriever.words.analysis import Analyzer
from tamis.retriever.words.fields import TextField, parse_text_fields

FIELDS = (TextField("title", 3.0, 0.7), TextField("text"), TextField("brand", 1.5, 0.0))
CONFIG = LexicalConfig("none", stop_words=False, k1=1.2, b=0.4, fields=FIELDS)
WORDS = [f"w{letter}" for letter in "abcdefghijkl"]


def documents(size=61, seed=5):
    rng = np.random.default_rng(seed)

    def said(most):
        return " ".join(rng.choice(WORDS, rng.integers(0, most + 1)))

    for n in range(size):
        brand = [said(2), said(1)] if n % 3 else said(2)
        fields = {"brand": brand} if n % 5 else {}
        yield Passage(f"d{n}", said(17) + " wx", said(4), fields)


def words_of(passage):
    """The words of each field of a document."""
    brand = passage.fields.get("brand", "")
    texts = passage.title, passage.text, " ".join([brand] if isinstance(brand, str) else brand)
    return [text.split() for text in texts]


def naive_bm25f(query, passages, k1=1.2, default_b=0.4):
    """BM25F of each document for each word of a query, from the formula."""
    split = {one.doc_id: words_of(one) for one in passages}
    means = [np.mean([len(fields[f]) for fields in split.values() if fields[f]]) for f in range(3)]
    scores = dict.fromkeys(split, 0.0)
    for word in query.split():
        df = sum(any(word in field for field in fields) for fields in split.values())
        idf = math.log(1 + (len(split) - df + 0.5) / (df + 0.5))
        for doc_id, fields in split.items():
            t = 0.0
            for one, words, mean in zip(FIELDS, fields, means, strict=True):
                b = default_b if one.b is None else one.b
                t += one.weight * words.count(word) / (1 - b + b * len(words) / mean)
            scores[doc_id] += idf * t * (k1 + 1) / (t + k1)
    return {doc_id: score for doc_id, score in scores.items() if score}


def scores(collection, query, **options):
    (found,) = Searcher.open(collection.path).search([query], 1000, exact=True, **options)
    return {hit.doc_id: hit.score for hit in found.hits}


def build(path, passages, config=CONFIG, **options):
    return index_corpus(passages, path, encoder=None, lexical=config, **options)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return build(tmp_path_factory.mktemp("fields") / "index", documents())


@pytest.mark.parametrize("query", ["wa", "wb wc wb", "wx wl wa we"])
def test_scores_are_those_of_the_formula_over_three_fields(collection, query):
    assert scores(collection, query) == pytest.approx(
        naive_bm25f(query, list(documents())), rel=1e-5
    )


def test_one_field_scores_as_bm25s(tmp_path):
    bm25s = pytest.importorskip("bm25s")
    config = LexicalConfig("none", stop_words=False, fields=(TextField("text"),))
    passages = list(documents())
    peer = bm25s.BM25(method="lucene", k1=config.k1, b=config.b)
    peer.index([one.text.split() for one in passages], show_progress=False)
    found = scores(build(tmp_path / "index", passages, config), "wa wc wx")

    expected = (config.k1 + 1) * peer.get_scores(["wa", "wc", "wx"])
    assert [found.get(one.doc_id, 0.0) for one in passages] == pytest.approx(expected, abs=1e-4)


def test_a_word_of_a_field_weighs_as_bm25_of_that_field(collection):
    titled = [(one.doc_id, words_of(one)[0]) for one in documents()]
    mean = np.mean([len(words) for _, words in titled if words])
    expected = {}
    for doc_id, words in titled:
        t = words.count("wa") / (1 - 0.7 + 0.7 * len(words) / mean)
        if t:
            expected[doc_id] = 2 * t * 2.2 / (t + 1.2)
    assert scores(collection, {"=title:wa": 2.0}) == pytest.approx(expected, rel=1e-5)


def test_boosts_add_what_the_word_weighs_in_the_field(collection):
    plain = scores(collection, "wa")
    some = next(iter(plain))
    idf = plain[some] / scores(collection, {"=wa": 1.0})[some]
    in_titles = scores(collection, {"=title:wa": 3 * idf})
    expected = {doc: score + in_titles.get(doc, 0.0) for doc, score in plain.items()}

    assert in_titles
    assert scores(collection, "wa", text_boosts={"title": 3}) == pytest.approx(expected, rel=1e-5)
    twice = {doc: 2 * score for doc, score in plain.items()}  # the main field's is the word's own
    assert scores(collection, "wa", text_boosts={"text": 1}) == pytest.approx(twice, rel=1e-5)
    assert scores(collection, "wa", text_boosts={"brand": 0}) == plain


def test_contributions_are_told_by_field(collection):
    (found,) = Searcher.open(collection.path).search(["wa wx"], 61, explain=True)
    by_id = {one.doc_id: words_of(one) for one in documents()}
    for hit in found.hits:
        for term in hit.matched_terms:
            holding = {
                field.name
                for field, words in zip(FIELDS, by_id[hit.doc_id], strict=True)
                if term.term[1:] in words
            }
            assert set(term.fields) == holding
            assert sum(term.fields.values()) == pytest.approx(term.contribution, rel=1e-6)


def test_added_changed_and_deleted_documents_score_as_in_one_build(tmp_path, collection):
    passages, more = list(documents()), list(documents(20, seed=6))
    path = tmp_path / "live"
    create_index(path, encoder=None, lexical=CONFIG)
    with Editor.open(path) as editor:
        editor.put(more[:10])
        editor.put(passages[30:])
        editor.put(passages[:30])
        editor.commit()
        editor.optimize()
    live = Searcher.open(path).collection
    for query in ("wa wx", "wb"):
        assert scores(live, query) == pytest.approx(scores(collection, query), rel=1e-6)
    assert live.settings.lexical.fields == collection.settings.lexical.fields
    with Editor.open(path) as editor:  # lengths stay what they were until the next optimize
        kept = scores(live, "wa")
        editor.put(more[10:])
        editor.delete([one.doc_id for one in more[10:]])
        editor.put(passages[10:20])
    assert scores(live, "wa") == pytest.approx(kept, rel=1e-6)
    assert not upgrade_index(path).analysed


def test_words_that_are_published_first_are_those_of_the_whole_build(tmp_path, monkeypatch):
    from letter_encoder import LetterEncoder

    from tamis.retriever import indexing

    monkeypatch.setattr(indexing, "CHUNK_DOCUMENTS", 20)
    options = {"encoder": LetterEncoder(), "lexical": CONFIG}
    first = index_corpus(documents(), tmp_path / "first", **options)
    later = index_corpus(documents(), tmp_path / "later", **options, words_first=False)
    for query in ("wa wx", {"=brand:wa": 1.0}):
        found, expected = (
            Searcher(LetterEncoder(), one, lexical_queries(one)).search([query], 61, exact=True)
            for one in (first, later)
        )
        assert found[0].hits
        assert [hit.score for hit in found[0].hits] == [hit.score for hit in expected[0].hits]


def test_pieces_that_are_assembled_score_as_one_build(tmp_path, collection):
    passages = list(documents())
    for number, share in enumerate((passages[:25], passages[25:]), 1):
        place = tmp_path / "pieces" / str(number)
        index_piece(share, place, Share(number, 2), encoder=None, lexical=CONFIG)
    whole = assemble([tmp_path / "pieces"], tmp_path / "whole")
    assert whole.settings.lexical.fields == collection.settings.lexical.fields
    for query in ("wa wx", "wb wc", {"=brand:wa": 1.0}):
        assert scores(whole, query) == pytest.approx(scores(collection, query), rel=1e-6)


def test_the_encoder_reads_the_fields_in_their_order(tmp_path):
    from letter_encoder import LetterEncoder

    read = []

    class Listening(LetterEncoder):
        def encode_documents(self, texts, **options):
            read.extend(texts)
            return super().encode_documents(texts, **options)

    config = LexicalConfig(fields=parse_text_fields("brand,title:3,text"))
    passage = Passage("a", "the text", "A title", {"brand": ["acme", "corp"]})
    index_corpus([passage], tmp_path / "built", encoder=Listening(), lexical=config)
    create_index(tmp_path / "live", encoder=Listening(), lexical=config)
    with Editor.open(tmp_path / "live", Listening()) as editor:
        editor.put([passage])
    assert read == ["acme corp A title the text"] * 2


def test_analysis_is_that_of_the_collection(tmp_path):
    config = LexicalConfig(fields=parse_text_fields("title,text"))
    path = tmp_path / "index"
    build(path, [Passage("a", "Owls fly.", "Running"), Passage("b", "He runs")], config)
    found = Searcher.open(path)
    assert Analyzer(config).analyze("running") == ["run"]
    assert scores(found.collection, {"=title:run": 1.0}).keys() == {"a"}
    assert scores(found.collection, "run").keys() == {"a", "b"}


@pytest.mark.parametrize(
    ("spelled", "said"),
    [
        ("title:x", "NAME:WEIGHT"),
        ("title:-1", "above 0"),
        ("title:0", "above 0"),
        ("title:nan", "above 0"),
        ("title:inf", "above 0"),
        ("title,text,title:2", "'title' twice"),
        ("vector,text", "'vector'"),
        ("x86,text", "'x86'"),
        ("title,,text", "''"),
        (",".join(f"f{n}x" for n in range(17)), "at most 16"),
    ],
)
def test_fields_that_cannot_be_are_refused(spelled, said):
    with pytest.raises(InputError, match=said):
        parse_text_fields(spelled)


def test_b_is_a_share():
    with pytest.raises(InputError, match="b from 0 to 1"):
        TextField("title", b=1.5)
