"""Stored keys choose, a full reading ranks; changed texts are read."""

import shutil

import numpy as np
import pytest
import torch
from tiny_rerankers import texts, write_reranker

from tamis.index import CorruptionError, InputError
from tamis.index.errors import TamisWarning
from tamis.retriever import Passage, Searcher, index_corpus
from tamis.retriever.editor import Editor
from tamis.retriever.rerank.block_reranker import BlockReranker
from tamis.retriever.rerank.cascade import Cascade
from tamis.retriever.rerank.lazy_reranker import LazyReranker
from tamis.retriever.rerank.stored_keys import DocumentStore
from tamis.retriever.rerank.text_store import KEYS

QUERY, DOCUMENTS = texts()
HEADS = [1.0, -0.5, 2.0, 0.3]
WORDS = [f"{prefix} owl {ones}" for prefix in ("an", "the") for ones in "abcdefg"]


def written(folder, seed=0, prior=0.0, reads_from=2):
    weights = {"heads": HEADS, "prior": prior}
    readouts = {"query": weights, "none": weights}
    return write_reranker(folder, "bert", seed, readouts=readouts, reads_from=reads_from)


def load(folder, conditioning="query"):
    return BlockReranker.from_pretrained(
        str(folder), device="cpu", dtype=torch.float32, conditioning=conditioning
    )


def store_of(folder, documents, path):
    return DocumentStore.build(load(folder, "none"), documents, path, budget_bytes=1 << 22)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return written(tmp_path_factory.mktemp("models") / "one")


@pytest.fixture
def cascade(model, tmp_path):
    return Cascade(load(model), store_of(model, DOCUMENTS, tmp_path / "keys"), best=2)


def test_the_best_by_stored_keys_are_read_and_the_others_stand_below(cascade, model):
    quick = load(model, "none").score(QUERY, DOCUMENTS)
    order = np.argsort(-quick)
    careful = cascade.reranker.score(QUERY, [DOCUMENTS[at] for at in order[:2]])
    found = cascade.score(QUERY, DOCUMENTS)
    np.testing.assert_allclose(found[order[:2]], careful, rtol=1e-6)
    np.testing.assert_allclose(found[order[2:]], careful.min() - np.arange(1, 4), rtol=1e-6)


def test_a_list_no_longer_than_what_is_read_is_read_whole(cascade):
    for documents in (DOCUMENTS[:2], DOCUMENTS[:1], ()):
        found = cascade.score(QUERY, documents, first_stage=range(len(documents)))
        assert found.tolist() == cascade.reranker.score(QUERY, documents).tolist()


@pytest.mark.parametrize("bad", range(5))
def test_first_stage_scores_that_are_no_numbers_are_refused_wherever_they_stand(cascade, bad):
    first_stage = [np.nan if at == bad else 1.0 for at in range(5)]
    with pytest.raises(InputError, match=f"nan for document {bad}"):
        cascade.score(QUERY, DOCUMENTS, first_stage=first_stage)


@pytest.mark.parametrize("reads_from", [1, 2])
@pytest.mark.parametrize("known", [[0, 1, 2, 3, 4], [0, 2, 4], [3], []])
def test_texts_without_keys_are_read_as_if_they_had_some(tmp_path, known, reads_from):
    folder = written(tmp_path / "model", reads_from=reads_from)
    store = store_of(folder, [DOCUMENTS[at] for at in known], tmp_path / "keys")
    found = Cascade(load(folder), store, best=1)._quick(QUERY, DOCUMENTS, None)
    wanted = load(folder, "none").score(QUERY, DOCUMENTS)
    np.testing.assert_allclose(found, wanted, atol=0.02 * wanted.std() + 0.01)


def test_the_first_stage_counts_in_both_passes(tmp_path):
    folder = written(tmp_path / "model", prior=1000.0)
    cascade = Cascade(load(folder), store_of(folder, DOCUMENTS, tmp_path / "keys"), best=2)
    first_stage = [3.0, 5.0, 1.0, 4.0, 2.0]
    found = cascade.score(QUERY, DOCUMENTS, first_stage=first_stage)
    assert np.argsort(-found).tolist() == np.argsort(first_stage)[::-1].tolist()
    with pytest.raises(InputError, match="expected 5 first-stage scores, found 1"):
        cascade.score(QUERY, DOCUMENTS, first_stage=[1.0])


# Beside a collection


@pytest.fixture
def collection(tmp_path):
    passages = [Passage(f"d{at}", f"owl {word} owl") for at, word in enumerate(WORDS)]
    return index_corpus(passages, tmp_path / "index", encoder=None).path


@pytest.fixture
def read(monkeypatch):
    """How many documents each full reading had."""
    sizes, score = [], BlockReranker.score

    def counted(self, query, documents, **options):
        sizes.append(len(documents))
        return score(self, query, documents, **options)

    monkeypatch.setattr(BlockReranker, "score", counted)
    return sizes


def searched(folder, model, depth=14):
    searcher = Searcher.open(folder, reranker=LazyReranker(str(model), "cpu"))
    (found,) = searcher.search(["owl"], k=20, exact=True, rerank=depth)
    return [(hit.doc_id, hit.score) for hit in found.hits]


def contents(folder):
    searcher = Searcher.open(folder)
    (found,) = searcher.search(["owl"], k=20, exact=True)
    return {hit.doc_id: hit.document["text"] for hit in found.hits}


def expected(model, store, documents):
    reranker = BlockReranker.from_pretrained(str(model), device="cpu")
    scores = Cascade(reranker, store).score("owl", list(documents.values()))
    order = np.argsort(-scores, kind="stable")
    return [(list(documents)[at], pytest.approx(float(scores[at]), rel=1e-3)) for at in order]


def test_a_search_uses_the_keys_beside_its_collection(model, collection, read):
    plain = searched(collection, model)
    assert read == [14]
    store = store_of(model, contents(collection).values(), collection / KEYS.folder)
    found = searched(collection, model)
    assert read == [14, 10]
    assert found == expected(model, store, contents(collection))
    assert dict(found[:3]).keys() <= dict(plain).keys()
    assert len(searched(collection, model, depth=10)) == 14
    assert read[-1] == 10


def test_a_replaced_document_is_ranked_by_its_new_text(model, collection, tmp_path):
    before = contents(collection)
    store = store_of(model, before.values(), collection / KEYS.folder)
    changed = {"d3": "owl grains through a sieve owl", "d9": "owl two of them owl"}
    with Editor.open(collection, encoder=None) as editor:
        editor.put(Passage(name, text) for name, text in changed.items())
    now = contents(collection)
    assert {name: now[name] for name in changed} == changed
    found = searched(collection, model)
    assert found == expected(model, store, now)
    quick = Cascade(load(model), store)._quick("owl", list(now.values()), None)
    wanted = load(model, "none").score("owl", list(now.values()))
    old = load(model, "none").score("owl", [before[name] for name in now])
    at = [list(now).index(name) for name in changed]
    assert np.abs(quick - wanted)[at].max() < 0.1 * np.abs(old - wanted)[at].min()


def test_keys_of_another_reranker_are_left_alone(model, collection, read, tmp_path):
    store_of(written(tmp_path / "two", seed=1), ["owl"], collection / KEYS.folder)
    with pytest.warns(TamisWarning, match="texts are read instead"):
        found = searched(collection, model)
    assert read == [14]
    assert len(found) == 14


def test_keys_made_while_a_server_runs_are_used_from_then_on(model, collection, read):
    searcher = Searcher.open(collection, reranker=LazyReranker(str(model), "cpu"))
    for texts_of_keys, sizes in ((None, [14]), (WORDS, [14, 10]), (["owl"], [14, 10, 10])):
        if texts_of_keys is not None:
            store_of(model, texts_of_keys, collection / KEYS.folder)
        searcher.search(["owl"], exact=True, rerank=14)
        assert read == sizes


def test_a_reranker_that_is_loaded_already_uses_the_keys_too(model, collection, read):
    store_of(model, contents(collection).values(), collection / KEYS.folder)
    for conditioning, size in (("query", 10), ("none", 14)):
        searcher = Searcher.open(collection, reranker=load(model, conditioning))
        searcher.search(["owl"], exact=True, rerank=14)
        assert read.pop() == size


def test_one_reranker_serves_several_collections_each_by_its_own_keys(model, collection, read):
    lazy = LazyReranker(str(model), "cpu")
    bare = shutil.copytree(collection, collection.with_name("bare"))
    store_of(model, WORDS, collection / KEYS.folder)
    for folder, size in ((collection, 10), (bare, 14), (collection, 10)):
        searcher = Searcher.open(folder).with_reranker(lazy)
        searcher.search(["owl"], exact=True, rerank=14)
        assert read.pop() == size


def test_a_newer_generation_keeps_its_reranker(model, collection, read):
    searcher = Searcher.open(collection, reranker=LazyReranker(str(model), "cpu"))
    store_of(model, WORDS, collection / KEYS.folder)
    with Editor.open(collection, encoder=None) as editor:
        editor.put([Passage("d14", "owl two of them owl")])
    (found,) = searcher.refresh().search(["owl"], k=20, exact=True, rerank=20)
    assert read == [10]
    assert len(found.hits) == 15


def test_damaged_keys_are_told(model, collection):
    store_of(model, ["owl"], collection / KEYS.folder)
    path = collection / KEYS.folder / "contents.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    with pytest.raises(CorruptionError, match=r"contents\.bin"):
        searched(collection, model)
