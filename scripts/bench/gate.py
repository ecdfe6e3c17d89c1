"""`tamis bench gate`: whether composed vectors behave as real ones do.

A real collection and a tenth of it stand beside their composed imitation: as many documents, made
of the windows of as many passages as the recipe takes. What search depends on must agree within
`WITHIN`: postings a query, documents near the k-th score, Seismic's recall at each setting, growth
from the tenth to the whole, and which engine is faster than which. Recipes are tried in turn on the
two that need no engine; the one that comes nearest meets the engines. What fails is not published.
"""

from __future__ import annotations

import json
import shutil
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.eval.provenance import provenance
from tamis.index import SparseVectors
from tamis.scripts.bench.at_size import cheapest, measure_at_size
from tamis.scripts.bench.composed import Recipe, composed
from tamis.scripts.bench.made_vectors import (
    RECIPE,
    SEED,
    compose_into,
    open_vectors,
    read_world,
    write_vectors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tamis.scripts.bench.composed import World

WITHIN = 0.15
NEAR = 0.9  # of the k-th score
K = 10
COUNTED = 200  # queries
POSTINGS, CROWD = "postings a query", f"documents at {NEAR} of the score at {K}"
VARIANTS, REACHES = (2, 5), (8, 64)
HALVINGS = 6  # of the interval in which the share that is kept lies


def measure_gate(
    folder: Path, queries: int, tell: Callable[[str], None], trust_memory: bool = False
) -> dict[str, Any]:
    """Choose a recipe and compare; a JSON-ready report.

    Args:
        folder: of `make_vectors`.
        queries: that engines are asked.
        tell: told about each step.
        trust_memory: as of `measure_at_size`.

    Raises:
        InputError: vectors lack, or there is too little disk or memory.
    """
    real, asked = open_vectors(folder / "documents"), open_vectors(folder / "short")
    asked = asked.rows(0, min(COUNTED, len(asked)))
    tenth = real.take(np.arange(0, len(real), 10))
    truths = [_counts(each, asked) for each in (tenth, real)]
    world = read_world(folder)
    tried = []
    for variants, reach in product(VARIANTS, REACHES):
        recipe = _fitted(world, Recipe(variants, reach), len(tenth), asked, truths[0][POSTINGS])
        tried.append(_tried(world, recipe, (len(tenth), len(real)), asked, truths))
        tell(f"{recipe}: {tried[-1]['largest_difference']:.3f}")
    best = min(tried, key=lambda row: float(row["largest_difference"]))
    recipe = Recipe(*best["recipe"])
    (folder / RECIPE).write_text(json.dumps(recipe._asdict()))
    collections = {
        "real-tenth": tenth,
        "real": real,
        "composed-tenth": compose_into(folder / "gate-tenth", world, len(tenth), recipe),
        "composed": compose_into(folder / "gate-whole", world, len(real), recipe),
    }
    reports = {
        name: _measured(folder, name, vectors, queries, tell, trust_memory)
        for name, vectors in collections.items()
    }
    agreements = [*best["agreements"], *_agreements(reports)]
    return {
        "recipe": recipe._asdict(),
        "within": WITHIN,
        "passes": all(row["agrees"] for row in agreements),
        "agreements": agreements,
        "tried": tried,
        "collections": {
            name: {key: report[key] for key in ("documents", "terms_a_document", "best", "built")}
            for name, report in reports.items()
        },
        "provenance": provenance(SEED),
    }


def _fitted(
    world: World, recipe: Recipe, documents: int, asked: SparseVectors, wanted: float
) -> Recipe:
    """The recipe with the share kept that gives so many postings a query."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        recipe = recipe._replace(kept=(low + high) / 2)
        if _postings(_imitation(world, documents, recipe), asked) < wanted:
            low = recipe.kept
        else:
            high = recipe.kept
    return recipe._replace(kept=round((low + high) / 2, 4))


def _tried(
    world: World,
    recipe: Recipe,
    sizes: Sequence[int],
    asked: SparseVectors,
    truths: Sequence[dict[str, float]],
) -> dict[str, Any]:
    """Composed imitations of both sizes against what was counted on the real ones."""
    agreements = []
    for name, documents, truth in zip(("tenth", "whole"), sizes, truths, strict=True):
        found = _counts(_imitation(world, documents, recipe), asked)
        agreements += [_agreement(f"{what}, {name}", truth[what], found[what]) for what in truth]
    largest = max(abs(row["difference"]) for row in agreements)
    return {"recipe": list(recipe), "largest_difference": largest, "agreements": agreements}


def _imitation(world: World, documents: int, recipe: Recipe) -> SparseVectors:
    return SparseVectors.concatenate(list(composed(world, documents, recipe, SEED)))


def _postings(documents: SparseVectors, asked: SparseVectors) -> float:
    frequencies = np.bincount(documents.terms, minlength=documents.vocab_size)
    return float(frequencies[asked.terms].sum() / len(asked))


def _counts(documents: SparseVectors, asked: SparseVectors) -> dict[str, float]:
    """What a search must read at most, and how many documents crowd about the k-th score."""
    inverted, near = documents.to_scipy().T.tocsr(), []
    for row in range(len(asked)):
        terms, weights = asked.row(row)
        scores = inverted[terms].T @ weights
        least = np.partition(scores, -min(K, scores.size))[-min(K, scores.size)]
        if least > 0:
            near.append(np.count_nonzero(scores >= NEAR * least))
    return {POSTINGS: _postings(documents, asked), CROWD: float(np.mean(near))}


def _measured(
    folder: Path,
    name: str,
    vectors: SparseVectors,
    queries: int,
    tell: Callable[[str], None],
    trust_memory: bool,
) -> dict[str, Any]:
    place, scratch = folder / f"gate-{name}", folder / "scratch" / name
    kept = scratch / "report.json"
    if not kept.exists():
        write_vectors(place, [vectors])
        report = measure_at_size(place, scratch, queries, ["short"], tell, [K], trust_memory)
        kept.write_text(json.dumps(report))
        shutil.rmtree(place)
    report = json.loads(kept.read_text())
    assert isinstance(report, dict)
    return report


def _agreements(reports: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Seismic's recall at each setting, growth of each engine at .95, and the order of engines."""
    rows = []
    for size in ("-tenth", ""):
        real, made = reports[f"real{size}"], reports[f"composed{size}"]
        curves = [
            {cell["setting"]: cell["recall"] for cell in report["cells"] if _is_seismic(cell)}
            for report in (real, made)
        ]
        rows += [
            _agreement(f"Seismic's recall, {setting}{size}", recall, curves[1][setting])
            for setting, recall in curves[0].items()
        ]
        orders = [_order(report) for report in (real, made)]
        rows.append(
            {
                "what": f"order of engines at .95{size}",
                "real": orders[0],
                "composed": orders[1],
                "agrees": orders[0] == orders[1],
            }
        )
    growths = [_growth(reports[f"{kind}-tenth"], reports[kind]) for kind in ("real", "composed")]
    rows += [
        _agreement(f"growth at .95, {engine}", growth, growths[1][engine])
        for engine, growth in growths[0].items()
        if engine in growths[1]
    ]
    return rows


def _is_seismic(cell: dict[str, Any]) -> bool:
    return bool(cell["engine"] == "Seismic")


def _agreement(what: str, real: float, made: float) -> dict[str, Any]:
    difference = made / real - 1 if real else float(made != real)
    return {
        "what": what,
        "real": round(real, 4),
        "composed": round(made, 4),
        "difference": round(difference, 4),
        "agrees": abs(difference) <= WITHIN,
    }


def _times(report: dict[str, Any]) -> dict[str, float]:
    """Microseconds of each engine that reaches .95 of the best ten."""
    rows = [row for row in cheapest(report["cells"]) if row["level"] == 0.95 and row["us"]]
    return {row["engine"]: row["us"] for row in rows}


def _order(report: dict[str, Any]) -> list[str]:
    """Engines by time; of SINDI's forms the fastest stands for it."""
    times = _times(report)
    names: dict[str, float] = {}
    for engine, us in times.items():
        family = engine.split(",")[0]
        names[family] = min(us, names.get(family, us))
    return sorted(names, key=lambda name: names[name])


def _growth(small: dict[str, Any], large: dict[str, Any]) -> dict[str, float]:
    before, after = _times(small), _times(large)
    return {engine: after[engine] / before[engine] for engine in before if engine in after}
