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
from tamis.scripts.bench.loops import scores_of
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

    from tamis.index import SparseVectors
    from tamis.scripts.bench.contenders import Process

DEPTHS = (10, 100, 1000)
LEVELS = (0.90, 0.95, 0.97, 0.99)
NEARLY_ALL = 0.999  # of the best documents: what counts as exact where sums are floats
ROUNDING = 1e-6  # of a score, between sums of single and of double precision
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
                asked = open_vectors(vectors.parent / kind).rows(0, queries)
                for cell in _measured(processes, documents, asked, kind, k, done):
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
    scratch = made / "scratch" / f"composed-{documents}"
    vectors = made / scratch.name
    recipe, world = read_recipe(made), read_world(made)
    compose_into(vectors, world, documents, recipe)
    tell(f"{vectors.name} composed by {recipe}")
    report = _measure_kinds(vectors, scratch, queries, tell, trust_memory)
    report["recipe"] = recipe._asdict()
    report["documents_a_window"] = max(recipe.variants, documents / len(world.vectors))
    for folder in (vectors, scratch):
        shutil.rmtree(folder)
    return report


def measure_real(
    made: Path, queries: int, tell: Callable[[str], None], trust_memory: bool
) -> dict[str, Any]:
    """Measure the real passages of a folder of `make_vectors`; see `measure_at_size`."""
    scratch = made / "scratch" / "documents"
    report = _measure_kinds(made / "documents", scratch, queries, tell, trust_memory)
    shutil.rmtree(scratch)
    return report


def _measure_kinds(
    vectors: Path, scratch: Path, queries: int, tell: Callable[[str], None], trust_memory: bool
) -> dict[str, Any]:
    kinds = [kind for kind in ("short", "long") if is_whole(vectors.parent / kind)]
    return measure_at_size(vectors, scratch, queries, kinds, tell, DEPTHS, trust_memory)


def cheapest(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cheapest setting of each engine that reaches each level; exact search is one of them."""
    found = []
    for kind, k, level in _levels(rows):
        there = [row for row in rows if (row["kind"], row["k"]) == (kind, k)]
        for engine in dict.fromkeys(map(_engine, there)):
            good = [row for row in there if _engine(row) == engine and row["recall"] >= level]
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


def _engine(row: dict[str, Any]) -> str:
    """Whose cell it is; exact search in a way that is told counts apart."""
    way, _, how = row["setting"].rpartition(" ")
    return f"{row['engine']}, {way}" if how == EXACT and way else row["engine"]


def _levels(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, int, float]]:
    for kind, k in dict.fromkeys((row["kind"], row["k"]) for row in rows):
        for level in (*LEVELS, NEARLY_ALL):
            yield kind, k, level


def _measured(
    processes: dict[str, Process],
    documents: SparseVectors,
    asked: SparseVectors,
    kind: str,
    k: int,
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
    _, truth = processes["tamis"].timed(kind, len(asked), k, EXACT)
    least: dict[Cell, float] = {}
    recall: dict[Cell, float] = {}
    for _ in range(TURNS):  # A B A B: what else runs on the machine meets all of them
        for cell in wanted:
            took, found = processes[cell.engine].timed(kind, len(asked), k, cell.setting)
            least[cell] = min(took, least.get(cell, np.inf))
            recall[cell] = recall_by_score(documents, asked, found, truth)
    for cell in wanted:
        yield cell._asdict() | {"us": round(least[cell], 1), "recall": round(recall[cell], 4)}


def recall_by_score(
    documents: SparseVectors,
    asked: SparseVectors,
    found: Sequence[NDArray[Any]],
    truth: Sequence[NDArray[Any]],
) -> float:
    """The mean share of results that score no less than the last true one, so that ties are equal.

    A query without any true result counts as 1.
    """
    arrays = (documents.offsets, documents.terms, documents.weights)
    weights = np.zeros(documents.vocab_size)
    shares = []
    for row, (ours, best) in enumerate(zip(found, truth, strict=True)):
        # where a peer finds fewer than k, the other places may hold any number
        true, known = best[best >= 0], np.unique(ours[(ours >= 0) & (ours < len(documents))])
        terms, values = asked.row(row)
        weights[terms] = values
        least = scores_of(*arrays, true, weights).min(initial=np.inf)
        good = scores_of(*arrays, known, weights) >= least * (1 - ROUNDING)
        weights[terms] = 0.0
        shares.append(min(1.0, np.count_nonzero(good) / true.size) if true.size else 1.0)
    return float(np.mean(shares))


def _gate(tamis: Process, documents: SparseVectors, kind: Path) -> None:
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
