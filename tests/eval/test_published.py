"""The tables in pages come from the committed results and agree with them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tamis.eval.evaluate import Evaluation, save
from tamis.eval.published import BEGIN, END, fill, render_averages, render_tables
from tamis.eval.suite import result_path
from tamis.index.errors import InputError

ROOT = Path(__file__).parents[2]


def keep(folder, dataset, system, values, *, averaged=True, settings=None):
    report = {
        "dataset": dataset,
        "system": system,
        "measures": {name: sum(of) / len(of) for name, of in values.items()},
        "queries": 8,
        "settings": settings or {},
        "protocol": {"averaged": averaged},
        "provenance": {"machine": {"processor": "CPU"}, "commit": "0123456789abcdef"},
    }
    table = {name: {f"q{n}": v for n, v in enumerate(of)} for name, of in values.items()}
    save(Evaluation(report, table), result_path(folder, dataset, system))


def test_tables_are_drawn_from_the_files(tmp_path):
    for dataset, averaged in (("unit", False), ("b", True), ("a", True)):
        for system, value in (("bm25", 0.25), ("tamis", 0.75)):
            values = {"nDCG@10": [value] * 12, "Recall@100": [value / 2] * 12}
            keep(tmp_path, dataset, system, values, averaged=averaged)
    keep(tmp_path, "a:dev", "bm25", {"nDCG@10": [0.1], "Recall@100": [0.1]})
    lines = render_tables(tmp_path).splitlines()
    assert lines[:7] == [
        "nDCG@10:",
        "",
        "| dataset | bm25 | tamis |",
        "| --- | ---: | ---: |",
        "| a | 0.250 | **0.750▲** |",
        "| b | 0.250 | **0.750▲** |",
        "| unit | 0.250 | **0.750▲** |",
    ]
    assert lines[7] == "| average of 2 | 0.250 | **0.750** |"
    assert "Recall@100:" in lines
    assert "leaves unit out" in lines[-1]
    assert "0123456789" in lines[-1]


def test_a_second_average_leaves_out_what_was_trained_on(tmp_path):
    for dataset, value in (("medquad", 0.75), ("nq-wiki100k", 0.5), ("a", 0.125), ("b", 0.375)):
        for system in ("bm25", "tamis"):
            keep(tmp_path, dataset, system, {"nDCG@10": [value], "Recall@100": [value]})
    lines = render_tables(tmp_path).splitlines()
    assert [line.split(" | ")[0][2:] for line in lines[4:10]] == [
        "a",
        "b",
        "medquad†",
        "nq-wiki100k†",
        "average of 4",
        "average of 2 without †",
    ]
    assert lines[8].startswith("| average of 4 | **0.438**")
    assert lines[9].startswith("| average of 2 without † | **0.250**")
    assert "trained on the training split (medquad" in lines[-1]
    assert "| 0.438 | 0.438 | 0.250 |" in render_averages(tmp_path).splitlines()[2]


def test_no_results_give_no_tables(tmp_path):
    assert render_tables(tmp_path) == ""


def test_tables_stand_between_the_marks():
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert fill(text, "new\n") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    with pytest.raises(InputError, match="expected <!-- results -->"):
        fill("no marks", "new\n")


@pytest.mark.parametrize(
    ("folder", "render"),
    [
        (".", render_averages),
        ("eval/results", render_tables),
        ("eval", partial(render_tables, feedback=True)),
    ],
)
def test_the_pages_show_the_committed_results(folder, render):
    page = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    assert fill(page, render()) == page, "the tables differ from eval/results; write them again"


def test_averages_leave_unit_tests_out_and_count_what_is_significant(tmp_path):
    for dataset, averaged in (("unit", False), ("b", True), ("a", True)):
        for system, value in (("bm25", 0.25), ("tamis", 0.75), ("words", 0.5)):
            values = {"nDCG@10": [value] * 12, "Recall@100": [value / 2] * 12}
            keep(tmp_path, dataset, system, values, averaged=averaged)
    head, _, bm25, tamis = render_averages(tmp_path).splitlines()
    assert head == "| | nDCG@10 | recall@100 | nDCG@10 apart | better than BM25 | worse |"
    assert bm25.endswith("| 0.250 | 0.125 | 0.250 |  |  |")
    assert tamis.startswith("| Tamis: learned")
    assert tamis.endswith("| 0.750 | 0.375 | 0.750 | 2 | 0 |")
    assert render_averages(tmp_path / "nothing") == ""


def test_feedback_has_tables_of_its_own(tmp_path):
    for system, settings in (("bm25", {}), ("words", {}), ("prf", {"feedback": {"beta": 0.1}})):
        keep(tmp_path, "a", system, {"nDCG@10": [0.5], "Recall@100": [0.5]}, settings=settings)
    assert "| dataset | bm25 | words |" in render_tables(tmp_path)
    assert "| dataset | bm25 | prf |" in render_tables(tmp_path, feedback=True)
