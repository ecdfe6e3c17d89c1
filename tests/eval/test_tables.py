"""Tables: averages over common collections, marks of significance, Markdown."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.eval.evaluate import Evaluation
from tamis.eval.significance import holm, randomisation_test
from tamis.eval.tables import Results, best_cells, comparison_table, markdown, measures_table
from tamis.index.errors import InputError


def evaluation(dataset, system, values, *, averaged=True):
    queries = {f"q{n}": float(value) for n, value in enumerate(values)}
    report = {
        "dataset": dataset,
        "system": system,
        "measures": {"nDCG@10": float(np.mean(values))},
        "queries": len(values),
        "documents": 10,
        "timings": {},
        "protocol": {"averaged": averaged},
    }
    return Evaluation(report, {"nDCG@10": queries})


RANDOM = np.random.default_rng(1)
BASE = RANDOM.random(60) * 0.5
FOUND = [
    evaluation("one", "base", BASE),
    evaluation("one", "good", BASE + 0.3 + RANDOM.normal(0, 0.05, 60)),
    evaluation("two", "base", BASE),
    evaluation("two", "good", BASE + RANDOM.normal(0, 0.05, 60)),
    evaluation("unit", "base", BASE, averaged=False),
    evaluation("unit", "good", BASE - 0.2, averaged=False),
    evaluation("half", "base", BASE),
]


def test_an_average_takes_the_collections_that_all_systems_share():
    results = Results(FOUND)
    assert results.averaged_datasets("nDCG@10") == ["one", "two"]
    assert results.average("base", "nDCG@10") == pytest.approx(BASE.mean())
    assert results.value("half", "good", "nDCG@10") is None


def test_marks_show_differences_that_survive_correction():
    table = comparison_table(Results(FOUND), "nDCG@10", "base")
    assert [row[0] for row in table] == ["dataset", "one", "two", "unit", "half", "average of 2"]
    good = [row[2] for row in table]
    assert good[1].endswith("▲")
    assert good[2][-1].isdigit()
    assert good[3].endswith("▼")
    assert good[4] == ""


def test_all_comparisons_are_corrected_together():
    rows = Results(FOUND).compared("nDCG@10", "base", seed=4)
    assert [(row.dataset, row.system) for row in rows] == [
        ("one", "good"), ("two", "good"), ("unit", "good"),
    ]  # fmt: skip
    p_values = [row.comparison.p for row in rows]
    assert [row.corrected_p for row in rows] == holm(p_values)
    second = np.array(list(FOUND[3].values["nDCG@10"].values())) - BASE
    assert p_values[1] == randomisation_test(second, seed=4)


def test_a_baseline_that_is_not_there_is_refused():
    with pytest.raises(InputError, match=r"among base, good, found 'none'"):
        Results(FOUND).compared("nDCG@10", "none")


def test_markdown_and_the_best_of_each_row():
    rows = [["dataset", "a", "b"], ["x", "0.5▲", "0.25"], ["y", "", "0.1"]]
    assert best_cells(rows) == {1: {1}, 2: {2}}
    assert markdown(rows, best_cells(rows)) == (
        "| dataset | a | b |\n| --- | ---: | ---: |\n| x | **0.5▲** | 0.25 |\n| y |  | **0.1** |\n"
    )


def test_every_measure_has_its_column():
    rows = measures_table(FOUND[:1])
    assert rows == [["dataset", "system", "nDCG@10", "queries"],
                    ["one", "base", f"{BASE.mean():.4f}", "60"]]  # fmt: skip
