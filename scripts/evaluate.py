"""``tamis eval``: how well a system ranks, on published collections or on one's own."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from tamis.scripts import evaluate_options as option
from tamis.scripts.corpus import ChunkOption
from tamis.scripts.extras import require
from tamis.scripts.options import is_given, refuse_beside, require_beside
from tamis.scripts.output import JsonOption, aligned, print_json

if TYPE_CHECKING:
    from tamis.eval.datasets import Dataset
    from tamis.eval.evaluate import Evaluation, Options
    from tamis.eval.ranker import System
    from tamis.retriever.rerank.named import RerankerName

EXPLAINED = 10  # failing queries in a report


def eval_command(
    context: typer.Context,
    datasets: option.Datasets = None,
    index: option.Index = None,
    encoder: option.Encoder = "default",
    lexical: option.Lexical = True,
    lexical_weight: option.LexicalWeight = None,
    chunk: ChunkOption = None,
    rerank: option.Rerank = None,
    reranker: option.Reranker = "block",
    baseline: option.Baseline = "",
    from_run: option.FromRun = None,
    measures: option.Measures = "",
    run: option.Run = None,
    out: option.Out = None,
    html: option.Html = None,
    suite: option.Suite = None,
    only: option.Only = "",
    split: option.Split = None,
    data: option.Data = None,
    queries: option.Queries = None,
    qrels: option.Qrels = None,
    depth: option.Depth = 1000,
    sample: option.Sample = None,
    timed_queries: option.TimedQueries = 200,
    allow_missing: option.AllowMissing = False,
    own_document: option.OwnDocument = None,
    device: option.Device = "cpu",
    work: option.Work = None,
    seed: option.Seed = 0,
    json: JsonOption = False,
) -> None:
    """Evaluate on DATASET: nDCG, recall and more, with latency, sizes and significance.

    A name is looked up in --data or in the folder of the variable TAMIS_DATA.
    """
    from tamis.eval.evaluate import Options
    from tamis.eval.systems import caches

    _check_options(context)
    explained = EXPLAINED if html is not None else 0
    options = Options(
        tuple(_names(measures)) or None,
        depth,
        timed_queries,
        allow_missing,
        explained,
        seed,
        own_document,
    )
    places = _Places(out, work or caches(), data, run)
    if suite is not None:
        found, against = _suite(suite, datasets, _names(only), places, options)
    elif not datasets:
        raise typer.BadParameter("give a DATASET, or --suite FILE.toml")
    else:
        collections = _collections(datasets, split, data, queries, qrels, sample, seed)
        if from_run:
            _check_files(None, out, len(from_run) * len(collections))
            found, against = _from_runs(from_run, collections, options)
        else:
            moved = encoder if is_given(context, "encoder") else None
            asked = _Asked(
                _names(baseline),
                index,
                encoder,
                moved,
                lexical,
                lexical_weight,
                chunk,
                rerank,
                reranker,
                device,
            )
            found, against = _searched(asked, collections, places, options)
        _write(found, run, out)
    _show(found, against, html, json)


@dataclass(frozen=True)
class _Places:
    """Where results go, where indexes are kept, where datasets are."""

    out: Path | None
    work: Path
    data: Path | None
    run: Path | None


@dataclass(frozen=True)
class _Asked:
    """The systems that options describe."""

    baselines: list[str]
    index: Path | None
    encoder: str
    moved: str | None  # where the index's own encoder lies now
    lexical: bool
    lexical_weight: float | None
    chunk: str | None
    rerank: int | None
    reranker: "RerankerName"
    device: Literal["cpu", "cuda"]


def _check_options(context: typer.Context) -> None:
    """Refuse options that others would silently win over."""
    of_an_index = ("lexical", "chunk")
    refuse_beside(context, "index", of_an_index, "an index has its own")
    searching = (
        "index",
        "encoder",
        *of_an_index,
        "lexical_weight",
        "rerank",
        "reranker",
        "device",
        "baseline",
        "run",
    )
    refuse_beside(context, "from_run", searching, "a run is measured as it is")
    drawn = ("measures", "split", "queries", "qrels", "depth", "sample", "timed_queries", "seed")
    described = (*searching, "from_run", *drawn, "own_document")
    refuse_beside(context, "suite", described, "the file describes it")
    require_beside(context, "suite", ["only"])
    require_beside(context, "rerank", ["reranker"])
    if context.params["reranker"] != "block":
        require_beside(context, "index", ["reranker"])


def _searched(
    asked: _Asked, collections: "dict[str, list[Dataset]]", places: _Places, options: "Options"
) -> "tuple[list[Evaluation], str | None]":
    """Evaluate systems, and say which of them the others are compared with."""
    from tamis.eval.suite import evaluate_all

    systems = _systems(asked)
    _check_files(places.run, places.out, len(systems) * len(collections))
    kept = places.out if places.run is None and not _is_file(places.out) else None
    found = evaluate_all(systems, collections, places.work, options, kept, _tell)
    return found, asked.baselines[0] if asked.baselines else None


def _names(by_commas: str) -> list[str]:
    return [name.strip() for name in by_commas.split(",") if name.strip()]


def _suite(
    path: Path, datasets: list[str] | None, only: list[str], places: _Places, options: "Options"
) -> "tuple[list[Evaluation], str | None]":
    import msgspec

    from tamis.eval.suite import read_suite, run_suite

    if places.out is None or _is_file(places.out):
        raise typer.BadParameter("a suite needs a folder for its results: --out FOLDER")
    plan = read_suite(path)
    if datasets:
        plan = msgspec.structs.replace(plan, datasets=tuple(datasets))
    found = run_suite(
        plan,
        places.out,
        places.work,
        data=places.data,
        only=only,
        allow_missing=options.allow_missing,
        explained=options.explained,
        tell=_tell,
    )
    evaluated = {result.system for result in found}
    return found, plan.baseline if plan.baseline in evaluated else None


def _collections(
    names: list[str],
    split: str | None,
    data: Path | None,
    queries: Path | None,
    qrels: Path | None,
    sample: int | None,
    seed: int,
) -> "dict[str, list[Dataset]]":
    from tamis.eval.datasets import load_dataset, load_parts, with_pairs

    collections = {}
    for name in names if queries or qrels else with_pairs(names, data):
        if queries or qrels:
            parts = [load_dataset(name, split=split, data=data, queries=queries, qrels=qrels)]
        else:
            parts = load_parts(name, split=split, data=data)
        collections[name] = [part.sample(sample, seed) if sample else part for part in parts]
    return collections


def _systems(asked: _Asked) -> "list[System]":
    from tamis.eval.reranking import reranked, reranked_by_name
    from tamis.eval.specs import TamisSpec, baseline_specs, build_systems
    from tamis.eval.systems import IndexedSystem
    from tamis.retriever.searcher import Searcher

    if asked.device != "cpu":
        require("encode", "gpu")
    systems = build_systems(baseline_specs(asked.baselines))
    if asked.index is not None:
        searcher = Searcher.open(asked.index, encoder=asked.moved)
        on_gpu = asked.device != "cpu"
        searched: System = IndexedSystem(
            searcher, asked.index.name, asked.lexical_weight, on_gpu, asked.device
        )
    else:
        chunk, name = asked.chunk, asked.encoder
        name = name if name.startswith(("default", "bm25")) else Path(name).name
        name = f"tamis-{name}-{chunk.replace(':', '-')}" if chunk else f"tamis-{name}"
        weight = asked.lexical_weight
        spec = TamisSpec(
            name,
            asked.encoder,
            asked.lexical,
            lexical_weight=weight,
            chunk=chunk,
            device=asked.device,
        )
        (searched,) = build_systems([spec])
    if asked.rerank is not None and asked.index is not None and asked.reranker != "block":
        name = f"{searched.name}+{asked.reranker}"
        searched = reranked_by_name(
            searched, asked.rerank, name, folder=asked.index, reranker=asked.reranker
        )
    elif asked.rerank is not None:
        name = f"{searched.name}+rerank"
        searched = reranked(searched, asked.rerank, name, folder=asked.index)
    return [*systems, searched]


def _from_runs(
    paths: list[Path], collections: "dict[str, list[Dataset]]", options: "Options"
) -> "tuple[list[Evaluation], str | None]":
    """Measure runs under their tags, or under their files' names where tags are equal."""
    from tamis.eval.evaluate import evaluate_run
    from tamis.eval.run import read_run

    if len(set(paths)) < len(paths):
        raise typer.BadParameter("--from-run names a file twice; give each run once")
    runs = [read_run(path) for path in paths]
    names = [run.tag for run in runs]
    whole = [path.as_posix().strip("/").replace("/", "-") for path in paths]
    for of in ([path.stem for path in paths], whole):
        names = of if len(set(names)) < len(names) else names
    found = [
        evaluate_run(replace(run, tag=name), dataset, options)
        for parts in collections.values()
        for dataset in parts
        for run, name in zip(runs, names, strict=True)
    ]
    return found, names[0] if len(names) > 1 else None


def _is_file(out: Path | None) -> bool:
    return out is not None and out.suffix == ".json"


def _check_files(run: Path | None, out: Path | None, results: int) -> None:
    """Refuse a file for several results before the work begins, not after it."""
    if results > 1 and (run is not None or _is_file(out)):
        raise typer.BadParameter(
            f"--run and --out FILE.json hold one result, and there will be {results}; "
            "evaluate one system on one dataset, or give --out FOLDER"
        )


def _write(found: "list[Evaluation]", run: Path | None, out: Path | None) -> None:
    from tamis.eval.evaluate import save
    from tamis.eval.suite import result_path

    if out is not None:
        for result in found:
            save(result, out if _is_file(out) else result_path(out, result.dataset, result.system))
    if run is not None and found[0].run is not None:
        found[0].run.write(run)


def _show(found: "list[Evaluation]", baseline: str | None, html: Path | None, json: bool) -> None:
    from tamis.eval.tables import Results, comparison_table, language_table, measures_table

    if html is not None:
        from tamis.eval.report import write_report

        write_report(found, html, baseline=baseline)
    if json:
        reports = [result.report for result in found]
        print_json(reports[0] if len(reports) == 1 else reports)
        return
    typer.echo(aligned(measures_table(found)))
    results = Results(found)
    if len(results.systems) > 1 and baseline is not None:
        measure = next(iter(found[0].measures))
        typer.echo(f"\n{measure}; ▲ ▼ differ from {baseline} (p < .05, Holm)")
        typer.echo(aligned(comparison_table(results, measure, baseline)))
    if languages := language_table(results, next(iter(found[0].measures))):
        typer.echo(f"\n{next(iter(found[0].measures))} by language of the queries")
        typer.echo(aligned(languages))


def _tell(line: str) -> None:
    if sys.stderr.isatty():
        typer.echo(line, err=True)
