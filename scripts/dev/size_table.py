"""The table of index/README.md over collections at size, from eval/results/search-size-*.json.

    python scripts/dev/size_table.py           # print it
    python scripts/dev/size_table.py --write   # put it between its marks in index/README.md

A cell is Tamis's time, the best peer's, which one that is (Q: SINDI plain; Q8: SINDI quantised;
QP: SINDI quantised and pruned; S: Seismic), and their ratio. SINDI plain adds floats and leaves
nothing out where no query is pruned: that counts as exact, whatever ties did to its recall.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FILES = ("real", "1m", "4m", "8.8m")
LEVELS = {10: (0.95, 0.99, "exact"), 100: (0.95, "exact"), 1000: (0.95, "exact")}
COLUMNS = [(k, level) for k, levels in LEVELS.items() for level in levels]
SHORT = {
    "SINDI, plain": "Q",
    "SINDI, quantised": "Q8",
    "SINDI, quantised, pruned": "QP",
    "Seismic": "S",
}
BEGIN, END = "<!-- size table -->", "<!-- end of size table -->"


def table() -> list[str]:
    """Lines of Markdown."""
    heads = [f"k = {k:,}, {level}" for k, level in COLUMNS]
    lines = [f"| documents, queries | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name in FILES:
        file = ROOT / f"eval/results/search-size-{name}.json"
        if file.exists():
            lines += _lines(json.loads(file.read_text("utf-8")))
    return lines


def _lines(report: dict[str, Any]) -> list[str]:
    origin = "real" if report["vectors"] == "documents" else "composed"
    return [
        f"| {report['documents']:,} {origin}, {kind} | "
        + " | ".join(_cell(report, kind, k, level) for k, level in COLUMNS)
        + " |"
        for kind in ("short", "long")
    ]


def _cell(report: dict[str, Any], kind: str, k: int, level: float | str) -> str:
    best = {
        row["engine"]: row["us"]
        for row in report["best"]
        if (row["kind"], row["k"], row["level"]) == (kind, k, level) and row["us"]
    }
    if level == "exact":
        best |= {
            row["engine"]: row["us"]
            for row in report["cells"]
            if (row["engine"], row["kind"], row["k"], row["setting"])
            == ("SINDI, plain", kind, k, "query_prune=0.0")
        }
    ours = best.pop("tamis", None)
    if ours is None:
        return "not reached"
    if not best:
        return f"{ours:,.0f}, no peer"
    peer = min(best, key=lambda name: float(best[name]))
    return f"{ours:,.0f}, {best[peer]:,.0f} {SHORT[peer]}, **{ours / best[peer]:.2f}**"


def written(text: str) -> str:
    """A page with the table between its marks."""
    before, rest = text.split(BEGIN)
    return "\n".join([before + BEGIN, "", *table(), "", END]) + rest.split(END)[1]


if __name__ == "__main__":
    if "--write" in sys.argv:
        page = ROOT / "index/README.md"
        page.write_text(written(page.read_text("utf-8")), "utf-8")
    else:
        print("\n".join(table()))
