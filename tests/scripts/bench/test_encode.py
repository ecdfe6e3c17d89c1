"""The encoder's benchmark: its texts, its gate and its figures."""

from dataclasses import replace

import pytest

from tamis.retriever.models.arithmetic import speeds
from tamis.retriever.models.description import read_checkpoint
from tamis.scripts.bench import encode as bench_encode
from tamis.scripts.bench.encode import check, float32_copy, length_mix, measure_encode, table


def test_the_mix_is_the_same_for_a_seed_and_varies_in_length():
    first, second = (length_mix(500, seed=3) for _ in range(2))
    lengths = sorted(len(text.split()) for text in first)
    assert first == second
    assert lengths[0] < 25
    assert 70 < lengths[250] < 110
    assert lengths[-1] == bench_encode.LONGEST


@pytest.mark.long
def test_the_report_compares_with_sentence_transformers(monkeypatch):
    monkeypatch.setattr(bench_encode, "GATE_TEXTS", 6)
    report = measure_encode(8, repeats=1, quality=False)
    names = [row["system"] for row in report["systems"]]
    peers = ["sentence-transformers, batch 32", "sentence-transformers, batch 32, dense rows"]
    assert names[:3] == [*peers, "tamis"]
    ours = [row["arithmetic"] for row in report["systems"][2:]]
    assert sorted(ours) == sorted(one for one, rate in speeds().items() if rate)
    assert names[3:] == [f"tamis, {one}" for one in ours[1:]]
    assert report["systems"][0]["against_default_peer"] == 1.0
    assert max(row["against_best_peer"] for row in report["systems"][:2]) == 1.0
    assert report["gate"]["largest_difference"] < 1e-4
    assert len(table(report)) == 1 + len(names)


@pytest.mark.long
def test_the_gate_refuses_another_model():
    files = read_checkpoint("default")
    with float32_copy(files) as copy:
        other = replace(copy, document=replace(copy.document, logit_scale=1.01))
        with pytest.raises(RuntimeError, match="equal within 1e-4"):
            check(other, "cpu", length_mix(4, seed=0))
