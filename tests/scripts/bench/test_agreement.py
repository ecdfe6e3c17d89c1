"""How far the vectors of two devices differ: the figures, and the command's exit code."""

import json

import pytest
from typer.testing import CliRunner

from tamis.index.vectors import SparseVectors
from tamis.kernels.int8 import multiplies_int8
from tamis.retriever.models.arithmetic import fastest
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
@pytest.mark.parametrize("arithmetic", ["bfloat16", "int8"])
def test_other_arithmetic_on_the_processor_keeps_to_its_bound(monkeypatch, arithmetic):
    """A processor that lacks it never chooses it, and is compared in what it has."""
    if arithmetic == "int8" and not multiplies_int8():
        assert fastest() != "int8"
        return
    rates = {"float32": 1.0, "bfloat16": 0.0, "int8": 0.0} | {arithmetic: 2.0}
    monkeypatch.setattr(bench_agreement, "speeds", lambda: rates)
    found = measure_agreement(documents=12)
    (row,) = found["rows"]
    assert (row["device"], row["arithmetic"]) == ("cpu", arithmetic)
    assert 0 < row["largest_weight_difference"] <= BOUNDS[arithmetic].weight
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
