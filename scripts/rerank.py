"""``tamis rerank``: a TREC run becomes another, its best documents in a reranker's order."""

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from tamis.scripts.corpus import DeviceOption
from tamis.scripts.extras import require
from tamis.scripts.output import JsonOption, in_a_folder, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.eval.run import Run
    from tamis.retriever.rerank.block_reranker import BlockReranker


def rerank(
    run: Annotated[Path, typer.Argument(metavar="RUN.trec", help="What a first stage found.")],
    dataset: Annotated[
        str, typer.Option(help="The collection with the texts, as for `tamis eval`.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", callback=in_a_folder, help="The run to write.")
    ],
    depth: Annotated[
        int, typer.Option(min=1, help="Best documents of each query to rerank.")
    ] = 100,
    reranker: Annotated[
        str, typer.Option(help="Folder or hub name of a model; default ships.")
    ] = "default",
    cacheable: Annotated[
        bool,
        typer.Option(
            "--cacheable",
            help="Read documents without the query, as stored keys do: they can be used again.",
        ),
    ] = False,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Rerank a run. Documents below the depth are left out."""
    require("encode", "eval")
    from tamis.eval.datasets import load_dataset
    from tamis.eval.run import read_run
    from tamis.index.errors import InputError
    from tamis.retriever.rerank.block_reranker import BlockReranker

    found = read_run(run).cut(depth)
    collection = load_dataset(dataset)
    unknown = sorted(set(found.scores) - set(collection.queries))
    if unknown:
        raise InputError(
            f"{run}: expected queries of {collection.label}, found {unknown[0]!r} "
            f"({len(unknown)} unknown); give the run's own dataset"
        )
    needed = {doc for ranking in found.scores.values() for doc in ranking}
    texts = {one.doc_id: one.content for one in collection.passages() if one.doc_id in needed}
    missing = sorted(needed - set(texts))
    if missing:
        raise InputError(
            f"{run}: expected documents of {collection.label}, found {missing[0]!r} "
            f"({len(missing)} unknown); give the run's own dataset"
        )
    model = BlockReranker.from_pretrained(
        reranker, device=device, conditioning="none" if cacheable else "query"
    )
    began = perf_counter()
    rerank_run(model, found, collection.queries, texts, out.stem).write(out)
    took_ms = (perf_counter() - began) * 1000 / max(len(found), 1)
    summary = {"path": str(out), "queries": len(found), "depth": depth, "ms_per_query": took_ms}
    if json:
        print_json(summary)
    else:
        typer.echo(f"{out}: {len(found)} queries, {took_ms:.0f} ms each")


def rerank_run(
    model: "BlockReranker",
    found: "Run",
    queries: "Mapping[str, str]",
    texts: "Mapping[str, str]",
    tag: str,
) -> "Run":
    """Every query's documents with the reranker's scores."""
    from tamis.eval.run import Run

    scores = {}
    for query in found.scores:
        ranking = found.ordered(query)
        documents = [texts[doc] for doc, _ in ranking]
        first_stage = [score for _, score in ranking]
        values = model.score(queries[query], documents, first_stage=first_stage).tolist()
        scores[query] = {doc: value for (doc, _), value in zip(ranking, values, strict=True)}
    return Run(scores, tag)
