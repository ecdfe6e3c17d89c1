"""The long form of the strain suite: a bad day of a server, of so many seconds.

    strain.py SEED OUT.json [--seconds 2700] [--quiet 0.1]

A server as a process of its own, with the pauses it really has. Small searches and writes all the
time; attackers (`attackers`) and one cell of the matrix after the other in rounds, each after some
quiet: whatever else the machine does meanwhile is then in both. What the searches found is compared
with brute force at the end (`answers`), and what is left once more after a kill.
OUT is written after each cell; given again, it goes on with the cells that are left. The server's
log lies beside it at the end, with the stacks of its threads where a cell has failed.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict
from math import inf
from pathlib import Path

import httpx
from answers import Answers
from matrix import Bounds, cells_of, fill, held, is_found, run_cell, steps_of
from strained import KEY, Strained, until
from works import WORKS

from tamis.eval.provenance import provenance

ROUND_S = 300.0  # of quiet, and of strain after it
TOLD_S, WELL_S = 2.0, 5.0  # what is promised
PATIENCE = Bounds(told_s=60, well_s=120, calm_s=2.0)  # beyond this a cell has failed
ATTACKERS = Path(__file__).parent / "attackers.py"


def cells(server, seed):
    """All cells of the matrix, in an order of their own for each seed."""
    found = [cell for work in WORKS for cell in cells_of(work, steps_of(server, work), seed)]
    random.Random(f"{seed} order").shuffle(found)
    return found


def fill_long(server):
    """An index of long texts for the attackers."""
    rng = random.Random("long")
    server.ask("PUT", "indexes/long", json={"encoder": None, "fields": {"kind": "string"}})
    lines = (
        json.dumps(
            {
                "_id": f"l{at}",
                "text": "owl " + " ".join(f"w{rng.randrange(500)}" for _ in range(400)),
            }
        )
        for at in range(200)
    )
    server.ask("POST", "indexes/long/documents?wait=searchable", content="\n".join(lines))


def strain(folder, seed, seconds, quiet_s, done, keep):
    """Strain a server; what came of it.

    Args:
        folder: where.
        seed: of everything.
        seconds: how long.
        quiet_s: how many of them without attackers and cells.
        done: (path, step, error) of cells that need not be run again.
        keep: called with each row.
    """
    server, failed = Strained(folder, settings={}), []
    fill(server)
    fill_long(server)
    todo = iter([cell for cell in cells(server, seed) if key_of(cell.row(0, None, 0)) not in done])
    answers = Answers(server.address, server.http.headers, seed)
    quiet, met, most_bytes = [], Counter(), 0.0
    rounds = max(1, round(seconds / ROUND_S))
    for number in range(rounds):
        began = time.monotonic()
        time.sleep(quiet_s / rounds)
        quiet.append((began, time.monotonic()))
        files, maps, _ = held(server)
        at_rest = (files, maps, 0.0)
        with attacked(server, f"{seed} {number}", (seconds - quiet_s) / rounds, met) as end:
            while time.monotonic() < end and (cell := next(todo, None)) is not None:
                tried(server, cell, keep, failed)
                most_bytes = max(most_bytes, server.held_bytes())
    answers.stop()
    until(lambda: server.is_well() and is_found(server), 120)
    took = {
        name: sorted(
            took_s
            for *_, took_s, at in answers.asked
            if any(first < at < last for first, last in quiet) is is_quiet
        )
        for name, is_quiet in (("quiet", True), ("strained", False))
    }
    found = {
        "cells_failed": failed,
        "searches": len(answers.asked),
        "wrong": len(wrong := answers.wrong()),
        "wrong_searches": wrong[:5],
        "unexplained": answers.failures,
        "refused_writes": answers.refused,
        "attackers": dict(sorted(met.items())),
        "attackers_unexplained": {
            kind: count for kind, count in met.items() if is_unexplained(kind)
        },
        "most_held_bytes": most_bytes,
        "held_at_the_end": settled(server, at_rest),
        "held_at_rest": at_rest,
        **{f"{name}_p50_ms": quantile(times, 0.5) for name, times in took.items()},
        **{f"{name}_p99_ms": quantile(times, 0.99) for name, times in took.items()},
    }
    found["lost_after_a_kill"] = lost_after_a_kill(server)
    return found


@contextmanager
def attacked(server, seed, seconds, met):
    """Attackers for so long, whose answers are counted; the time when they end."""
    end = time.monotonic() + seconds
    command = [sys.executable, ATTACKERS, server.address, KEY, seed, seconds]
    attackers = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    yield end
    met.update(json.loads(attackers.communicate()[0]))


def tried(server, cell, keep, failed):
    """Run a cell; its row is kept, or what has failed."""
    try:
        keep(asdict(run_cell(server, cell, (inf, inf, inf), PATIENCE)))
    except (AssertionError, httpx.HTTPError):
        failed.append(f"{cell.row(0, None, 0)}: {traceback.format_exc(limit=-4)[-1500:]}")
        server.order(allow=1)
        until(server.is_well, 120)


def lost_after_a_kill(server):
    """How many acknowledged documents the next server does not find."""
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    again = Strained(server.folder, settings={})
    try:
        until(again.is_well, 120)
        return sum(len(ids - again.found(name)) for name, ids in server.truth.items())
    finally:
        again.stop()


def settled(server, at_rest):
    """Open files, maps and bytes that are held when all clients have left: after 60 s at most."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = held(server)
        if all(now <= then for now, then in zip(found, at_rest, strict=True)):
            break
        time.sleep(0.5)
    return found


def is_unexplained(kind):
    """Whether an answer to an attacker is a 5xx that no bound and no refusal explains."""
    status, _, code = kind.partition(" ")[2].partition(" ")
    return status.startswith("5") and (status not in ("503", "507") or code == "internal_error")


def quantile(times, share):
    return round(times[min(int(share * len(times)), len(times) - 1)] * 1000, 2) if times else None


def key_of(row):
    row = row if isinstance(row, dict) else asdict(row)
    return row["path"], row["step"], row["error"]


def summary(rows):
    """Figures over all rows."""
    told = sorted(row["told_s"] for row in rows if row["told_s"] is not None)
    well = sorted(row["well_s"] for row in rows)
    return {
        "cells": len(rows),
        "refused_cells": sum(row["refused"] > 0 for row in rows),
        "told_p50_s": round(quantile(told, 0.5) / 1000, 3) if told else None,
        "told_most_s": round(told[-1], 3) if told else None,
        "told_late": sum(one > TOLD_S for one in told),
        "well_p50_s": round(quantile(well, 0.5) / 1000, 3) if well else None,
        "well_most_s": round(well[-1], 3) if well else None,
        "well_late": sum(one > WELL_S for one in well),
    }


def main():
    parser = argparse.ArgumentParser(description="A bad day of a server.")
    parser.add_argument("seed")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=2700)
    parser.add_argument("--quiet", type=float, default=0.1, help="share of them without attackers")
    asked = parser.parse_args()
    kept = json.loads(asked.out.read_text()) if asked.out.exists() else {"rows": [], "runs": []}

    def save():
        asked.out.write_text(
            json.dumps({**kept, "summary": summary(kept["rows"])}, indent=1) + "\n"
        )

    def keep(row):
        kept["rows"].append(row)
        save()

    with tempfile.TemporaryDirectory() as folder:
        done = {key_of(row) for row in kept["rows"]}
        quiet_s = asked.quiet * asked.seconds
        place = Path(folder) / "place"
        try:
            found = strain(place, asked.seed, asked.seconds, quiet_s, done, keep)
        finally:
            shutil.copyfile(place / "log", asked.out.with_suffix(".log"))
    kept["runs"].append(
        {**provenance(0), "strain_seed": asked.seed, "seconds": asked.seconds, **found}
    )
    save()


if __name__ == "__main__":
    main()
