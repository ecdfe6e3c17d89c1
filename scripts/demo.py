"""``tamis demo``: from nothing to a search server over the sample collection of the package."""

from contextlib import contextmanager, nullcontext
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.scripts.build import index_corpus_of
from tamis.scripts.corpus import EncoderOption
from tamis.scripts.extras import require
from tamis.scripts.output import JsonOption, aligned, print_json, print_json_line
from tamis.scripts.serve import Door, HostOption, open_door, run_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tamis.eval.evaluate import Evaluation
    from tamis.retriever.searcher import Searcher

SAMPLE = "squadshifts-new-wiki"
MEASURES = ("nDCG@10", "R@100")


def demo(
    serve: Annotated[bool, typer.Option(help="Leave a search server running at the end.")] = True,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Keep the index in this new folder.")
    ] = None,
    encoder: EncoderOption = "default",
    host: HostOption = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the server; 0 picks a free one.")
    ] = 0,
    json: JsonOption = False,
) -> None:
    """Index a sample collection, evaluate and serve it.

    The sample: 1,581 Wikipedia passages and 749 questions with judgements, CC BY 4.0.
    """
    require("eval", *(["serve"] if serve else []))
    door = open_door(host, port) if serve else None
    with (
        door.listener if door else nullcontext(),
        _folder(out) as folder,
        resources.as_file(_sample()) as sample,
    ):
        began = perf_counter()
        searcher = _index(sample, folder, encoder, json)
        indexed = perf_counter()
        found = _evaluate(sample, folder, searcher, json)
        took = {"index_s": indexed - began, "evaluate_s": perf_counter() - indexed}
        report = {"documents": len(searcher.collection), **took, "results": _results(found)}
        if door is not None:
            _serve(searcher, door, report if json else None)
        elif json:
            print_json(report)


@contextmanager
def _folder(out: Path | None) -> "Iterator[Path]":
    """Where the index goes: the folder asked for, else one that goes away at the end."""
    if out is not None:
        yield out
        return
    with TemporaryDirectory(prefix="tamis-demo-") as folder:
        yield Path(folder) / SAMPLE


def _sample() -> Any:  # noqa: ANN401  a file of the package, zipped or not
    return resources.files("tamis.eval") / "sample" / SAMPLE


def _index(sample: Path, folder: Path, encoder: str, quiet: bool) -> "Searcher":
    from tamis.retriever.searcher import Searcher

    if not quiet:
        typer.echo(f"Indexing {SAMPLE} with the encoder {encoder!r} ...")
    began = perf_counter()
    index_corpus_of(str(sample), folder, encoder)
    took_s = perf_counter() - began
    searcher = Searcher.open(folder)
    if not quiet:
        documents = len(searcher.collection)
        typer.echo(f"{documents:,} documents in {took_s:.1f} s ({documents / took_s:,.0f}/s)\n")
    return searcher


def _evaluate(sample: Path, folder: Path, searcher: "Searcher", quiet: bool) -> "list[Evaluation]":
    from tamis.eval.datasets import load_dataset
    from tamis.eval.evaluate import Options, evaluate
    from tamis.eval.suite import baseline_specs, build_systems
    from tamis.eval.systems import IndexedSystem
    from tamis.eval.tables import measures_table

    dataset = load_dataset(str(sample))
    if not quiet:
        typer.echo(f"Evaluating {len(dataset.queries)} questions beside BM25 (bm25s) ...")
    options = Options(measures=MEASURES, timed_queries=0)
    systems = [*build_systems(baseline_specs(["bm25"])), IndexedSystem(searcher, "tamis")]
    found = [evaluate(system, dataset, folder.parent, options) for system in systems]
    if not quiet:
        typer.echo(aligned(measures_table(found)) + "\n")
    return found


def _results(found: "list[Evaluation]") -> list[dict[str, Any]]:
    return [{"system": one.system, "measures": one.measures} for one in found]


def _serve(searcher: "Searcher", door: Door, report: dict[str, Any] | None) -> None:
    def say(address: str) -> None:
        if report is not None:
            print_json_line({**report, "address": address})
        else:
            typer.echo(f"Serving {SAMPLE} at {address} (Ctrl-C stops)")

    run_server(lambda: {SAMPLE: searcher}, door, say)
