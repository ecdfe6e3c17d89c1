#!/usr/bin/env python
"""Measure what typing errors cost: nDCG@10 of queries as they are, mistyped, and corrected.

    python scripts/dev/measure_typing_errors.py OUT.json scifact wikiqa squadshifts-new-wiki

Datasets are those of `tamis eval`. In each query one word of four letters or more, drawn with a
seed, gets one edit: a letter less, more, another one, or two in the wrong order; never the first.
Queries without such a word stay as they are, and are counted.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.eval.datasets import load_dataset
from tamis.eval.measures import means, parse_measures, per_query
from tamis.eval.provenance import provenance
from tamis.eval.run import Run
from tamis.retriever import Searcher, index_corpus, load_encoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.eval.datasets import Dataset
    from tamis.retriever.search_options import Typos

SEED, LEAST_LETTERS, K = 0, 4, 10
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def main() -> None:
    """Write the figures of the datasets after the first argument."""
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} OUT.json DATASET...")
    found = [measure(name, encoder) for name in sys.argv[2:] for encoder in ("bm25", "default")]
    report = {"measure": "nDCG@10", "datasets": found, "provenance": provenance(SEED)}
    Path(sys.argv[1]).write_text(json.dumps(report, indent=1) + "\n")


def measure(name: str, encoder: str) -> dict[str, Any]:
    """nDCG@10 of the queries of a dataset in three ways."""
    dataset, draw = load_dataset(name), random.Random(SEED)
    mistyped = {qid: with_error(text, draw) for qid, text in dataset.queries.items()}
    changed = sum(mistyped[qid] != text for qid, text in dataset.queries.items())
    with tempfile.TemporaryDirectory() as folder:
        made_by = None if encoder == "bm25" else load_encoder()
        index_corpus(dataset.passages(), Path(folder) / "index", encoder=made_by)
        searcher = Searcher.open(Path(folder) / "index", encoder=made_by)
        row = {
            "as_they_are": quality(searcher, dataset, dataset.queries, "off"),
            "mistyped": quality(searcher, dataset, mistyped, "off"),
            "corrected": quality(searcher, dataset, mistyped, "auto"),
        }
        found = searcher.search(list(mistyped.values()), 1, typos="auto")
    row["share_of_right_spelling"] = round(row["corrected"] / row["as_they_are"], 4)
    counts = {"queries": len(mistyped), "changed": changed}
    counts["corrected_queries"] = sum(bool(one.corrections) for one in found)
    return {"dataset": name, "encoder": encoder, **counts, **row}


def with_error(text: str, draw: random.Random) -> str:
    """The text with one edit in one of its words."""
    words = text.split()
    places = [at for at, word in enumerate(words) if word.isalpha() and len(word) >= LEAST_LETTERS]
    if not places:
        return text
    at = draw.choice(places)
    word, letter = words[at], draw.randrange(1, len(words[at]))
    before, after = word[:letter], word[letter:]
    words[at] = draw.choice(
        [
            before + after[1:],
            before + draw.choice(LETTERS) + after,
            before + draw.choice(LETTERS) + after[1:],
            before[:-1] + after[0] + before[-1] + after[1:],
        ]
    )
    return " ".join(words)


def quality(
    searcher: Searcher, dataset: Dataset, queries: Mapping[str, str], typos: Typos
) -> float:
    """nDCG@10 of some queries in place of the dataset's own."""
    results = searcher.search(list(queries.values()), K, exact=True, typos=typos)
    rankings = {
        qid: {hit.doc_id: hit.score for hit in result.hits}
        for qid, result in zip(queries, results, strict=True)
    }
    measures = parse_measures(["nDCG@10"])
    values = per_query(Run(rankings), dataset.qrels, measures)
    return round(means(values)["nDCG@10"], 4)


if __name__ == "__main__":
    main()
