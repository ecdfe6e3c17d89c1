#!/usr/bin/env python
"""What each part of a recipe is worth: the same training without it, compared query by query.

    python scripts/dev/training_ablations.py RECIPE.toml STEPS OUT.json [NAME ...]

Every variant below, or those named beside ``reference``, is trained for STEPS steps and judged on
the recipe's development collections. Values are means of the collections' mean nDCG@10; differences
and tests are paired over all their queries, p-values corrected for their number (Holm).
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tamis.eval.provenance import provenance
from tamis.eval.significance import compare, holm
from tamis.retriever.training.config import EncoderConfig, Penalty
from tamis.retriever.training.data.training_data import load_or_prepare
from tamis.retriever.training.read_config import read_config
from tamis.retriever.training.student import load_student
from tamis.retriever.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from tamis.retriever.training.config import TrainingConfig

    Change = Callable[[TrainingConfig], TrainingConfig]
    Queries = Mapping[str, Mapping[str, NDArray[np.float32]]]  # collection, point, nDCG@10 of each

REFERENCE = "reference"
POINTS = {"learned": "200/0", "with_words": "200/0.5", "100_terms_with_words": "100/0.5"}


def main() -> None:
    """Train the variants and write the table."""
    if len(sys.argv) < 4:
        sys.exit(f"usage: {sys.argv[0]} RECIPE.toml STEPS OUT.json [NAME ...]")
    recipe, steps, out, *names = sys.argv[1:]
    config = of_steps(read_config(Path(recipe)), int(steps))
    chosen = [REFERENCE, *(names or [name for name in VARIANTS if name != REFERENCE])]
    runs = {name: trained(VARIANTS[name](config)) for name in chosen}
    report = {"provenance": provenance(config.run.seed), "recipe": recipe, "steps": int(steps)}
    report["runs"] = summary(runs, config)
    Path(out).write_text(json.dumps(report, indent=1) + "\n")


def of_steps(config: TrainingConfig, steps: int) -> TrainingConfig:
    """The same recipe, so many steps long and judged once at its end."""
    optimiser = replace(config.optimiser, steps=steps)
    return replace(config, optimiser=optimiser, run=replace(config.run, dev_steps=steps))


def trained(config: TrainingConfig) -> Queries:
    """nDCG@10 of each development query after a training."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student = load_student(config, device)
    root = Path(os.environ.get("TAMIS_DATA", "."))
    prepared = Path(config.data.prepared)
    data = load_or_prepare(config.data, student.tokenizer, root, prepared, config.run.seed)
    trainer = Trainer(config, student, data)
    trainer.run()
    table = trainer.validate_queries()
    return {
        name: {point: values.cpu().numpy() for point, values in row.items()}
        for name, row in table.items()
    }


def summary(runs: Mapping[str, Queries], config: TrainingConfig) -> list[dict[str, Any]]:
    """A row for each run: what it changed, its means, and its paired tests against the reference.

    Args:
        runs: by name; the first is what the others are compared with.
        config: of the recipe that the variants change.
    """
    base, *others = runs
    tests = {
        (name, kind): compare(_pooled(runs[name], point), _pooled(runs[base], point))
        for name in others
        for kind, point in POINTS.items()
    }
    corrected = dict(zip(tests, holm([test.p for test in tests.values()]), strict=True))
    rows = []
    for name, run in runs.items():
        row: dict[str, Any] = {"run": name, "changes": _changes(VARIANTS[name](config), config)}
        for kind, point in POINTS.items():
            row[kind] = {"ndcg": round(_mean(run, point), 4)}
            if name != base:
                test = tests[name, kind]
                row[kind] |= {
                    "difference": round(test.difference, 4),
                    "low": round(test.low, 4),
                    "high": round(test.high, 4),
                    "p": round(corrected[name, kind], 4),
                }
        rows.append(row)
    return rows


def _mean(run: Queries, point: str) -> float:
    return float(np.mean([row[point].mean() for row in run.values()]))


def _pooled(run: Queries, point: str) -> list[float]:
    return [float(value) for name in sorted(run) for value in run[name][point]]


def _changes(config: TrainingConfig, base: TrainingConfig) -> dict[str, Any]:
    """Settings that differ, spelled ``section.key``."""
    found, usual = asdict(config), asdict(base)
    return {
        f"{section}.{key}": value
        for section, values in found.items()
        if isinstance(values, dict)
        for key, value in values.items()
        if value != usual[section][key]
    }


def _from_shipped(config: TrainingConfig) -> TrainingConfig:
    """A query model of its own beside the shipped encoder, at a rate that keeps what it has."""
    model = replace(
        config.model, base="default", query_table=False, query=EncoderConfig(base="default")
    )
    slow = replace(config.optimiser, rate=2e-5, head_rate=2e-5, warmup_steps=60, averaging=0.99)
    return replace(config, model=model, optimiser=slow)


VARIANTS: dict[str, Change] = {
    REFERENCE: lambda c: c,
    "half the steps": lambda c: of_steps(c, c.optimiser.steps // 2),
    "dense teacher alone": lambda c: replace(c, loss=replace(c.loss, dense=1.0, bm25=0.0)),
    "BM25 teacher alone": lambda c: replace(c, loss=replace(c.loss, dense=1e-4, bm25=1.0)),
    "l0 mask": lambda c: replace(
        c, sparsity=replace(c.sparsity, penalty=Penalty.FLOPS, l0_mask=120, weight=1e-2)
    ),
    "fixed IDF": lambda c: replace(c, model=replace(c.model, table_learned=False)),
    "no words in the score": lambda c: replace(c, lexical=replace(c.lexical, weight=0.0)),
    "neural queries": _from_shipped,
}


if __name__ == "__main__":
    main()
