"""``tamis tune``: an index learns from real queries how much to read for which recall."""

from pathlib import Path
from typing import Annotated

import typer

from tamis.scripts.corpus import OwnEncoderOption
from tamis.scripts.info import calibration_lines
from tamis.scripts.output import JsonOption, aligned, print_json


def tune(
    collection: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    queries: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Real queries: one a line, JSON lines (.jsonl), or ids and texts (.tsv).",
        ),
    ],
    encoder: OwnEncoderOption = None,
    json: JsonOption = False,
) -> None:
    """Measure an index with real queries, at least 50, and keep the fastest safe settings."""
    from tamis.index.upkeep.tuning import tune as tune_index
    from tamis.retriever.corpus.queries import read_query_texts
    from tamis.retriever.searcher import Searcher

    vectors = Searcher.open(collection, encoder=encoder).encode(read_query_texts(queries))
    tuned = tune_index(collection, vectors)
    table = tuned.calibration
    if json:
        print_json({"source": table.source, "queries": table.queries, "rows": table.rows})
    else:
        typer.echo(aligned(calibration_lines(table, tuned.documents)))
