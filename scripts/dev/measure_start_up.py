#!/usr/bin/env python
"""Measure what fresh processes of two builds take before they answer.

    python scripts/dev/measure_start_up.py OUT.json OLD_TAMIS NEW_TAMIS

OLD_TAMIS and NEW_TAMIS are the commands of two installed builds. Each makes an index of the sample
collection's words, then `tamis --help` and `tamis search` run in turns, files warm. A figure is the
least processor time of the turns in milliseconds, of the process and its children; elapsed time
stands beside it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tamis.eval.provenance import provenance

TURNS = 20
SAMPLE = Path(__file__).resolve().parents[2] / "eval" / "sample"


def main() -> None:
    """Write the figures."""
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} OUT.json OLD_TAMIS NEW_TAMIS")
    rows: dict[str, dict[str, list[tuple[float, float]]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / name for name in ("old", "new")]
        for tamis, folder in zip(sys.argv[2:], folders, strict=True):
            run([tamis, "index", str(SAMPLE), "--out", str(folder), "--encoder", "bm25"])
        for turn in range(TURNS + 1):
            for name, tamis, folder in zip(("old", "new"), sys.argv[2:], folders, strict=True):
                for what, command in (
                    ("tamis --help", ["--help"]),
                    ("tamis search", ["search", str(folder), "flow over a plate", "-k", "3"]),
                ):
                    took = run([tamis, *command])
                    if turn:  # the first warms files up
                        rows.setdefault(what, {}).setdefault(name, []).append(took)
    result = {what: figures(builds) for what, builds in rows.items()}
    Path(sys.argv[1]).write_text(
        json.dumps(result | {"provenance": provenance(0)}, indent=1) + "\n"
    )


def run(command: list[str]) -> tuple[float, float]:
    """Processor and elapsed milliseconds of a command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    after, elapsed = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * used, 1000 * elapsed


def figures(builds: dict[str, list[tuple[float, float]]]) -> dict[str, float]:
    """The least of each build, and the ratio of the new one to the old one."""
    found = {}
    for name, took in builds.items():
        found[f"{name}_processor_ms"], found[f"{name}_elapsed_ms"] = map(
            min, zip(*took, strict=True)
        )
    found["ratio"] = found["new_processor_ms"] / found["old_processor_ms"]
    return {name: round(value, 3) for name, value in found.items()}


if __name__ == "__main__":
    main()
