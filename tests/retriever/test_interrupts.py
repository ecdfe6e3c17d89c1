"""Whatever takes long asks between two of its units whether to go on."""

import pytest
import torch
from letter_encoder import LetterEncoder
from tiny_checkpoints import write_bert
from tiny_rerankers import texts, write_reranker

from tamis.index.interrupts import InterruptedWorkError, interruptible
from tamis.retriever import Passage, Searcher, SearchOptions, index_corpus
from tamis.retriever.answers import Shown, search_answer
from tamis.retriever.models.encoder import SparseEncoder, batches_in_order
from tamis.retriever.rerank.batches import batches_of
from tamis.retriever.rerank.block_reranker import BlockReranker

TEXTS = [f"owl number{n} " + "in the reeds at night " * 20 for n in range(40)]


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    passages = (
        Passage(str(n), text, title="Owls", fields={"year": n % 7}) for n, text in enumerate(TEXTS)
    )
    collection = index_corpus(
        passages,
        tmp_path_factory.mktemp("owls") / "index",
        encoder=None,
        fields={"year": "integer"},
    )
    return Searcher.open(collection.path)


def asked_by(work):
    """How often work asks, and that it ends where it is told to."""
    asked = []
    with interruptible(asked.append):
        work()

    def end_at_the_last(grown_bytes):
        asked.pop()
        if not asked:
            raise InterruptedWorkError

    many = len(asked)
    with pytest.raises(InterruptedWorkError), interruptible(end_at_the_last):
        work()
    return many


@pytest.mark.parametrize("group_by", [None, "year"])
def test_a_search_asks_at_each_hit_and_each_query(searcher, group_by):
    queries = ["owl", "night owl", "reeds"]
    options = SearchOptions(k=40, explain=True, group_by=group_by, group_size=100)
    assert asked_by(lambda: searcher.search_with(queries, options)) >= 3 * len(TEXTS)


def test_an_answer_asks_at_each_hit_and_each_highlighted_field(searcher):
    (result,) = searcher.search_with(["owl"], SearchOptions(k=40, explain=True))
    shown = Shown(explain=True, highlight=True)
    assert asked_by(lambda: search_answer(searcher, result, shown)) >= 3 * len(TEXTS)


def test_words_of_queries_ask_at_each_text(searcher):
    assert asked_by(lambda: searcher.encode(TEXTS)) >= len(TEXTS)


def test_a_reranker_asks_at_each_pass_through_its_model(tmp_path):
    folder = write_reranker(tmp_path / "bert", "bert")
    reranker = BlockReranker.from_pretrained(str(folder), device="cpu", dtype=torch.float32)
    query, documents = texts()
    reranker.batch_tokens = 64  # a few documents at once
    alone = reranker.score(query, documents * 5)
    blocks = [reranker.parts.prompts.build(query, documents * 5, "query")]
    passes = sum(1 for _ in batches_of(blocks, reranker.batch_tokens))
    assert passes > 5
    assert asked_by(lambda: reranker.score(query, documents * 5)) >= passes
    assert (reranker.score(query, documents * 5) == alone).all()


def test_texts_for_a_reranker_are_tokenised_a_few_at_a_time_and_are_the_same(tmp_path, monkeypatch):
    folder = write_reranker(tmp_path / "bert", "bert")
    prompts = BlockReranker.from_pretrained(str(folder), device="cpu").parts.prompts
    given = ["", "owl", "", *TEXTS, "owl " * 3000, ""]
    whole = prompts.ids(given)
    monkeypatch.setattr("tamis.retriever.rerank.prompt.CHARACTERS_AT_ONCE", 700)
    assert asked_by(lambda: prompts.ids(given)) >= len("".join(TEXTS)) / 700
    assert prompts.ids(given) == whole
    assert prompts.ids([]) == []


def test_an_encoder_asks_at_each_batch(tmp_path, monkeypatch):
    monkeypatch.setattr("tamis.retriever.models.splade_model.CPU_BATCH_TOKENS", 50)
    encoder = SparseEncoder.load(str(write_bert(tmp_path / "bert")), device="cpu")
    counts = encoder.count_tokens(TEXTS)
    batches = sum(1 for _ in batches_in_order(counts, 50))
    assert asked_by(lambda: encoder.encode_documents(TEXTS)) >= batches / 2


def test_a_search_of_learned_terms_asks_no_less(tmp_path):
    encoder = LetterEncoder()
    passages = [Passage(str(n), text) for n, text in enumerate(TEXTS)]
    collection = index_corpus(passages, tmp_path / "letters", encoder=encoder)
    both = Searcher(encoder, collection)
    assert asked_by(lambda: both.search(["owls"], 40, explain=True)) >= len(TEXTS)
