"""`tamis bench search --made DIR`: every engine over one collection, tuned, at three depths.

A cell is one engine at one setting, one kind of queries and one k: processor time a query, least of
the turns, and the share of the true best documents that it found. The truth is exact search over
float32 weights, which the gate compares with the reference first. Each cell is appended to a file
as soon as it is measured; a run that was cut off builds again and goes on with the cells that lack.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tamis.eval.provenance import provenance
from tamis.index import reference
from tamis.index.errors import InputError
from tamis.index.files.system import memory_bytes
from tamis.scripts.bench.contenders import EXACT, start
from tamis.scripts.bench.made_vectors import (
    SEED,
    check_room,
    compose_into,
    is_whole,
    open_vectors,
    read_recipe,
    read_world,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.scripts.bench.contenders import Process

DEPTHS = (10, 100, 1000)
LEVELS = (0.90, 0.95, 0.97, 0.99)
NEARLY_ALL = 0.999  # of the best documents: what counts as exact where sums are floats
TURNS = 2
BYTES_AN_ENTRY = {"memory": 75, "disk": 22}  # of all engines together, while they are built
GATE_QUERIES, GATE_DOCUMENTS = 4, 5_000


class Cell(NamedTuple):
    """What is measured at once."""

    engine: str
    kind: str
    k: int
    setting: str


def measure_at_size(
    vectors: Path,
    scratch: Path,
    queries: int,
    kinds: Sequence[str],
    tell: Callable[[str], None],
    depths: Sequence[int] = DEPTHS,
    trust_memory: bool = False,
) -> dict[str, Any]:
    """Build all engines over a collection and measure every cell; a JSON-ready report.

    Args:
        vectors: the collection's folder; its queries lie beside it.
        scratch: for indexes; cells are kept here too.
        queries: how many of each kind.
        kinds: folders of queries.
        tell: told about each step.
        depths: numbers of results.
        trust_memory: go on where the machine says that it has too little memory.

    Raises:
        InputError: there is too little disk or memory.
        AssertionError: exact search differs from the reference.
    """
    documents = open_vectors(vectors)
    scratch.mkdir(parents=True, exist_ok=True)
    check_room(scratch, documents.nnz * BYTES_AN_ENTRY["disk"])
    if not trust_memory:
        _check_memory(documents.nnz * BYTES_AN_ENTRY["memory"])
    done = _done(scratch / "cells.jsonl")
    processes, missing = start(vectors, scratch)
    try:
        tell(f"{vectors.name}: building {', '.join(processes)}; left out: {missing or 'none'}")
        built = {}
        for name, process in processes.items():
            built[name] = process.took()
            tell(f"{vectors.name}: {name} built in {built[name].wall_s:.0f} s")
        for kind in kinds:
            _gate(processes["tamis"], documents, vectors.parent / kind)
            for k in depths:
                for cell in _measured(processes, kind, k, queries, done):
                    with (scratch / "cells.jsonl").open("a") as out:
                        out.write(json.dumps(cell) + "\n")
                    done[Cell(cell["engine"], kind, k, cell["setting"])] = cell
                tell(f"{vectors.name}: {kind} queries, k = {k} measured")
    finally:
        for process in processes.values():
            process.end()
    rows = list(done.values())
    return {
        "vectors": vectors.name,
        "documents": len(documents),
        "terms_a_document": round(documents.nnz / len(documents), 1),
        "queries": queries,
        "built": {name: took._asdict() for name, took in built.items()},
        "missing": missing,
        "cells": rows,
        "best": cheapest(rows),
        "provenance": provenance(SEED),
    }


def measure_composed(
    made: Path, documents: int, queries: int, tell: Callable[[str], None], trust_memory: bool
) -> dict[str, Any]:
    """Compose a collection of a folder of `make_vectors` and measure it; see `measure_at_size`.

    The collection and its indexes are removed afterwards; a run that was cut off leaves them, and
    the cells it measured.
    """
    vectors, scratch = made / f"composed-{documents}", made / "scratch" / f"composed-{documents}"
    recipe, world = read_recipe(made), read_world(made)
    compose_into(vectors, world, documents, recipe)
    tell(f"{vectors.name} composed by {recipe}")
    kinds = [kind for kind in ("short", "long") if is_whole(made / kind)]
    report = measure_at_size(vectors, scratch, queries, kinds, tell, DEPTHS, trust_memory)
    report["recipe"] = recipe._asdict()
    report["documents_a_window"] = max(recipe.variants, documents / len(world.vectors))
    for folder in (vectors, scratch):
        shutil.rmtree(folder)
    return report


def cheapest(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cheapest setting of each engine that reaches each level; exact search is one of them."""
    found = []
    for kind, k, level in _levels(rows):
        there = [row for row in rows if (row["kind"], row["k"]) == (kind, k)]
        for engine in dict.fromkeys(row["engine"] for row in there):
            good = [row for row in there if row["engine"] == engine and row["recall"] >= level]
            best = min(good, key=lambda row: float(row["us"]), default=None)
            found.append(
                {
                    "kind": kind,
                    "k": k,
                    "level": EXACT if level == NEARLY_ALL else level,
                    "engine": engine,
                    "us": best["us"] if best else None,
                    "recall": best["recall"] if best else None,
                    "setting": best["setting"] if best else None,
                }
            )
    return found


def _levels(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, int, float]]:
    for kind, k in dict.fromkeys((row["kind"], row["k"]) for row in rows):
        for level in (*LEVELS, NEARLY_ALL):
            yield kind, k, level


def _measured(
    processes: dict[str, Process],
    kind: str,
    k: int,
    queries: int,
    done: dict[Cell, dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    """The cells that lack, engine after engine, each in turns with its truth beside it."""
    wanted = [
        Cell(name, kind, k, setting)
        for name, process in processes.items()
        for setting in process.settings(k)
    ]
    wanted = [cell for cell in wanted if cell not in done]
    if not wanted:
        return
    _, truth = processes["tamis"].timed(kind, queries, k, EXACT)
    least: dict[Cell, float] = {}
    recall: dict[Cell, float] = {}
    for _ in range(TURNS):  # A B A B: what else runs on the machine meets all of them
        for cell in wanted:
            took, found = processes[cell.engine].timed(kind, queries, k, cell.setting)
            least[cell] = min(took, least.get(cell, np.inf))
            recall[cell] = overlap(found, truth)
    for cell in wanted:
        yield cell._asdict() | {"us": round(least[cell], 1), "recall": round(recall[cell], 4)}


def overlap(found: Sequence[NDArray[Any]], truth: Sequence[NDArray[Any]]) -> float:
    """The mean share of the true documents that were found; a query without any counts as 1."""
    shares = []
    for ours, best in zip(found, truth, strict=True):
        true = best[best >= 0]
        shares.append(np.isin(true, ours).sum() / true.size if true.size else 1.0)
    return float(np.mean(shares))


def _gate(tamis: Process, documents: Any, kind: Path) -> None:  # noqa: ANN401
    """Refuse to measure an exact search that misses one of the first documents' own best."""
    part = documents.rows(0, min(GATE_DOCUMENTS, len(documents)))
    sample = open_vectors(kind).rows(0, GATE_QUERIES)
    best = reference.search(part, sample, 1)
    whole = tamis.timed(kind.name, GATE_QUERIES, 1, EXACT)[1]
    for row in range(GATE_QUERIES):
        doc = int(whole[row][0])
        if doc < 0:
            assert best.docs[row, 0] < 0, "exact search found nothing where something matches"
            continue
        score = reference.search(documents.rows(doc, doc + 1), sample.rows(row, row + 1), 1)
        assert score.scores[0, 0] >= best.scores[row, 0], "exact search differs from the reference"


def _check_memory(wanted: int) -> None:
    there = memory_bytes()
    if there is not None and there < wanted:
        raise InputError(
            f"expected {wanted / 1e9:.0f} GB of memory for all engines, found {there / 1e9:.0f}; "
            "take fewer --documents, or --trust-memory where the machine has more than it says"
        )


def _done(file: Path) -> dict[Cell, dict[str, Any]]:
    """Cells of an earlier run; a last line that was cut off is measured again."""
    cells = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        cells[Cell(row["engine"], row["kind"], row["k"], row["setting"])] = row
    return cells
