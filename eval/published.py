"""The tables of results in pages, generated from the committed JSON and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.eval.suite import read_results
from tamis.eval.tables import BETTER, SEEN, WORSE, Results, best_cells, comparison_table, markdown
from tamis.index.errors import InputError

if TYPE_CHECKING:
    from tamis.eval.evaluate import Evaluation

RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
BASELINE = "bm25"
MEASURES = ("nDCG@10", "Recall@100")
BASES = (BASELINE, "tamis", "dense")  # in both kinds of tables
TRAINED_ON = ("medquad", "squadshifts-new-wiki")  # their training splits
TRANSDUCTIVE = ("nq-wiki100k", "wiki100k-hotpotqa")  # documents of theirs stand in training texts
SHORT = {  # a newcomer's table: systems, and what they are
    BASELINE: "BM25: words alone (bm25s)",
    "dense": "all-MiniLM-L6-v2: dense vectors, from which the default encoder learned",
    "hybrid-sum": "both of them, their scores added",
    "tamis": "Tamis: learned terms and words in one index",
    "tamis+rerank": "Tamis, the best 100 reranked",
}


def render_tables(folder: Path = RESULTS, *, feedback: bool = False) -> str:
    """The Markdown between the two marks of a page.

    Args:
        folder: of results that a suite wrote.
        feedback: the systems that use pseudo-relevance feedback and those they are made of, in
            place of all others.

    Returns:
        A table for each measure: datasets by name, unit tests last; systems by rising average.
        Empty where there are no results.

    Raises:
        InputError: a file in ``folder`` is no report.
    """
    found = [
        result
        for result in read_results(folder)
        if ":" not in result.dataset and (result.system in BASES or _feeds_back(result) == feedback)
    ]
    if not found:
        return ""
    parts = [_table(found, measure) for measure in MEASURES]
    return "\n".join([*parts, _legend(found)])


def render_averages(folder: Path = RESULTS) -> str:
    """The Markdown of a short table: what each of `SHORT` brings on average.

    Args:
        folder: of results that a suite wrote.

    Returns:
        A row for each system with the plain means over the collections that all of them share, the
        mean over those that stand apart from the training texts, and on how many it is
        significantly better and worse than BM25 by nDCG@10. Empty where there are no results.

    Raises:
        InputError: a file in ``folder`` is no report.
    """
    found = [one for one in read_results(folder) if one.system in SHORT and ":" not in one.dataset]
    results = Results(sorted(found, key=lambda one: list(SHORT).index(one.system)))
    counted = results.averaged_datasets("nDCG@10")
    if not counted:
        return ""
    ranked = [one for one in results.compared("nDCG@10", BASELINE) if one.dataset in counted]
    lines = [
        "| | nDCG@10 | recall@100 | nDCG@10 apart | better than BM25 | worse |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for system in results.systems:
        means = [results.average(system, measure) or 0.0 for measure in MEASURES]
        seen = (*TRAINED_ON, *TRANSDUCTIVE)
        means.append(results.average(system, MEASURES[0], seen) or 0.0)
        marks = [one.mark for one in ranked if one.system == system]
        counts = [str(marks.count(mark)) if marks else "" for mark in (BETTER, WORSE)]
        cells = [SHORT[system], *(f"{mean:.3f}" for mean in means), *counts]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _feeds_back(result: Evaluation) -> bool:
    return '"feedback"' in json.dumps(result.report.get("settings", {}))


def _table(found: list[Evaluation], measure: str) -> str:
    results = Results(_ordered(found, measure))
    baseline = BASELINE if BASELINE in results.systems else None
    rows = comparison_table(results, measure, baseline, seen=(*TRAINED_ON, *TRANSDUCTIVE))
    return f"{measure}:\n\n{markdown(rows, best_cells(rows))}"


def _ordered(found: list[Evaluation], measure: str) -> list[Evaluation]:
    """Datasets by name with unit tests last, systems by rising average."""
    results = Results(found)
    average = {system: results.average(system, measure) or 0.0 for system in results.systems}

    def place(result: Evaluation) -> tuple[float, str, bool, str]:
        averaged = result.report["protocol"]["averaged"]
        return average[result.system], result.system, not averaged, result.dataset

    by_system = sorted(found, key=place)
    datasets = sorted(
        results.datasets,
        key=lambda name: (
            not all(r.report["protocol"]["averaged"] for r in found if r.dataset == name),
            name,
        ),
    )
    first = by_system[0].system  # the first system decides the order of the datasets
    return sorted(
        by_system, key=lambda r: (r.system != first, datasets.index(r.dataset), by_system.index(r))
    )


def _legend(found: list[Evaluation]) -> str:
    machines = sorted({result.report["provenance"]["machine"]["processor"] for result in found})
    commits = sorted({(result.report["provenance"]["commit"] or "")[:10] for result in found})
    left_out = sorted({r.dataset for r in found if not r.report["protocol"]["averaged"]})
    outside = f"; the average leaves {', '.join(left_out)} out" if left_out else ""
    return (
        f"▲ ▼: better, worse than {BASELINE} by a paired randomisation test, p < .05 after Holm's "
        f"correction over the table{outside}. {SEEN}: the default encoder and the reranker were "
        f"trained on the training split ({', '.join(TRAINED_ON)}), or without their questions on "
        f"texts that hold documents of it ({', '.join(TRANSDUCTIVE)}). Per-query "
        "values, settings, checksums and versions stand beside this page's tables, in "
        f"eval/results. Machine: {', '.join(machines)}; "
        f"commits {', '.join(commits)}.\n"
    )


def fill(readme: str, tables: str) -> str:
    """A page's text with the tables between its marks.

    Raises:
        InputError: the text lacks one of the marks.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"expected {BEGIN} and {END} in the page, found no such pair; add them")
    return f"{before}{BEGIN}\n{tables}{END}{after}"
