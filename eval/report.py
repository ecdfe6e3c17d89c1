"""A report in one HTML file: tables, pictures, failing queries, settings; it loads nothing."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

from tamis.eval import pictures
from tamis.eval.tables import Compared, Results, comparison_table, measures_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tamis.eval.evaluate import Evaluation
    from tamis.eval.failures import Failure, ShownDocument

FEWEST_COMPARED = 3  # systems that a picture of cost and worth is drawn of
_STYLE = """
:root { --ground:#fbfaf8; --sheet:#fff; --ink:#1c1b19; --quiet:#635f58; --line:#e2ded6;
  --accent:#0f766e; --bad:#a8201a; }
@media (prefers-color-scheme: dark) { :root { --ground:#151618; --sheet:#1d1f22; --ink:#ebe9e4;
  --quiet:#a5a19a; --line:#34373c; --accent:#2dd4bf; --bad:#ff9f96; } }
* { box-sizing:border-box }
body { margin:0 auto; max-width:70rem; padding:1.25rem; background:var(--ground); color:var(--ink);
  font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif }
h1 { font-size:1.5rem; margin:.5rem 0 } h2 { font-size:1.15rem; margin:2.25rem 0 .5rem }
h3 { font-size:1rem; margin:0 } p,.note { color:var(--quiet); margin:.5rem 0 .8rem }
.scroll { overflow-x:auto; border:1px solid var(--line); border-radius:8px;
  background:var(--sheet) }
table { border-collapse:collapse; width:100%; font-size:.9rem; font-variant-numeric:tabular-nums }
th,td { padding:.4rem .75rem; text-align:right; white-space:nowrap;
  border-bottom:1px solid var(--line) }
th:first-child,td:first-child { text-align:left; position:sticky; left:0; background:var(--sheet) }
tr:last-child td { border-bottom:0 } th { color:var(--quiet); font-weight:600 }
.pictures { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));
  gap:1rem }
figure { margin:0; background:#fff; border:1px solid #e2ded6; border-radius:8px; padding:.5rem }
figure { overflow-x:auto } figure svg { width:100%; min-width:26rem; height:auto; display:block }
@media (prefers-color-scheme: dark) { figure { filter:invert(.9) hue-rotate(180deg) } }
article { background:var(--sheet); border:1px solid var(--line); border-radius:8px;
  padding:.8rem 1rem; margin:.75rem 0; overflow-wrap:anywhere }
article p { margin:.35rem 0; color:var(--ink) } .label { color:var(--quiet); font-size:.85rem }
.terms { display:flex; flex-wrap:wrap; gap:.3rem; margin:.3rem 0 0; padding:0; list-style:none }
.terms li { border:1px solid var(--line); border-radius:999px; padding:0 .6rem; font-size:.85rem }
.terms .expansion { border-style:dashed; color:var(--accent) }
details { margin:.5rem 0 } summary { cursor:pointer; color:var(--accent) }
pre { overflow-x:auto; background:var(--sheet); border:1px solid var(--line); border-radius:8px;
  padding:.75rem; font-size:.8rem }
"""


def write_report(
    evaluations: Sequence[Evaluation], path: Path, *, baseline: str | None = None, seed: int = 0
) -> None:
    """Write the report of these evaluations.

    Args:
        evaluations: of any systems on any datasets.
        path: the ``.html`` file.
        baseline: the system that the others are compared with; None compares none.
        seed: of the significance tests.

    Raises:
        InputError: ``baseline`` is none of the systems.
    """
    results = Results(evaluations)
    measure = next(iter(evaluations[0].measures))
    compared = []
    if baseline is not None and len(results.systems) > 1:
        compared = results.compared(measure, baseline, seed)
    parts = [
        f"<h1>{escape(_title(results))}</h1>",
        _origin(evaluations[0]),
        _effectiveness(results, measure, baseline, compared),
        _section("All measures", _table(_brief(measures_table(evaluations)))),
        _section("Cost", _table(_brief(cost_table(evaluations)))),
        _pictures(results, measure, baseline),
        _failing(evaluations, measure),
        _settings(evaluations),
    ]
    path.write_text(_page(_title(results), "\n".join(parts)), encoding="utf-8")


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n"
        "</body>\n</html>\n"
    )


def _title(results: Results) -> str:
    systems, datasets = len(results.systems), len(results.datasets)
    if datasets == 1:
        return f"Evaluation on {results.datasets[0]}"
    return f"Evaluation of {systems} system{'s' * (systems > 1)} on {datasets} datasets"


def _origin(evaluation: Evaluation) -> str:
    origin = evaluation.report["provenance"]
    machine = origin["machine"]
    commit = (origin["commit"] or "not from a checkout")[:12]
    return (
        f"<p>{escape(origin['time'])}, commit {escape(commit)}, {escape(machine['processor'])}, "
        f"{machine['cores']} cores, load {machine['load_average']}</p>"
    )


def _section(title: str, *content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(content) + "\n</section>"


def _table(rows: Sequence[Sequence[str]]) -> str:
    def line(row: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"

    head, body = line(rows[0], "th"), "\n".join(line(row, "td") for row in rows[1:])
    return f'<div class="scroll"><table><thead>{head}</thead>\n<tbody>{body}</tbody></table></div>'


def _brief(rows: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """The rows without their dataset where the title names it: a phone is narrow."""
    only_one = len({row[0] for row in rows[1:]}) == 1
    return [row[1:] for row in rows] if only_one else rows


def _effectiveness(
    results: Results, measure: str, baseline: str | None, compared: Sequence[Compared]
) -> str:
    content = [_table(comparison_table(results, measure, baseline))]
    if compared:
        content += [
            f'<p class="note">▲ ▼: better, worse than {escape(str(baseline))} by a paired '
            "randomisation test, p &lt; .05 after Holm's correction for all comparisons of the "
            "table. Intervals: 95 % bootstrap over queries.</p>",
            _table(_brief(_significance_rows(compared))),
        ]
    return _section(measure, *content)


def _significance_rows(compared: Sequence[Compared]) -> list[list[str]]:
    rows = [["dataset", "system", "difference", "interval", "p", "corrected p", "better", "worse"]]
    for row in compared:
        found = row.comparison
        rows.append(
            [
                row.dataset,
                row.system,
                f"{found.difference:+.4f}{row.mark}",
                f"{found.low:+.4f} to {found.high:+.4f}",
                f"{found.p:.4f}",
                f"{row.corrected_p:.4f}",
                str(found.wins),
                str(found.losses),
            ]
        )
    return rows


def cost_table(evaluations: Sequence[Evaluation]) -> list[list[str]]:
    """Latency, size and activity of each evaluation, empty where not measured."""
    head = ["dataset", "system", "p50 ms", "p95 ms", "p99 ms", "bytes/document", "documents/s"]
    rows = [[*head, "terms/document", "terms/query", "FLOPS"]]
    for found in evaluations:
        total = found.report["timings"].get("latency_ms", {}).get("total_ms", {})
        facts = found.report.get("efficiency", {})
        cells = [
            *(total.get(name) for name in ("p50", "p95", "p99")),
            facts.get("index_bytes_per_document"),
            facts.get("documents_per_s"),
            *(_sum(facts.get(key)) for key in ("document_terms", "query_terms", "flops")),
        ]
        rows.append([found.dataset, found.system, *(_short(cell) for cell in cells)])
    return rows


def _sum(by_channel: dict[str, float] | None) -> float | None:
    return None if by_channel is None else sum(by_channel.values())


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"


def _pictures(results: Results, measure: str, baseline: str | None) -> str:
    blocks = [_gallery(cost_pictures(results, measure), 0)]
    number = 0
    for dataset in results.datasets:
        drawn = dataset_pictures(results, dataset, measure, baseline)
        number += 100
        if drawn:
            opened = " open" * (len(results.datasets) == 1)
            blocks.append(
                f"<details{opened}><summary>{escape(dataset)}</summary>"
                f"{_gallery(drawn, number)}</details>"
            )
    return _section("Pictures", *blocks) if any(blocks) else ""


def _gallery(drawn: Sequence[Any], first_number: int) -> str:
    figures = "".join(
        f"<figure>{_unique_ids(pictures.svg(figure), number)}</figure>"
        for number, figure in enumerate(drawn, first_number)
    )
    return f'<div class="pictures">{figures}</div>' if drawn else ""


def cost_pictures(results: Results, measure: str) -> list[Any]:
    """The measure against latency, index size and active terms, where three systems have them.

    Two dots are no picture: the tables say it shorter.
    """
    found = []
    for label, cost_of in (
        ("latency, p50 ms", _latency),
        ("index, bytes a document", _bytes),
        ("active terms of a document", _terms),
    ):
        points = _points(results, measure, cost_of)
        if len({point.system for point in points}) >= FEWEST_COMPARED:
            found.append(pictures.trade_off(points, label, measure, f"{measure} against cost"))
    return found


def dataset_pictures(
    results: Results, dataset: str, measure: str, baseline: str | None
) -> list[Any]:
    """Wins and losses against the baseline, and histograms, of each system on one dataset."""
    found = []
    against = results.get(dataset, baseline) if baseline else None
    for system in results.systems:
        own = results.get(dataset, system)
        if own is None:
            continue
        if against is not None and system != baseline:
            queries = [q for q in own.values[measure] if q in against.values[measure]]
            ours, theirs = ([of.values[measure][q] for q in queries] for of in (own, against))
            names = (f"{system} on {dataset}", str(baseline))
            found.append(pictures.wins_and_losses(ours, theirs, names, measure))
    counts = {
        system: own.distributions
        for system in results.systems
        if (own := results.get(dataset, system)) is not None and own.distributions
    }
    if counts:
        found.append(pictures.histograms(counts, "active terms"))
    return found


def _points(results: Results, measure: str, cost_of: Any) -> list[pictures.Point]:  # noqa: ANN401
    found = []
    for system in results.systems:
        pairs = [
            (cost, value)
            for dataset in results.averaged_datasets(measure)
            if (own := results.get(dataset, system)) is not None
            and (cost := cost_of(own)) is not None
            and (value := results.value(dataset, system, measure)) is not None
        ]
        if pairs:
            cost, worth = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
            found.append(pictures.Point(system, cost, worth))
    return found


def _latency(found: Evaluation) -> float | None:
    total = found.report["timings"].get("latency_ms", {}).get("total_ms", {})
    return total.get("p50") or None


def _bytes(found: Evaluation) -> float | None:
    return found.report.get("efficiency", {}).get("index_bytes_per_document") or None


def _terms(found: Evaluation) -> float | None:
    return _sum(found.report.get("efficiency", {}).get("document_terms")) or None


def _unique_ids(svg: str, number: int) -> str:
    """Keep the clip paths of several pictures in one page apart."""
    return (
        svg.replace('id="', f'id="p{number}-')
        .replace("url(#", f"url(#p{number}-")
        .replace('href="#', f'href="#p{number}-')
    )


def _failing(evaluations: Sequence[Evaluation], measure: str) -> str:
    found = [
        f"<h3>{escape(of.system)} on {escape(of.dataset)}</h3>"
        + "\n".join(_failure(failure, measure) for failure in of.failures)
        for of in evaluations
        if of.failures
    ]
    if not found:
        return ""
    note = (
        '<p class="note">The queries with the lowest values, and why. A term that neither the '
        "document's text nor its title holds, but the encoder added, is dashed.</p>"
    )
    return _section("Failing queries", note, *found)


def _failure(failure: Failure, measure: str) -> str:
    return (
        f"<article><h3>{escape(failure.text)}</h3>"
        f'<p class="label">query {escape(failure.query)}, {escape(measure)} {failure.value:.3f}</p>'
        f"{_document('First answer', failure.found)}{_document('Wanted', failure.wanted)}</article>"
    )


def _document(label: str, shown: ShownDocument | None) -> str:
    if shown is None:
        return f'<p><span class="label">{label}:</span> none</p>'
    place = f"rank {shown.rank}" if shown.rank else "not ranked"
    grade = "not judged" if shown.grade is None else f"grade {shown.grade}"
    terms = "".join(
        f"<li{' class=expansion' * term.expansion}>{escape(term.term)} {term.contribution:.2f}</li>"
        for term in shown.terms
    )
    return (
        f'<p><span class="label">{label}: {escape(shown.doc_id)}, {place}, {grade}</span><br>'
        f'{escape(shown.excerpt)}</p><ul class="terms">{terms}</ul>'
    )


def _settings(evaluations: Sequence[Evaluation]) -> str:
    blocks = [
        f"<details><summary>{escape(found.system)} on {escape(found.dataset)}</summary>"
        f"<pre>{escape(json.dumps(found.report, indent=2, default=str))}</pre></details>"
        for found in evaluations
    ]
    return _section("Settings and origin", *blocks)
