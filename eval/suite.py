"""Suites: systems on datasets, described by a TOML file and resumable result by result.

datasets = ["scifact", "cqadupstack", "wikiqa:dev"]
baseline = "bm25"

[[system]]
kind = "bm25"

[[system]]
kind = "dense"

[[system]]
kind = "hybrid"          # reciprocal ranks, or a weighted sum where weights are given
name = "bm25+dense"
parts = ["bm25", "dense"]
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Literal

import msgspec

from tamis.eval.datasets import load_parts, with_pairs
from tamis.eval.evaluate import Evaluation, Options, averaged, evaluate, load, save
from tamis.eval.protocol import Protocol
from tamis.eval.specs import SystemSpec, baseline_specs, build_systems, needed
from tamis.eval.systems import settings_digest
from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tamis.eval.datasets import Dataset
    from tamis.eval.ranker import System

    Tell = Callable[[str], None]

__all__ = [
    "Suite",
    "baseline_specs",
    "build_systems",
    "evaluate_all",
    "read_results",
    "read_suite",
    "result_path",
    "run_suite",
]

LOG = "runs.jsonl"


class Suite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a suite file says.

    Attributes:
        datasets: names or folders, each with ``:split`` where that is not the test split.
        system: the systems, in the order in which reports show them.
        baseline: the system that the others are compared with.
        measures: names; None takes each dataset's own.
        depth: documents ranked for each query.
        timed_queries: queries that latency is measured on.
        sample: at most so many queries of a dataset, drawn with ``seed``.
        seed: of everything random.
        own_document: "drop" or "keep", whatever the rules of a dataset; see `Options`.
    """

    datasets: tuple[str, ...]
    system: tuple[SystemSpec, ...]
    baseline: str | None = None
    measures: tuple[str, ...] | None = None
    depth: int = 1000
    timed_queries: int = 200
    sample: int | None = None
    seed: int = 0
    own_document: Literal["drop", "keep"] | None = None

    def options(self, *, allow_missing: bool = False, explained: int = 0) -> Options:
        """What `evaluate` needs of this."""
        return Options(
            self.measures,
            self.depth,
            self.timed_queries,
            allow_missing,
            explained,
            self.seed,
            self.own_document,
        )


def read_suite(path: Path) -> Suite:
    """Read a suite file.

    Raises:
        InputError: no such file, or something in it that a suite does not have.
    """
    try:
        suite = msgspec.toml.decode(path.read_bytes(), type=Suite)
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(
            f"{path}: expected a suite with datasets and [[system]] tables, found {error}; "
            "correct the file"
        ) from error
    names = [spec.name for spec in suite.system]
    if len(set(names)) != len(names) or suite.baseline not in {None, *names}:
        raise InputError(
            f"{path}: expected distinct system names, the baseline among them, found "
            f"{', '.join(names)} and baseline {suite.baseline}; name each system"
        )
    return suite


def run_suite(
    suite: Suite,
    out: Path,
    work: Path,
    *,
    data: Path | None = None,
    only: Sequence[str] = (),
    allow_missing: bool = False,
    explained: int = 0,
    tell: Tell = lambda _: None,
) -> list[Evaluation]:
    """Evaluate every system on every dataset; results that are there already are read back.

    Args:
        suite: what to do.
        out: folder of results, ``DATASET/SYSTEM.json`` each.
        work: folder of indexes and embeddings.
        data: folder in which dataset names resolve.
        only: names of the systems to evaluate; none means all.
        allow_missing: accept judged documents that a corpus lacks.
        explained: worst queries to explain, of results that are not read back.
        tell: called with a line before each evaluation.

    Raises:
        InputError: a dataset or system that is not what it should be.
    """
    systems = build_systems(needed(suite.system, only))
    chosen = [system for system in systems if not only or system.name in only]
    collections = {
        name: [_sampled(part, suite) for part in load_parts(name, data=data)]
        for name in with_pairs(suite.datasets, data)
    }
    options = suite.options(allow_missing=allow_missing, explained=explained)
    return evaluate_all(chosen, collections, work, options, out, tell)


def evaluate_all(
    systems: Sequence[System],
    collections: Mapping[str, Sequence[Dataset]],
    work: Path,
    options: Options,
    out: Path | None = None,
    tell: Tell = lambda _: None,
) -> list[Evaluation]:
    """Evaluate each system on each collection, a collection of several parts by their mean.

    Args:
        systems: what to evaluate.
        collections: name -> the dataset, or its parts.
        work: folder of indexes and embeddings.
        options: how.
        out: folder where results are kept and found again; None keeps none.
        tell: called with a line before each evaluation.

    Raises:
        InputError: as `evaluate`.
    """
    found = []
    for name, parts in collections.items():
        for system in systems:
            results = []
            for dataset in parts:
                tell(f"{system.name} on {dataset.label}")
                results.append(_result(system, dataset, work, options, out))
            found.append(results[0] if len(results) == 1 else averaged(name, results))
    return found


def _sampled(dataset: Dataset, suite: Suite) -> Dataset:
    return dataset if suite.sample is None else dataset.sample(suite.sample, suite.seed)


def _result(
    system: System, dataset: Dataset, work: Path, options: Options, out: Path | None
) -> Evaluation:
    if out is None:
        return evaluate(system, dataset, work, options)
    path = result_path(out, dataset.label, system.name)
    key = _key(system, dataset, options)
    if path.exists():
        known = load(path)
        if known.report.get("key") == key:
            return known
    result = evaluate(system, dataset, work, options)
    result.report["key"] = key
    save(result, path)
    _log(out, result)
    return result


def _key(system: System, dataset: Dataset, options: Options) -> str:
    """Changes with whatever would change the result, but for the code."""
    asked = asdict(replace(options, explained=0))
    if options.own_document is None:
        del asked["own_document"]  # older results have no such option
    about = {
        "settings": system.settings(),
        "options": asked,
        "queries": list(dataset.queries.items()),
        "qrels": {query: sorted(of.items()) for query, of in dataset.qrels.items()},
        "files": {role: path.stat().st_size for role, path in dataset.files.items()},
    }
    if dataset.protocol != Protocol(averaged=dataset.protocol.averaged):
        about["rules"] = asdict(dataset.protocol)
    return settings_digest(about)


def result_path(out: Path, dataset: str, system: str) -> Path:
    """Where a suite keeps a result."""
    return out / dataset.replace("/", "-").replace(":", "-") / f"{system}.json"


def _log(out: Path, result: Evaluation) -> None:
    """One line for each evaluation that was run, so that test splits are seen to be used once."""
    origin = result.report["provenance"]
    line = {
        "time": origin["time"],
        "commit": origin["commit"],
        "dataset": result.dataset,
        "system": result.system,
        "measures": result.measures,
    }
    with (out / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_results(out: Path) -> Iterator[Evaluation]:
    """Every result of a folder that suites wrote, by dataset and system name.

    Raises:
        InputError: a file that is no report.
    """
    for path in sorted(out.glob("*/*.json")):
        yield load(path)
