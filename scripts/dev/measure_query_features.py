#!/usr/bin/env python
"""Measure what typing errors, facets, suggestions and phrases cost: milliseconds of the processor.

    TAMIS_DATA=DATA python scripts/dev/measure_query_features.py OUT.json [DATASET]

The passages of the dataset (nq-wiki100k unless another is named) are indexed by their words alone,
each with a brand of 50, the first the most frequent, and a price. Every question is asked in each
of several rounds, and its least time counts: other programs then disturb little. What is printed
are the median over the questions and the 95th percentile, beside the goal.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tamis.eval.datasets import load_dataset
from tamis.eval.provenance import provenance
from tamis.retriever import Searcher, index_corpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tamis.retriever import Passage
    from tamis.retriever.corpus.fields import FieldTypes

DATASET, QUESTIONS, ROUNDS, SEED = "nq-wiki100k", 200, 7, 0
WORDS, LEAST_LETTERS = 10, 4
BRANDS, MOST_PRICE = 50, 1000
FIELDS: FieldTypes = {"brand": "string", "price": "float"}
FACETS = ("brand", {"field": "price", "ranges": [[0, 10], [10, 100], [100, None]]})
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Feature(NamedTuple):
    """What is timed, on which questions, and how many milliseconds it may take."""

    name: str
    ask: Callable[[Any], object]
    questions: Sequence[Any]
    goal_ms: float | None
    without: Callable[[Any], object] | None = None


def main() -> None:
    """Print the figures, and write them."""
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: {sys.argv[0]} OUT.json [DATASET]")
    passages = list(load_dataset(sys.argv[2] if len(sys.argv) > 2 else DATASET).passages())
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "index"
        index_corpus(with_fields(passages), place, encoder=None, fields=FIELDS)
        rows = [measured(one) for one in features(Searcher.open(place), passages)]
    report = {"documents": len(passages), "rounds": ROUNDS, "features": rows}
    Path(sys.argv[1]).write_text(
        json.dumps(report | {"provenance": provenance(SEED)}, indent=1) + "\n"
    )


def with_fields(passages: Iterable[Passage]) -> Iterator[Passage]:
    """The passages, each with a brand and a price."""
    draw = random.Random(SEED)
    weights = [1 / rank for rank in range(1, BRANDS + 1)]
    for passage in passages:
        (brand,) = draw.choices(range(BRANDS), weights)
        yield replace(
            passage, fields={"brand": f"brand {brand}", "price": draw.uniform(0, MOST_PRICE)}
        )


def features(searcher: Searcher, passages: Sequence[Passage]) -> Iterator[Feature]:
    """All that is timed."""
    draw = random.Random(SEED)
    texts: list[str] = []
    one_wrong: list[str] = []
    while len(texts) < QUESTIONS:
        text = ten_words(passages, draw)
        wrong = mistyped(text, [draw.randrange(WORDS)], draw)
        if searcher.read([wrong], typos="auto").read[0].corrections:
            texts.append(text)
            one_wrong.append(wrong)
    all_wrong = [mistyped(text, range(WORDS), draw) for text in texts]
    pairs = [" ".join(text.split()[:2]) for text in texts]
    typed = [text.split()[0][: draw.randint(1, LEAST_LETTERS)] for text in texts]

    def read(text: str) -> object:
        return searcher.read([text])

    def corrected(text: str) -> object:
        return searcher.read([text], typos="auto")

    yield Feature("search of two words", lambda text: searcher.search([text]), pairs, None)
    yield Feature("correction, 1 of 10 words mistyped", corrected, one_wrong, 1.0, read)
    yield Feature("correction, 10 of 10 words mistyped", corrected, all_wrong, None, read)
    yield Feature(
        "facets over a query's matches",
        lambda text: searcher.search([text], facets=FACETS),
        pairs,
        5.0,
    )
    yield Feature(
        "facets over all documents",
        lambda _: searcher.search([None], facets=FACETS),
        pairs,
        5.0,
    )
    yield Feature("suggestions", searcher.suggest, typed, 2.0)
    yield Feature(
        "phrase of two words",
        lambda text: searcher.search([f'"{text}"'], syntax="operators"),
        pairs,
        5.0,
    )


def ten_words(passages: Sequence[Passage], draw: random.Random) -> str:
    """Ten words that stand one after the other in a passage, in capitals as there."""
    while True:
        words = draw.choice(passages).text.split()
        first = draw.randrange(max(1, len(words) - WORDS))
        found = words[first : first + WORDS]
        if len(found) == WORDS and all(word.isalpha() and word.isascii() for word in found):
            return " ".join(found)


def mistyped(text: str, places: Iterable[int], draw: random.Random) -> str:
    """The text with two letters in the wrong order, or another one, in some of its words."""
    words = text.split()
    for place in places:
        word = words[place]
        if len(word) >= LEAST_LETTERS:
            at = draw.randrange(1, len(word) - 1)
            wrong = word[at + 1] + word[at], draw.choice(LETTERS) + word[at + 1]
            words[place] = word[:at] + draw.choice(wrong) + word[at + 2 :]
    return " ".join(words)


def measured(feature: Feature) -> dict[str, Any]:
    """The figures of a feature, which are printed."""
    took = least_ms(feature.ask, feature.questions)
    if feature.without is not None:
        took = took - least_ms(feature.without, feature.questions)
    p50, p95 = np.percentile(took, (50, 95)).round(3).tolist()
    goal = "" if feature.goal_ms is None else f"   goal {feature.goal_ms:g}"
    print(f"{feature.name:36} {p50:8.3f} ms p50 {p95:8.3f} ms p95{goal}", flush=True)
    return {"feature": feature.name, "p50_ms": p50, "p95_ms": p95, "goal_ms": feature.goal_ms}


def least_ms(ask: Callable[[Any], object], questions: Sequence[Any]) -> np.ndarray:
    """Milliseconds of the processor that each question takes at least, ``[questions]``."""
    took = np.full((ROUNDS, len(questions)), np.inf)
    for of_round in took:
        for number, question in enumerate(questions):
            began = time.process_time()
            ask(question)
            of_round[number] = time.process_time() - began
    least: np.ndarray = took[1:].min(axis=0) * 1000
    return least


if __name__ == "__main__":
    main()
