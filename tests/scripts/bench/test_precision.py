import numpy as np
import pytest

from tamis.eval.datasets import load_dataset
from tamis.eval.systems import TamisSystem
from tamis.retriever.words.lexical import LexicalConfig
from tamis.scripts.bench import precision as bench_precision
from tamis.scripts.bench.precision import PRECISIONS, _measured


@pytest.fixture
def words_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_precision, "caches", lambda: tmp_path)
    return TamisSystem(None, LexicalConfig(), "words")


@pytest.mark.long
def test_full_precision_ranks_as_the_evaluated_system_does(words_alone, tmp_path):
    dataset = load_dataset("sample")
    found = _measured(dataset, words_alone)
    ranker = words_alone.prepare(dataset, tmp_path)
    asked = sorted(dataset.queries)
    ranked = ranker.rank([dataset.queries[query] for query in asked], bench_precision.DEPTH)
    truth = bench_precision._mean(dataset, dict(zip(asked, ranked, strict=True)))
    assert found["f32"] == round(truth, 4)
    assert truth > 0.1
    assert all(abs(found[precision] - truth) < 0.02 for precision in PRECISIONS)
    sizes = [found[f"{precision}_bytes"] for precision in ("u8", "u16", "f32")]
    assert np.all(np.diff(sizes) > 0)
