"""How far the vectors of two devices differ: the figures, and the command's exit code."""

import json

import pytest
import torch
from typer.testing import CliRunner

from tamis.index.vectors import SparseVectors
from tamis.scripts.bench import agreement as bench_agreement
from tamis.scripts.bench.agreement import BOUNDS, Bound, difference, measure_agreement, within
from tamis.scripts.main import command_line


def test_differences_are_those_worked_out_by_hand():
    truth = SparseVectors.from_dicts([{0: 3.0, 2: 1.0}, {1: 2.0, 3: 1.0}], vocab_size=4)
    found = SparseVectors.from_dicts([{0: 2.5, 1: 0.5}, {1: 2.25, 3: 1.0}], vocab_size=4)
    figures = difference(truth, found)
    assert figures["terms"] == 3
    assert figures["largest_weight_difference"] == 0.5
    assert figures["mean_weight_difference"] == pytest.approx(0.25)
    assert figures["differing_terms"] == pytest.approx(2 / 5)
    assert figures["largest_lone_weight"] == 1.0
    squares = 0.5**2 + 0.25**2 + 1.0**2 + 0.5**2
    assert figures["relative_error"] == pytest.approx((squares / 15) ** 0.5)


def test_equal_and_empty_vectors_do_not_differ():
    for rows in ([{0: 1.0}], [{}]):
        vectors = SparseVectors.from_dicts(rows, vocab_size=2)
        figures = difference(vectors, vectors)
        assert figures.pop("terms") == len(rows[0])
        assert set(figures.values()) == {0.0}


@pytest.mark.parametrize(
    "worse",
    [{"largest_weight_difference": 0.2}, {"differing_terms": 0.2}, {"measure_difference": -0.2}],
)
def test_each_bound_counts(worse):
    row = {"largest_weight_difference": 0.1, "differing_terms": 0.1, "measure_difference": 0.1}
    bound = Bound(weight=0.1, terms=0.1, measure=0.1)
    assert within(row, bound)
    assert not within(row | worse, bound)


@pytest.mark.long
def test_bfloat16_on_the_processor_keeps_to_its_bound(monkeypatch):
    monkeypatch.setattr(bench_agreement, "multiplies_bfloat16", lambda: True)
    found = measure_agreement(documents=12)
    (row,) = found["rows"]
    assert (row["device"], row["arithmetic"]) == ("cpu", "bfloat16")
    assert 0 < row["largest_weight_difference"] <= BOUNDS[torch.bfloat16].weight
    assert found["agrees"]


def test_the_command_fails_beyond_the_bounds(monkeypatch):
    row = {"device": "cuda", "arithmetic": "float32", "agrees": False, "differing_terms": 0.5}
    row |= {"largest_weight_difference": 1.0, "mean_weight_difference": 0.5}
    made = {"truth": {"measure": None}, "rows": [row], "agrees": False}
    monkeypatch.setattr(bench_agreement, "measure_agreement", lambda *_, **__: made)
    shown = CliRunner().invoke(command_line(), ["bench", "agreement", "--json"])
    assert shown.exit_code == 1
    assert json.loads(shown.stdout) == made
    text = CliRunner().invoke(command_line(), ["bench", "agreement"])
    assert "50.00%" in text.stdout
