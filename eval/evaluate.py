"""Evaluate: one system on one dataset, and the report that keeps the result with its origin."""

from __future__ import annotations

import gzip
import json
import os
import warnings
from dataclasses import asdict, dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from tamis.eval.checks import Summary, check
from tamis.eval.efficiency import latencies, peak_memory_bytes, rounded
from tamis.eval.failures import Failure, failures
from tamis.eval.measures import Measure, means, measurable, parse_measures, per_query
from tamis.eval.provenance import provenance
from tamis.eval.registry import DatasetWarning
from tamis.eval.run import Run
from tamis.eval.systems import caches
from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tamis.eval.datasets import Dataset
    from tamis.eval.ranker import Ranker, System

LATENCY_K = 10


@dataclass(frozen=True, slots=True)
class Options:
    """How to evaluate, whatever the system and the dataset.

    Attributes:
        measures: names; None takes the dataset's own.
        depth: documents ranked for each query.
        timed_queries: queries that latency is measured on, one after the other; 0 skips it.
        allow_missing: accept judged documents that the corpus lacks.
        explained: worst queries to explain, by the first measure.
        seed: of everything random.
        own_document: what becomes of a document whose id is the query's in that query's ranking;
            None drops it where the collection's rules say so, and where the queries are documents.

    Raises:
        InputError: a measure that does not exist.
    """

    measures: tuple[str, ...] | None = None
    depth: int = 1000
    timed_queries: int = 200
    allow_missing: bool = False
    explained: int = 0
    seed: int = 0
    own_document: Literal["drop", "keep"] | None = None

    def __post_init__(self) -> None:
        if self.measures is not None:
            parse_measures(self.measures)  # before hours of work, not after


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One system's result on one dataset.

    Attributes:
        report: the JSON document of `tamis eval`.
        values: measure name -> query id -> value.
        distributions: name -> one count an item, for histograms.
        failures: the worst queries, explained; not kept in files, since they quote the corpus.
        run: the rankings; None where the evaluation was read back from files.
    """

    report: dict[str, Any]
    values: Mapping[str, Mapping[str, float]]
    distributions: Mapping[str, Sequence[float]] = field(default_factory=dict)
    failures: Sequence[Failure] = ()
    run: Run | None = None

    @property
    def dataset(self) -> str:
        """The dataset's name, with its split where that is not "test"."""
        return str(self.report["dataset"])

    @property
    def system(self) -> str:
        """The system's name."""
        return str(self.report["system"])

    @property
    def measures(self) -> dict[str, float]:
        """Means over the queries."""
        return dict(self.report["measures"])


def evaluate(
    system: System,
    dataset: Dataset,
    work: Path | None = None,
    options: Options = Options(),
) -> Evaluation:
    """Index, rank, measure and time.

    Args:
        system: what to evaluate.
        dataset: what to evaluate it on.
        work: folder where systems keep indexes and embeddings between runs; None takes one among
            the user's caches.
        options: how.

    Raises:
        InputError: a measure that does not exist, or a dataset that does not hang together.
    """
    measures = _measures(dataset, options)
    summary = check(dataset, allow_missing=options.allow_missing)
    dataset = _with_own_rule(dataset, summary, options)
    began = perf_counter()
    ranker = system.prepare(dataset, work or caches())
    prepared = perf_counter()
    run = _rank(ranker, dataset, options.depth, system.name)
    ranked = perf_counter()
    values = per_query(run, dataset.qrels, measures)
    timings = {
        "prepare_s": prepared - began,
        "rank_s": ranked - prepared,
        "measure_s": perf_counter() - ranked,
        **_latency(ranker, dataset, options),
    }
    report = {
        **_head(dataset, system.name, values, summary),
        "timings": rounded(timings),
        "efficiency": rounded(ranker.facts()) | {"peak_memory_bytes": peak_memory_bytes()},
        "settings": system.settings(),
        **_tail(dataset, measures, options, summary, run),
    }
    worst = failures(ranker, dataset, run, values[measures[0].name], options.explained)
    return Evaluation(report, values, ranker.distributions(), worst, run)


def evaluate_run(
    run: Run,
    dataset: Dataset,
    options: Options = Options(),
) -> Evaluation:
    """Measure a run that another program made.

    Raises:
        InputError: none of its queries is judged, or as `evaluate`.
    """
    if not any(query in run.scores for query in dataset.queries):
        raise InputError(
            f"expected queries of {dataset.label}, such as {next(iter(dataset.queries))!r}, found "
            f"none in the run, which has {', '.join(map(repr, list(run.scores)[:3]))}; "
            "name the dataset and split that the run was made for"
        )
    measures = _measures(dataset, options)
    summary = check(dataset, allow_missing=options.allow_missing)
    dataset = _with_own_rule(dataset, summary, options)
    began = perf_counter()
    if dataset.protocol.drops_own_document:
        run = run.without_self()
    values = per_query(run, dataset.qrels, measures)
    report = {
        **_head(dataset, run.tag, values, summary),
        "timings": rounded({"measure_s": perf_counter() - began}),
        **_tail(dataset, measures, options, summary, run),
    }
    return Evaluation(report, values, run=run)


def averaged(name: str, parts: Sequence[Evaluation]) -> Evaluation:
    """A collection's result from those of its parts: the plain mean of their means.

    Args:
        name: of the collection.
        parts: results of one system, all with the same measures.
    """
    first = parts[0]
    report = {
        "dataset": name,
        "system": first.system,
        "measures": {
            measure: round(sum(part.measures[measure] for part in parts) / len(parts), 6)
            for measure in first.measures
        },
        "queries": sum(part.report["queries"] for part in parts),
        "documents": sum(part.report["documents"] for part in parts),
        "timings": {},
        "parts": {part.dataset: part.measures for part in parts},
        **{key: first.report[key] for key in ("protocol", "settings", "provenance")},
    }
    values = {
        measure: {
            f"{part.dataset}/{query}": value
            for part in parts
            for query, value in part.values[measure].items()
        }
        for measure in first.measures
    }
    return Evaluation(report, values)


def _measures(dataset: Dataset, options: Options) -> list[Measure]:
    names = dataset.protocol.measures if options.measures is None else options.measures
    return parse_measures(names, dataset.protocol.relevant_from)


def _with_own_rule(dataset: Dataset, summary: Summary, options: Options) -> Dataset:
    """The dataset with the rule for own documents that holds, which data may decide.

    Warns:
        DatasetWarning: neither the collection's rules nor the options decide.
    """
    rules, own = dataset.protocol, summary.own_documents
    drops = rules.drops_own_document or 0 < own == summary.same_ids
    if options.own_document is not None:
        drops = options.own_document == "drop"
    elif own and not rules.drops_own_document:
        warnings.warn(
            f"{dataset.label}: {own} queries are documents of the corpus, with the same id and "
            f"text; each is {'left out of' if drops else 'kept in'} its own ranking, "
            f"--own-document {'keep' if drops else 'drop'} does the opposite",
            DatasetWarning,
            stacklevel=3,
        )
    return replace(dataset, protocol=replace(rules, drops_own_document=drops))


def _rank(ranker: Ranker, dataset: Dataset, depth: int, tag: str) -> Run:
    drops = dataset.protocol.drops_own_document
    rankings = ranker.rank(list(dataset.queries.values()), depth + drops)
    run = Run(dict(zip(dataset.queries, rankings, strict=True)), tag)
    return run.without_self().cut(depth) if drops else run


def _latency(ranker: Ranker, dataset: Dataset, options: Options) -> dict[str, Any]:
    queries = list(dataset.sample(options.timed_queries, options.seed).queries.values())
    if not queries:
        return {}
    return {
        "threads": 1,
        "k": LATENCY_K,
        "queries": len(queries),
        "latency_ms": latencies(ranker, queries, LATENCY_K),
    }


def _head(
    dataset: Dataset, system: str, values: Mapping[str, Mapping[str, float]], summary: Summary
) -> dict[str, Any]:
    return {
        "dataset": dataset.label,
        "system": system,
        "measures": {name: round(value, 6) for name, value in means(values).items()},
        "queries": len(dataset.queries),
        "documents": summary.documents,
    }


def _tail(
    dataset: Dataset, measures: Sequence[Measure], options: Options, summary: Summary, run: Run
) -> dict[str, Any]:
    rules = dataset.protocol
    return {
        "protocol": {
            "definitions": {measure.name: measure.definition for measure in measures},
            "depth": options.depth,
            "drops_own_document": rules.drops_own_document,
            "averaged": rules.averaged,
            "split": dataset.split,
            "tied_documents": run.tied(),
            "left_out_judgements": measurable(dataset.qrels)[1],
            "repairs": list(run.repairs),
        },
        "data": asdict(summary),
        "provenance": provenance(options.seed),
    }


def save(evaluation: Evaluation, path: Path) -> None:
    """Write the report, and beside it the per-query values as ``NAME.queries.json.gz``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    queries = list(next(iter(evaluation.values.values())))
    table = {
        "queries": queries,
        "values": {
            name: [round(of[query], 6) for query in queries]
            for name, of in evaluation.values.items()
        },
        "distributions": dict(evaluation.distributions),
    }
    packed = gzip.compress(json.dumps(table, separators=(",", ":")).encode(), mtime=0)
    _replace(_queries_file(path), packed)
    _replace(path, (json.dumps(evaluation.report, indent=2, default=str) + "\n").encode())


def load(path: Path) -> Evaluation:
    """Read what `save` wrote.

    Raises:
        InputError: no such report, or files that are not one.
    """
    try:
        report = json.loads(path.read_bytes())
        table = json.loads(gzip.decompress(_queries_file(path).read_bytes()))
        values = {
            name: dict(zip(table["queries"], column, strict=True))
            for name, column in table["values"].items()
        }
        ordered = {name: values[name] for name in report["measures"]}
        return Evaluation(report, ordered, table["distributions"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: expected a report and its .queries.json.gz, found {error}; "
            "write them with `tamis eval --out`"
        ) from error


def _queries_file(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".json") + ".queries.json.gz")


def _replace(path: Path, data: bytes) -> None:
    half = path.with_name(path.name + ".part")
    half.write_bytes(data)
    os.replace(half, path)
