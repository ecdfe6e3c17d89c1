"""``tamis eval``: how well a system ranks, on published collections or on one's own."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tamis.scripts.corpus import ChunkOption
from tamis.scripts.extras import require
from tamis.scripts.options import is_given, refuse_beside, require_beside
from tamis.scripts.output import JsonOption, aligned, in_a_folder, print_json, warnings_said

if TYPE_CHECKING:
    from tamis.eval.datasets import Dataset
    from tamis.eval.evaluate import Evaluation, Options
    from tamis.eval.ranker import System

BASELINES = "bm25, lucene, dense, hybrid, hybrid-sum, dense+prf"
EXPLAINED = 10  # failing queries in a report


def eval_command(
    context: typer.Context,
    datasets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATASET...",
            help="BEIR or MS MARCO folders, names in --data, or ir_datasets ids; NAME:SPLIT.",
            show_default=False,
        ),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(help="Search this folder of `tamis index` instead of indexing the corpus."),
    ] = None,
    encoder: Annotated[
        str,
        typer.Option(
            help="Encoder by name or folder; bm25 is the lexical channel alone. With --index, "
            "where its own encoder lies now."
        ),
    ] = "default",
    lexical: Annotated[bool, typer.Option(help="Use the lexical channel as well.")] = True,
    lexical_weight: Annotated[
        float | None,
        typer.Option(help="Factor on the words of queries, 0 or more; by default the index's own."),
    ] = None,
    chunk: ChunkOption = None,
    rerank: Annotated[
        int | None,
        typer.Option(min=1, metavar="DEPTH", help="Rerank the best DEPTH documents."),
    ] = None,
    baseline: Annotated[
        str, typer.Option(help=f"Evaluate these first, by commas: {BASELINES}.")
    ] = "",
    from_run: Annotated[
        list[Path] | None,
        typer.Option(
            help="Measure this TREC run instead of searching; give several to compare them with "
            "the first.",
            show_default=False,
        ),
    ] = None,
    measures: Annotated[
        str,
        typer.Option(
            help="Measures by commas, such as nDCG@10,Recall@100; the collection's own by default."
        ),
    ] = "",
    run: Annotated[
        Path | None, typer.Option(callback=in_a_folder, help="Write the ranking as a TREC run.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the report: a .json file, or a folder for several results."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(callback=in_a_folder, help="Write a report to read in a browser.")
    ] = None,
    suite: Annotated[
        Path | None, typer.Option(help="Evaluate what a TOML file describes, into --out FOLDER.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="Of the suite's systems evaluate these alone; by commas.")
    ] = "",
    split: Annotated[
        str | None, typer.Option(help="Judgements to use: train, dev, or by default test.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of datasets, instead of TAMIS_DATA.")
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="File of queries or TREC topics to use.")
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option(help="File of judgements to use, BEIR's or TREC's.")
    ] = None,
    depth: Annotated[
        int, typer.Option(min=1, max=10_000, help="Documents to rank for each query.")
    ] = 1000,
    sample: Annotated[
        int | None,
        typer.Option(min=1, help="Evaluate so many queries, drawn with --seed; all by default."),
    ] = None,
    timed_queries: Annotated[
        int, typer.Option(min=0, help="Queries to measure latency on; 0 skips it.")
    ] = 200,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Accept judged documents the corpus lacks.")
    ] = False,
    own_document: Annotated[
        Literal["drop", "keep"] | None,
        typer.Option(
            help="What to do with a document of the query's own id in that query's ranking; by "
            "default what the collection's rules say: where queries are documents, drop it."
        ),
    ] = None,
    device: Annotated[
        Literal["cpu", "cuda"],
        typer.Option(help="cuda: search exactly on a GPU, at any depth; latency is the CPU's."),
    ] = "cpu",
    work: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps indexes between evaluations, instead of the cache."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of samples and significance tests.")] = 0,
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
        "device",
        "baseline",
        "run",
    )
    refuse_beside(context, "from_run", searching, "a run is measured as it is")
    drawn = ("measures", "split", "queries", "qrels", "depth", "sample", "timed_queries", "seed")
    described = (*searching, "from_run", *drawn, "own_document")
    refuse_beside(context, "suite", described, "the file describes it")
    require_beside(context, "suite", ["only"])


def _searched(
    asked: _Asked, collections: "dict[str, list[Dataset]]", places: _Places, options: "Options"
) -> "tuple[list[Evaluation], str | None]":
    """Evaluate systems, and say which of them the others are compared with."""
    from tamis.eval.suite import evaluate_all

    systems = _systems(asked)
    _check_files(places.run, places.out, len(systems) * len(collections))
    kept = places.out if places.run is None and not _is_file(places.out) else None
    with warnings_said():
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
    with warnings_said():
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
    from tamis.eval.datasets import load_dataset, load_parts

    collections = {}
    for name in names:
        if queries or qrels:
            parts = [load_dataset(name, split=split, data=data, queries=queries, qrels=qrels)]
        else:
            parts = load_parts(name, split=split, data=data)
        collections[name] = [part.sample(sample, seed) if sample else part for part in parts]
    return collections


def _systems(asked: _Asked) -> "list[System]":
    from tamis.eval.reranking import reranked
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
    if asked.rerank is not None:
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
    with warnings_said():
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
        with warnings_said():
            found[0].run.write(run)


def _show(found: "list[Evaluation]", baseline: str | None, html: Path | None, json: bool) -> None:
    from tamis.eval.tables import Results, comparison_table, measures_table

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


def _tell(line: str) -> None:
    if sys.stderr.isatty():
        typer.echo(line, err=True)
