"""``tamis tune``: an index learns from real queries how much to read for which recall."""

from pathlib import Path
from typing import Annotated

import typer

from tamis.scripts.info import calibration_lines
from tamis.scripts.output import JsonOption, aligned, print_json


def tune(
    collection: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    queries: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Real queries: one a line, or JSON lines with a text."),
    ],
    json: JsonOption = False,
) -> None:
    """Measure an index with real queries, at least 50, and keep the fastest safe settings."""
    from tamis.index.tuning import tune as tune_index
    from tamis.retriever.searcher import Searcher

    vectors = Searcher.open(collection).encode(read_queries(queries))
    table = tune_index(collection, vectors).calibration
    if json:
        print_json({"source": table.source, "queries": table.queries, "rows": table.rows})
    else:
        typer.echo(aligned(calibration_lines(table)))


def read_queries(file: Path) -> list[str]:
    """The texts of a file of queries.

    Raises:
        InputError: there is no such file, it is not UTF-8, or a line of JSON has no text.
    """
    import orjson

    from tamis.index.errors import InputError

    if not file.is_file():
        raise InputError(f"{file}: expected a file of queries, found none; check the path")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file}: expected text in UTF-8, found another encoding ({error}); convert it first"
        ) from error
    lines = [line for line in text.split("\n") if line.strip()]
    if file.suffix != ".jsonl":
        return lines
    try:
        return [str(orjson.loads(line)["text"]) for line in lines]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f'{file}: expected lines such as {{"_id": "1", "text": "..."}}, found another '
            f"({error}); give plain lines in a .txt file"
        ) from error
