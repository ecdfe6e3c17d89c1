"""Rankings of an evaluation on a GPU are those of an exact search."""

import pytest

from tamis.eval.systems import IndexedSystem, SearcherRanker
from tamis.index import InputError
from tamis.retriever import Passage, Searcher, gpu_index, index_corpus
from tamis.retriever.corpus.chunking import Chunking

WORDS = ("sieve", "drum", "stone", "river", "sand", "grain")
TEXTS = [" ".join(WORDS[(n * step) % 6] for step in range(1, 2 + n % 5)) for n in range(1, 40)]
QUERIES = ["a drum sieve", "sand of the river", "nothing known"]


@pytest.fixture
def searcher(device, tmp_path, monkeypatch):
    if device.type == "cpu":
        import torch

        monkeypatch.setattr(gpu_index, "_card", torch.device)
        monkeypatch.setattr(gpu_index, "_free_bytes", lambda card: 64 << 30)
    passages = [Passage(str(n), text) for n, text in enumerate(TEXTS)]
    index_corpus(passages, tmp_path / "index", encoder=None)
    return Searcher.open(tmp_path / "index")


def test_rankings_are_those_of_an_exact_search(searcher, device):
    system = IndexedSystem(searcher, exact=True)
    here = SearcherRanker(system.searcher, None, True, {})
    on_gpu = SearcherRanker(system.searcher, None, True, {}, str(device) + ":0")
    for depth in (5, 100):
        ranked = [list(one.items()) for one in on_gpu.rank(QUERIES, depth)]
        assert ranked == [list(one.items()) for one in here.rank(QUERIES, depth)]


def test_passages_are_not_ranked_on_a_gpu(device, tmp_path):
    passages = [Passage("1", "word " * 90)]
    index_corpus(passages, tmp_path / "index", encoder=None, chunking=Chunking(40, 10))
    ranker = SearcherRanker(Searcher.open(tmp_path / "index"), None, True, {}, str(device) + ":0")
    with pytest.raises(InputError, match="whole documents to rank on a GPU"):
        ranker.rank(["word"], 3)
