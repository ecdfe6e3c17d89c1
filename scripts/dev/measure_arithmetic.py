#!/usr/bin/env python
"""Compare rankings of the default encoder in int8 with those in float32, with words and alone.

    TAMIS_DATA=DATA python scripts/dev/measure_arithmetic.py OUT.json DATASET...

A dataset with ``@150`` behind its name is cut to 150 of its queries, drawn, and to their judged
documents and BM25's best 200 of each. ``p`` is of a paired randomisation test, ``p_holm`` after
Holm's correction over all datasets. OUT.json is written after each dataset; one that it holds
already is not measured again.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.eval.datasets import load_dataset
from tamis.eval.measures import means, parse_measures, per_query
from tamis.eval.provenance import provenance
from tamis.eval.run import Run
from tamis.eval.significance import compare, holm
from tamis.eval.systems import TamisSystem, caches
from tamis.retriever import load_encoder
from tamis.retriever.words.lexical import LexicalConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tamis.eval.datasets import Dataset
    from tamis.retriever.models.encoder import Encoder
    from tamis.retriever.types import Passage

MEASURE, DEPTH, POOL, SEED = "nDCG@10", 100, 200, 0
CHANNELS: dict[str, LexicalConfig | None] = {"with words": LexicalConfig(), "alone": None}


def main() -> None:
    """Measure each dataset and write the figures."""
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} OUT.json DATASET...")
    out, names = Path(sys.argv[1]), sys.argv[2:]
    rows = json.loads(out.read_text())["rows"] if out.exists() else []
    encoders = {one: load_encoder(arithmetic=one) for one in ("float32", "int8")}
    for name in names:
        if not any(row["dataset"] == name for row in rows):
            rows += compared(name, encoders)
            report = {"measure": MEASURE, "rows": with_holm(rows), "provenance": provenance(SEED)}
            out.write_text(json.dumps(report, indent=1) + "\n")
    for row in with_holm(rows):
        print(
            f"{row['dataset']:30} {row['channel']:10} float32 {row['float32']:.4f} "
            f"int8 {row['int8']:.4f} p {row['p']:.2f} ({row['p_holm']:.2f})"
        )


def compared(name: str, encoders: dict[str, Encoder]) -> list[dict[str, Any]]:
    """A row for each channel."""
    plain, _, queries = name.partition("@")
    dataset = load_dataset(plain)
    if queries:
        dataset = pooled(dataset.sample(int(queries), SEED), name)
    found = []
    for channel, lexical in CHANNELS.items():
        row: dict[str, Any] = {"dataset": name, "channel": channel}
        values: dict[str, list[float]] = {}
        for arithmetic, encoder in encoders.items():
            ranker = TamisSystem(encoder, lexical).prepare(dataset, caches())
            row["documents"] = len(ranker.searcher.collection)
            asked = sorted(dataset.queries)
            ranked = ranker.rank([dataset.queries[query] for query in asked], DEPTH)
            run = Run(dict(zip(asked, ranked, strict=True)))
            judged = per_query(run, dataset.qrels, parse_measures([MEASURE]))
            row[arithmetic] = means(judged)[MEASURE]
            values[arithmetic] = [judged[MEASURE][query] for query in sorted(judged[MEASURE])]
        test = compare(values["int8"], values["float32"], seed=SEED)
        found.append({**row, "queries": len(values["int8"]), **asdict(test)})
    return found


def pooled(dataset: Dataset, name: str) -> Dataset:
    """The dataset under another name, with its judged documents and BM25's best alone."""
    ranker = TamisSystem(None, LexicalConfig(), "words").prepare(dataset, caches())
    ranked = ranker.rank(list(dataset.queries.values()), POOL)
    kept = {*chain.from_iterable(ranked), *chain.from_iterable(dataset.qrels.values())}

    def corpus() -> Iterator[Passage]:
        return (passage for passage in dataset.corpus() if passage.doc_id in kept)

    return replace(dataset, name=name, corpus=corpus)


def with_holm(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with ``p`` corrected for the number of datasets, each channel by itself."""
    found = [dict(row) for row in rows]
    for channel in CHANNELS:
        some = [row for row in found if row["channel"] == channel]
        for row, p in zip(some, holm([row["p"] for row in some]), strict=True):
            row["p_holm"] = p
    return found


if __name__ == "__main__":
    main()
