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

    from tamis.eval.datasets import Texts
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
    split: Annotated[
        str | None,
        typer.Option(help="Whose queries, where a collection keeps a file for each split."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of datasets, instead of TAMIS_DATA.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Rerank a run: its queries need no judgements, and documents without text come last.

    Documents below the depth are left out.
    """
    require("encode", "eval")
    from tamis.eval.datasets import load_texts
    from tamis.eval.run import read_run
    from tamis.retriever.rerank.block_reranker import BlockReranker

    whole = read_run(run)
    found, collection = whole.cut(depth), load_texts(dataset, split=split, data=data)
    queries = asked(found, collection, run)
    texts = ranked_texts(found, collection, run)
    model = BlockReranker.from_pretrained(
        reranker, device=device, conditioning="none" if cacheable else "query"
    )
    began = perf_counter()
    again = rerank_run(model, found, queries, texts, out.stem)
    took_ms = (perf_counter() - began) * 1000 / len(found)
    again.write(out)
    summary = {
        "path": str(out),
        "queries": len(found),
        "depth": depth,
        "left_out": whole.size - found.size,
        "without_text": sum(not text.strip() for text in texts.values()),
        "ms_per_query": took_ms,
    }
    if json:
        print_json(summary)
    else:
        typer.echo(
            f"{out}: {len(found)} queries, {took_ms:.0f} ms each; {summary['left_out']} documents "
            f"below the depth left out, {summary['without_text']} without text ranked last"
        )


def asked(found: "Run", collection: "Texts", path: Path) -> "dict[str, str]":
    """The texts of a run's queries.

    Raises:
        InputError: the collection lacks one, or has no text for it.
    """
    from tamis.index.errors import InputError

    queries = {query: collection.queries.get(query) for query in found.scores}
    _refuse_others(
        [query for query, text in queries.items() if text is None], "queries", collection, path
    )
    blank = [query for query, text in queries.items() if not (text or "").strip()]
    if blank:
        raise InputError(
            f"{path}: expected a text for each query, found {len(blank)} empty in "
            f"{collection.name}, such as {blank[0]!r}; fill them in, or drop their lines"
        )
    return {query: text for query, text in queries.items() if text}


def ranked_texts(found: "Run", collection: "Texts", path: Path) -> "dict[str, str]":
    """The texts of a run's documents, which may be empty.

    Raises:
        InputError: the collection lacks one.
    """
    needed = {doc for ranking in found.scores.values() for doc in ranking}
    texts = {one.doc_id: one.content for one in collection.corpus() if one.doc_id in needed}
    _refuse_others(sorted(needed - set(texts)), "documents", collection, path)
    return texts


def _refuse_others(others: list[str], what: str, collection: "Texts", path: Path) -> None:
    from tamis.index.errors import InputError

    if others:
        raise InputError(
            f"{path}: expected {what} of {collection.name}, found {others[0]!r} ({len(others)} "
            "that it lacks); give the run's own dataset"
        )


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
