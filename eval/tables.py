"""Results side by side: averages, significance against a baseline, text and Markdown tables.

Knows nothing of how results are made or drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tamis.eval.languages import family_of, pair_of
from tamis.eval.significance import Comparison, compare, holm
from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from tamis.eval.evaluate import Evaluation

SIGNIFICANT = 0.05
BETTER, WORSE = "▲", "▼"  # black triangles: significantly above, below the baseline
SEEN = "†"  # dagger: texts of the collection were trained on


@dataclass(frozen=True, slots=True)
class Compared:
    """A system's difference from the baseline on one dataset.

    Attributes:
        dataset: its name.
        system: the system's name.
        measure: what is compared.
        comparison: difference, interval and p-value by themselves.
        corrected_p: the p-value corrected for all comparisons made together (Holm).
    """

    dataset: str
    system: str
    measure: str
    comparison: Comparison
    corrected_p: float

    @property
    def mark(self) -> str:
        """A triangle up or down where the difference is significant, else nothing."""
        if self.corrected_p >= SIGNIFICANT:
            return ""
        return BETTER if self.comparison.difference > 0 else WORSE


class Results:
    """Evaluations by dataset and system, in the order given."""

    def __init__(self, evaluations: Iterable[Evaluation]) -> None:
        self._by_pair = {(found.dataset, found.system): found for found in evaluations}
        self.datasets = list(dict.fromkeys(dataset for dataset, _ in self._by_pair))
        self.systems = list(dict.fromkeys(system for _, system in self._by_pair))

    def get(self, dataset: str, system: str) -> Evaluation | None:
        """The evaluation of a pair, or None."""
        return self._by_pair.get((dataset, system))

    def value(self, dataset: str, system: str, measure: str) -> float | None:
        """The mean of a measure, or None where it was not measured."""
        found = self.get(dataset, system)
        return None if found is None else found.measures.get(measure)

    def averaged_datasets(self, measure: str, without: Collection[str] = ()) -> list[str]:
        """The datasets that every system has the measure for and that count in averages."""
        return [
            dataset
            for dataset in self.datasets
            if dataset not in without
            and all(self.value(dataset, system, measure) is not None for system in self.systems)
            and all(
                found.report["protocol"]["averaged"]
                for system in self.systems
                if (found := self.get(dataset, system))
            )
        ]

    def average(self, system: str, measure: str, without: Collection[str] = ()) -> float | None:
        """The plain mean over `averaged_datasets`."""
        values = [self.value(d, system, measure) for d in self.averaged_datasets(measure, without)]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None

    def compared(self, measure: str, baseline: str, seed: int = 0) -> list[Compared]:
        """Every other system against the baseline on every dataset, corrected together.

        Raises:
            InputError: there is no system of the baseline's name.
        """
        if baseline not in self.systems:
            raise InputError(
                f"expected a baseline among {', '.join(self.systems)}, found {baseline!r}; "
                "evaluate it with the others"
            )
        rows = [
            Compared(dataset, system, measure, compare(*pair, seed=seed), 1.0)
            for dataset in self.datasets
            for system in self.systems
            if system != baseline and (pair := self._pair(dataset, system, baseline, measure))
        ]
        corrected = holm([row.comparison.p for row in rows])
        return [replace(row, corrected_p=p) for row, p in zip(rows, corrected, strict=True)]

    def _pair(
        self, dataset: str, system: str, baseline: str, measure: str
    ) -> tuple[list[float], list[float]] | None:
        values = [
            found.values[measure]
            for name in (system, baseline)
            if (found := self.get(dataset, name)) and measure in found.values
        ]
        if len(values) < 2:
            return None
        queries = [query for query in values[0] if query in values[1]]
        return [values[0][q] for q in queries], [values[1][q] for q in queries]


def comparison_table(
    results: Results,
    measure: str,
    baseline: str | None = None,
    *,
    digits: int = 3,
    seen: Collection[str] = (),
) -> list[list[str]]:
    """Datasets down, systems across, averages at the foot; cells are text.

    A cell ends in ▲ or ▼ where its system differs significantly from the baseline. Datasets among
    ``seen`` end in `SEEN`, and a second average leaves them out.
    """
    marks = {}
    if baseline is not None and len(results.systems) > 1:
        marks = {(row.dataset, row.system): row.mark for row in results.compared(measure, baseline)}
    rows = [["dataset", *results.systems]]
    for dataset in results.datasets:
        cells = [
            _number(results.value(dataset, system, measure), digits)
            + marks.get((dataset, system), "")
            for system in results.systems
        ]
        rows.append([dataset + SEEN * (dataset in seen), *cells])
    averaged = results.averaged_datasets(measure)
    apart = results.averaged_datasets(measure, seen)
    for without, counted in (((), averaged), (seen, apart))[: 1 + (0 < len(apart) < len(averaged))]:
        if len(averaged) > 1:
            means = [results.average(system, measure, without) for system in results.systems]
            name = f"average of {len(counted)}" + f" without {SEEN}" * bool(without)
            rows.append([name, *(_number(mean, digits) for mean in means)])
    return rows


def language_table(results: Results, measure: str, *, digits: int = 3) -> list[list[str]]:
    """A row for each family, language of documents and system; languages of queries across.

    Empty where results are not of several pairs. The mean is over the languages of the row.
    """
    pairs = {name: pair for name in results.datasets if (pair := pair_of(name))}
    if len(pairs) < 2:
        return []
    columns = sorted({pair.queries for pair in pairs.values()})
    rows = [["collection", "documents", "system", *columns, "mean"]]
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for name, pair in pairs.items():
        groups.setdefault((family_of(name), pair.documents), {})[pair.queries] = name
    for (family, held), of_group in groups.items():
        for system in results.systems:
            values = {
                asked: results.value(name, system, measure) for asked, name in of_group.items()
            }
            known = [value for value in values.values() if value is not None]
            if known:
                cells = [_number(values.get(asked), digits) for asked in columns]
                rows.append(
                    [family, held, system, *cells, _number(sum(known) / len(known), digits)]
                )
    return rows


def measures_table(evaluations: Sequence[Evaluation], *, digits: int = 4) -> list[list[str]]:
    """One evaluation a row, measures across."""
    measures = list(dict.fromkeys(name for found in evaluations for name in found.measures))
    rows = [["dataset", "system", *measures, "queries"]]
    for found in evaluations:
        cells = [_number(found.measures.get(name), digits) for name in measures]
        rows.append([found.dataset, found.system, *cells, str(found.report["queries"])])
    return rows


def markdown(rows: Sequence[Sequence[str]], bold: Mapping[int, set[int]] | None = None) -> str:
    """A Markdown table: the first row is its head, columns beyond the first go right."""
    bold = bold or {}
    lines = [
        "| "
        + " | ".join(
            f"**{cell}**" if column in bold.get(number, set()) else cell
            for column, cell in enumerate(row)
        )
        + " |"
        for number, row in enumerate(rows)
    ]
    rule = "| " + " | ".join(["---", *["---:"] * (len(rows[0]) - 1)]) + " |"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def best_cells(rows: Sequence[Sequence[str]]) -> dict[int, set[int]]:
    """The columns of the highest number in each row below the head."""
    found = {}
    for number, row in enumerate(rows[1:], 1):
        values = {
            column: float(cell.rstrip(BETTER + WORSE))
            for column, cell in enumerate(row)
            if column and cell.rstrip(BETTER + WORSE).replace(".", "", 1).isdigit()
        }
        best = max(values.values(), default=0.0)
        found[number] = {column for column, value in values.items() if value == best}
    return found


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
