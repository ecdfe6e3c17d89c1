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
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tamis.eval.baselines import MINILM, Bm25System, DenseSystem
from tamis.eval.datasets import load_parts
from tamis.eval.evaluate import Evaluation, Options, averaged, evaluate, load, save
from tamis.eval.hybrid import ByRank, ByScore, FeedbackSystem, FusedSystem
from tamis.eval.lucene import LuceneSystem
from tamis.eval.systems import Feedback, System, TamisSystem, fingerprint
from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tamis.eval.datasets import Dataset

    Tell = Callable[[str], None]

LOG = "runs.jsonl"


class Bm25Spec(
    msgspec.Struct, frozen=True, tag="bm25", tag_field="kind", forbid_unknown_fields=True
):
    """BM25 by bm25s."""

    name: str = "bm25"
    k1: float = 0.9
    b: float = 0.4

    def build(self, known: Mapping[str, System]) -> System:
        """The system."""
        return Bm25System(self.k1, self.b, self.name)


class DenseSpec(
    msgspec.Struct, frozen=True, tag="dense", tag_field="kind", forbid_unknown_fields=True
):
    """A dense bi-encoder; ``folder`` is where the model lies without a network."""

    name: str = "dense"
    model: str = MINILM
    folder: str | None = None
    computed_in: str = "float32"
    max_tokens: int = 256

    def build(self, known: Mapping[str, System]) -> System:
        """The system."""
        folder = Path(self.folder) if self.folder else None
        return DenseSystem(self.model, folder, self.computed_in, self.max_tokens, name=self.name)


class LuceneSpec(
    msgspec.Struct, frozen=True, tag="lucene", tag_field="kind", forbid_unknown_fields=True
):
    """BM25 by Lucene, through pyserini."""

    name: str = "lucene"
    k1: float = 0.9
    b: float = 0.4

    def build(self, known: Mapping[str, System]) -> System:
        """The system."""
        return LuceneSystem(self.k1, self.b, self.name)


class TamisSpec(
    msgspec.Struct, frozen=True, tag="tamis", tag_field="kind", forbid_unknown_fields=True
):
    """This package's search; encoder "bm25" is the lexical channel alone."""

    name: str = "tamis"
    encoder: str = "default"
    lexical: bool = True
    language: str = "english"
    lexical_weight: float | None = None
    document_terms: int | None = None
    exact: bool = True

    def build(self, known: Mapping[str, System]) -> System:
        """The system, its encoder loaded."""
        from tamis.retriever.encoder import load_encoder
        from tamis.retriever.lexical import LexicalConfig

        words_alone = self.encoder == "bm25"
        return TamisSystem(
            None if words_alone else load_encoder(self.encoder),
            LexicalConfig(language=self.language) if self.lexical or words_alone else None,
            self.name,
            self.lexical_weight,
            self.document_terms,
            self.exact,
        )


class HybridSpec(
    msgspec.Struct, frozen=True, tag="hybrid", tag_field="kind", forbid_unknown_fields=True
):
    """Fused rankings: a weighted sum with ``weights``, reciprocal ranks without."""

    parts: tuple[str, ...]
    name: str = "hybrid"
    weights: tuple[float, ...] | None = None
    k: int = 60

    def build(self, known: Mapping[str, System]) -> System:
        """The system over parts that stand before it."""
        parts = tuple(_named(part, known) for part in self.parts)
        return FusedSystem(
            parts, ByScore(self.weights) if self.weights else ByRank(self.k), self.name
        )


class PrfSpec(msgspec.Struct, frozen=True, tag="prf", tag_field="kind", forbid_unknown_fields=True):
    """Pseudo-relevance feedback, with another system mixed in before it where one is named."""

    base: str
    name: str = "prf"
    documents: int = 5
    alpha: float = 1.0
    beta: float = 0.4
    terms: int = 64
    before: str | None = None
    weights: tuple[float, float] = (0.5, 0.5)

    def build(self, known: Mapping[str, System]) -> System:
        """The system over a base that stands before it."""
        rule = Feedback(self.documents, self.alpha, self.beta, self.terms)
        before = _named(self.before, known) if self.before else None
        return FeedbackSystem(
            _named(self.base, known), rule, before, ByScore(self.weights), self.name
        )


SystemSpec = Bm25Spec | LuceneSpec | DenseSpec | TamisSpec | HybridSpec | PrfSpec


_BM25, _DENSE = Bm25Spec(), DenseSpec()
BASELINES: dict[str, tuple[SystemSpec, ...]] = {
    "bm25": (_BM25,),
    "lucene": (LuceneSpec(),),
    "dense": (_DENSE,),
    "hybrid": (_BM25, _DENSE, HybridSpec(("bm25", "dense"), "hybrid")),
    "hybrid-sum": (_BM25, _DENSE, HybridSpec(("bm25", "dense"), "hybrid-sum", (0.5, 0.5))),
    "dense+prf": (_DENSE, PrfSpec("dense", "dense+prf")),
}


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
    """

    datasets: tuple[str, ...]
    system: tuple[SystemSpec, ...]
    baseline: str | None = None
    measures: tuple[str, ...] | None = None
    depth: int = 1000
    timed_queries: int = 200
    sample: int | None = None
    seed: int = 0

    def options(self, *, allow_missing: bool = False, explained: int = 0) -> Options:
        """What `evaluate` needs of this."""
        return Options(
            self.measures, self.depth, self.timed_queries, allow_missing, explained, self.seed
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


def build_systems(specs: Sequence[SystemSpec]) -> list[System]:
    """The systems of these descriptions; a description may name those before it.

    Raises:
        InputError: a part or base that does not stand before the system that names it.
    """
    known: dict[str, System] = {}
    for spec in specs:
        known[spec.name] = spec.build(known)
    return list(known.values())


def baseline_specs(names: Sequence[str]) -> list[SystemSpec]:
    """Usual baselines by name, each after those it is made of.

    Raises:
        InputError: a name that is not among `BASELINES`.
    """
    found: dict[str, SystemSpec] = {}
    for name in names:
        if name not in BASELINES:
            raise InputError(
                f"expected baselines among {', '.join(BASELINES)}, found {name!r}; "
                "describe other systems in a suite file"
            )
        for spec in BASELINES[name]:
            found.setdefault(spec.name, spec)
    return list(found.values())


def _named(name: str, known: Mapping[str, System]) -> System:
    if name not in known:
        raise InputError(
            f"expected a system that stands before, found {name!r}; there are "
            f"{', '.join(known) or 'none'}"
        )
    return known[name]


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
    systems = build_systems(_needed(suite.system, only))
    chosen = [system for system in systems if not only or system.name in only]
    collections = {
        name: [_sampled(part, suite) for part in load_parts(name, data=data)]
        for name in suite.datasets
    }
    options = suite.options(allow_missing=allow_missing, explained=explained)
    return evaluate_all(chosen, collections, work, options, out, tell)


def _needed(specs: Sequence[SystemSpec], only: Sequence[str]) -> list[SystemSpec]:
    """The descriptions of these systems and of all that they are made of."""
    unknown = set(only) - {spec.name for spec in specs}
    if unknown:
        raise InputError(
            f"expected systems of the suite, found {', '.join(sorted(unknown))}; there are "
            f"{', '.join(spec.name for spec in specs)}"
        )
    wanted = set(only) or {spec.name for spec in specs}
    for spec in reversed(specs):  # what a system is made of stands before it
        if spec.name in wanted:
            wanted |= _made_of(spec)
    return [spec for spec in specs if spec.name in wanted]


def _made_of(spec: SystemSpec) -> set[str]:
    if isinstance(spec, HybridSpec):
        return set(spec.parts)
    if isinstance(spec, PrfSpec):
        return {spec.base} | ({spec.before} if spec.before else set())
    return set()


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
    return fingerprint(
        {
            "settings": system.settings(),
            "options": asdict(replace(options, explained=0)),
            "queries": list(dataset.queries.items()),
            "qrels": {query: sorted(of.items()) for query, of in dataset.qrels.items()},
            "files": {role: path.stat().st_size for role, path in dataset.files.items()},
        }
    )


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
