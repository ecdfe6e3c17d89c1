"""Baselines and fused systems on a tiny corpus, against values worked out apart from them."""

from __future__ import annotations

import json
import math
import os

import numpy as np
import pytest

from tamis.eval.baselines import Bm25System, DenseRanker, DenseSystem, batched
from tamis.eval.datasets import load_dataset
from tamis.eval.encoders import HeaviestTerms, Remembered, heaviest
from tamis.eval.hybrid import ByRank, ByScore, FeedbackSystem, FusedSystem
from tamis.eval.ranker import Feedback
from tamis.eval.systems import IndexedSystem, TamisSystem, work_folder
from tamis.index.errors import InputError
from tamis.index.vectors import SparseVectors
from tamis.retriever.corpus.chunking import Chunking
from tamis.retriever.fusion import rrf
from tamis.retriever.models.description import read_checkpoint
from tamis.retriever.models.encoder import SparseEncoder, load_query_encoder
from tamis.retriever.searcher import Searcher
from tamis.retriever.words.lexical import LexicalConfig

WORDS = TamisSystem(None, LexicalConfig(), "words")


class FixedRanker:
    """Rankings known beforehand."""

    def __init__(self, ranking: dict[str, float]) -> None:
        self.ranking = ranking
        self.fed: list[list[str]] = []

    def rank(self, queries, depth):
        return [dict(list(self.ranking.items())[:depth]) for _ in queries]

    def rank_with_feedback(self, queries, feedback, rule, depth):
        self.fed += [list(documents) for documents in feedback]
        return self.rank(queries, depth)

    def timed(self, query, k):
        return {"retrieve_ms": 2.0}

    def facts(self):
        return {"index_bytes": 10, "index_bytes_per_document": 2.0}

    def distributions(self):
        return {}


class FixedSystem:
    """A system that prepares a `FixedRanker`."""

    def __init__(self, name: str, ranking: dict[str, float]) -> None:
        self.name = name
        self.ranker = FixedRanker(ranking)

    def settings(self):
        return {"fixed": self.name}

    def prepare(self, dataset, work):
        return self.ranker


A = {"a": 9.0, "b": 5.0, "c": 1.0}
B = {"c": 3.0, "d": 2.0, "a": 1.0}


def test_bm25_equals_the_formula(beir, tmp_path):
    ranker = Bm25System().prepare(load_dataset(str(beir)), tmp_path)
    (found,) = ranker.rank(["sifting flour"], 10)
    # d2 alone holds "sift" and "flour", once each, among 3 documents of 6, 5 and 5 stems
    idf = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    tf = 1 / (1 + 0.9 * (1 - 0.4 + 0.4 * 5 / np.mean([6, 5, 5])))
    assert found == pytest.approx({"d2": 2 * idf * tf}, rel=1e-5)


def test_bm25_finds_nothing_without_a_known_word(beir, tmp_path):
    ranker = Bm25System().prepare(load_dataset(str(beir)), tmp_path)
    assert ranker.rank(["the of", "zymurgy", ""], 10) == [{}, {}, {}]
    assert set(ranker.timed("drum", 5)) == {"encode_ms", "retrieve_ms"}
    assert ranker.facts()["index_bytes"] > 0


def test_the_searcher_ranks_and_indexes_once(beir, tmp_path):
    dataset = load_dataset(str(beir))
    first = WORDS.prepare(dataset, tmp_path)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    again = WORDS.prepare(dataset, tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    queries = ["drum sieve", "sifting flour"]
    assert first.rank(queries, 10) == again.rank(queries, 10)
    assert next(iter(again.rank(queries, 10)[0])) == "d1"
    assert list(again.rank(queries, 10)[1]) == ["d2"]
    facts = again.facts()
    assert facts["documents_per_s"] > 0
    assert facts["query_terms"] == {"learned": 0.0, "lexical": 2.0}
    # document terms by hand: both "drum" (in 2) and "siev" (2), "sift" (1) and "flour" (1)
    # p_q is 1/2 for each of the four, so FLOPS is (2 + 2 + 1 + 1) / 3 / 2
    assert facts["flops"] == {"learned": 0.0, "lexical": 1.0}
    assert again.distributions() == {
        "words of a document": [5, 5, 4],
        "words of a query": [2, 2],
    }
    assert {"encode_ms", "retrieve_ms", "fetch_ms"} <= set(again.timed("drum", 2))


def test_another_setting_or_corpus_is_another_index(beir, tmp_path):
    dataset = load_dataset(str(beir))
    work = tmp_path / "work"
    WORDS.prepare(dataset, work)
    TamisSystem(None, LexicalConfig(k1=1.2), "other").prepare(dataset, work)
    with (beir / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "d5", "text": "added"}\n')
    WORDS.prepare(dataset, work)
    assert len([path for path in work.iterdir() if path.is_dir()]) == 3


def test_an_index_of_another_corpus_is_refused(beir, tmp_path):
    dataset = load_dataset(str(beir))
    WORDS.prepare(dataset, tmp_path / "work")
    (folder,) = (path for path in (tmp_path / "work").iterdir() if path.is_dir())
    searched = IndexedSystem(Searcher.open(folder), "mine")
    (ranking, _) = searched.prepare(dataset, tmp_path).rank(list(dataset.queries.values()), 1)
    assert list(ranking) == ["d1"]
    with (beir / "qrels/test.tsv").open("a") as file:
        file.write("".join(f"q1\tx{n}\t1\n" for n in range(9)))
    with pytest.raises(InputError, match=r"without 9 of its 12 judged documents, such as 'x0'"):
        searched.prepare(load_dataset(str(beir)), tmp_path)


def test_fused_systems_join_their_parts(tmp_path):
    parts = (FixedSystem("a", A), FixedSystem("b", B))
    by_rank = FusedSystem(parts, ByRank(10)).prepare(None, tmp_path)
    assert by_rank.rank(["q"], 3)[0] == dict(list(rrf([A, B], k=10).items())[:3])
    by_score = FusedSystem(parts, ByScore((1.0, 3.0))).prepare(None, tmp_path)
    assert by_score.rank(["q"], 9)[0] == pytest.approx({"c": 3.0, "d": 1.5, "a": 1.0, "b": 0.5})
    assert by_rank.timed("q", 3) == {"retrieve_ms": 4.0}
    assert by_rank.facts() == {"index_bytes": 20, "index_bytes_per_document": 4.0}


def test_feedback_takes_the_first_answers(tmp_path):
    base = FixedSystem("base", A)
    FeedbackSystem(base, Feedback(documents=2)).prepare(None, tmp_path).rank(["q"], 3)
    assert base.ranker.fed == [["a", "b"]]


def test_fusing_before_feedback_chooses_the_documents_it_takes(tmp_path):
    base, other = FixedSystem("base", A), FixedSystem("other", B)
    fusion, rule = ByScore((0.1, 0.9)), Feedback(documents=1)
    for system in (
        FeedbackSystem(base, rule),
        FeedbackSystem(base, rule, other, fusion, "before"),
    ):
        system.prepare(None, tmp_path).rank(["q"], 3)
    assert base.ranker.fed == [["a"], ["c"]]


def test_feedback_needs_a_system_of_vectors(beir, tmp_path):
    with pytest.raises(InputError, match="found bm25"):
        FeedbackSystem(Bm25System()).prepare(load_dataset(str(beir)), tmp_path)


class LiteralEncoder:
    """Word pieces of the bundled tokenizer, each once: an encoder without a network."""

    location = "default"

    def __init__(self):
        self.queries = load_query_encoder()
        self.description = self.queries.description
        self.encode_queries = self.queries.encode_queries

    def count_tokens(self, texts):
        return [2 + len(text.split()) for text in texts]

    def query_side(self):
        return self.queries

    def encode_documents(self, texts, *, progress=None):
        rows = [dict.fromkeys(self.queries.vocabulary.terms_of(text), 1.0) for text in texts]
        return SparseVectors.from_dicts(rows, self.description.vocab_size)


def test_sparse_feedback_adds_the_learned_terms_of_documents(beir, tmp_path):
    dataset = load_dataset(str(beir))
    ranker = TamisSystem(LiteralEncoder(), LexicalConfig()).prepare(dataset, tmp_path / "work")
    (plain,) = ranker.rank(["flour"], 3)
    (fed,) = ranker.rank_with_feedback(["flour"], [["d1"]], Feedback(beta=0.5), 3)
    assert fed["d1"] > plain.get("d1", 0.0) + 1  # d1 itself holds no flour
    (unfed,) = ranker.rank_with_feedback(["flour"], [[]], Feedback(), 3)
    assert unfed == pytest.approx(plain)


def test_passages_score_their_document_by_the_best_one(beir, tmp_path):
    """Against passages that are documents of their own, grouped by hand."""
    path = beir / "corpus.jsonl"
    text = "A drum is struck. " + "Nothing to see here at all. " * 3 + "A fine sieve sifts flour."
    path.write_text(path.read_text() + json.dumps({"_id": "long", "text": text}) + "\n")
    dataset = load_dataset(str(beir))
    system = TamisSystem(None, LexicalConfig(), chunking=Chunking(8))
    ranker = system.prepare(dataset, tmp_path / "work")
    assert system.settings()["chunk"] == {"tokens": 8, "overlap": 0}
    found = ranker.rank(["drum sieve", "flour"], 1000)
    flat = Searcher.open(next((tmp_path / "work").glob("sieves-*[!n]"))).search(
        ["drum sieve", "flour"], 1000, exact=True
    )
    for ranking, result in zip(found, flat, strict=True):
        best = {}
        for hit in result.hits:
            best.setdefault(hit.document["parent"], hit.score)
        assert ranking == best
    assert set(found[0]) == {"d1", "d2", "d3", "long"}
    assert ranker.rank(["drum"], 1)[0].keys() == {"d3"}
    with pytest.raises(InputError, match="expected whole documents to take feedback from"):
        ranker.rank_with_feedback(["drum"], [["d1"]], Feedback(), 3)


def test_words_take_no_feedback(beir, tmp_path):
    ranker = WORDS.prepare(load_dataset(str(beir)), tmp_path / "work")
    (plain,) = ranker.rank(["flour"], 3)
    assert ranker.rank_with_feedback(["flour"], [["d1"]], Feedback(), 3) == [plain]


def test_dense_feedback_moves_the_query():
    import faiss

    class Model:
        def encode_query(self, texts, **options):
            return np.array([[1.0, 0.0]] * len(texts), np.float32)

    index = faiss.IndexFlatIP(2)
    index.add(np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32))
    ranker = DenseRanker(Model(), index, ["east", "between", "north"], None)
    assert ranker.rank(["q"], 3)[0] == pytest.approx({"east": 1, "between": 0.6, "north": 0})
    rule = Feedback(documents=1, alpha=1.0, beta=2.0)
    moved = ranker.rank_with_feedback(["q"], [["north"]], rule, 3)[0]
    assert moved == pytest.approx({"between": 2.2, "north": 2.0, "east": 1.0})
    assert ranker.facts()["index_bytes"] == 3 * 2 * 4


@pytest.fixture(scope="module")
def dense_model(tmp_path_factory):
    """Writes a tiny model of sentence-transformers with settings of one's own; its folder."""
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    def make(seed=1, longest=64, **settings):
        folder = tmp_path_factory.mktemp("dense")
        base = folder / "base"
        sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3}
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghij"]
        base.mkdir()
        (base / "vocab.txt").write_text("\n".join(words))
        transformers.BertTokenizerFast(str(base / "vocab.txt")).save_pretrained(base)
        torch.manual_seed(seed)
        config = transformers.BertConfig(
            vocab_size=len(words), intermediate_size=40, initializer_range=0.5, **sizes
        )
        transformers.BertModel(config).save_pretrained(base)
        parts = [Transformer(str(base), max_seq_length=longest), Pooling(24, pooling_mode="mean")]
        model = SentenceTransformer(modules=parts, device="cpu", **settings)
        model.save_pretrained(str(folder / "model"))
        return folder / "model"

    return make


LETTERS = {"d1": "a b c", "d2": "d e f g", "d3": "h i j a b c d e"}


@pytest.fixture
def letters(tmp_path):
    folder = tmp_path / "letters"
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": key, "text": text} for key, text in LETTERS.items()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "a d"}\n')
    (folder / "qrels/test.tsv").write_text("q\td1\t1\n")
    return load_dataset(str(folder))


@pytest.mark.filterwarnings("ignore")  # of other libraries
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"prompts": {"query": "a b ", "document": "c d e "}},
        {"prompts": {"query": "a ", "passage": "f "}, "default_prompt_name": "query"},
        {"similarity_fn_name": "dot"},
        {"longest": 4},
    ],
)
def test_dense_scores_are_those_of_the_models_own_library(dense_model, letters, tmp_path, settings):
    from sentence_transformers import SentenceTransformer

    folder = dense_model(**settings)
    ranker = DenseSystem("mine", folder).prepare(letters, tmp_path / "work")
    (found,) = ranker.rank(["a d"], 3)
    model = SentenceTransformer(str(folder), device="cpu")
    asked, held = model.encode_query(["a d"]), model.encode_document(list(LETTERS.values()))
    expected = model.similarity(asked, held)[0].tolist()
    assert found == pytest.approx(dict(zip(LETTERS, expected, strict=True)), rel=5e-3)


@pytest.mark.filterwarnings("ignore")  # of other libraries
def test_dense_vectors_of_another_model_are_not_taken(dense_model, letters, tmp_path):
    folders = [
        dense_model(seed=1),
        dense_model(seed=2),
        dense_model(seed=1, prompts={"query": "a "}),
    ]
    settings = [DenseSystem("mine", folder).settings() for folder in folders]
    assert len({one["fingerprint"] for one in settings}) == 3
    ranked = []
    for work in ("shared", "apart"):
        DenseSystem("mine", folders[0]).prepare(letters, tmp_path / "shared")
        ranked += DenseSystem("mine", folders[1]).prepare(letters, tmp_path / work).rank(["a d"], 3)
    assert ranked[0] == ranked[1]


@pytest.mark.filterwarnings("ignore")  # of other libraries
def test_a_similarity_that_is_no_product_is_refused(dense_model, letters, tmp_path):
    folder = dense_model(similarity_fn_name="euclidean")
    with pytest.raises(InputError, match="similarity cosine or dot, found euclidean"):
        DenseSystem("mine", folder).prepare(letters, tmp_path)


def test_only_the_heaviest_terms_stay():
    rows = [{1: 3.0, 4: 5.0, 9: 3.0}, {}, {2: 1.0}, {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}]
    kept = heaviest(SparseVectors.from_dicts(rows, 10), 2)
    assert kept.to_dicts() == [{1: 3.0, 4: 5.0}, {}, {2: 1.0}, {2: 3.0, 3: 4.0}]


def test_remembered_vectors_are_encoded_once(tmp_path):
    class Counting:
        description = load_query_encoder().description
        calls = 0

        def encode_documents(self, texts, *, progress=None):
            self.calls += 1
            return SparseVectors.from_dicts([{0: 1.0, 1: 2.0, 2: 3.0}] * len(texts), 5)

    inner = Counting()
    first, again = Remembered(inner, tmp_path), Remembered(inner, tmp_path)
    expected = first.encode_documents(["a b", "c"]).to_dicts()
    assert HeaviestTerms(again, 9).encode_documents(["a b", "c"]).to_dicts() == expected
    assert (inner.calls, len(first.found), len(again.found)) == (1, 0, 1)
    again.encode_documents(["a", "b c"])  # the same letters, other documents
    assert inner.calls == 2


def test_vectors_of_another_arithmetic_are_others(tmp_path):
    """bfloat16 rounds to eight bits: what is remembered, and reported, says which it was."""
    kinds = ("float32", "bfloat16")
    loaded = [
        SparseEncoder(read_checkpoint("default"), device="cpu", arithmetic=one) for one in kinds
    ]
    names = [TamisSystem(one, None).settings()["arithmetic"] for one in loaded]
    assert names == ["float32 on cpu", "bfloat16 on cpu"]
    remembered = [Remembered(one, tmp_path) for one in loaded]
    vectors = [one.encode_documents(["a drum sieve"]) for one in remembered]
    assert not remembered[1].found
    assert not np.array_equal(vectors[0].weights, vectors[1].weights)


def test_batches_hold_everything_once():
    assert list(batched(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batched([], 2)) == []


def test_a_kept_index_is_known_by_the_content_of_its_corpus(beir, tmp_path):
    path = beir / "corpus.jsonl"
    before, times = path.read_text(), path.stat()
    places = [work_folder(load_dataset(str(beir)), {}, tmp_path)]
    path.write_text(before.replace("tamis", "simat"))  # as long, and of the same time
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    places.append(work_folder(load_dataset(str(beir)), {}, tmp_path))
    path.write_text(before)
    places.append(work_folder(load_dataset(str(beir)), {}, tmp_path))
    assert places[0] == places[2] != places[1]
