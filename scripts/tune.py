"""``tamis tune``: an index learns from real queries how much to read for which recall."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.scripts.info import calibration_lines
from tamis.scripts.output import JsonOption, aligned, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping


def tune(
    collection: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    queries: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Real queries: one a line, or JSON lines with a text (.jsonl); also .gz, .zst.",
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Measure an index with real queries, at least 50, and keep the fastest safe settings."""
    from tamis.index.upkeep.tuning import tune as tune_index
    from tamis.retriever.searcher import Searcher

    vectors = Searcher.open(collection).encode(read_queries(queries))
    tuned = tune_index(collection, vectors)
    table = tuned.calibration
    if json:
        print_json({"source": table.source, "queries": table.queries, "rows": table.rows})
    else:
        typer.echo(aligned(calibration_lines(table, tuned.documents)))


def read_queries(file: Path) -> list[str]:
    """The texts of a file of queries, which may be packed (``.gz``, ``.zst``).

    Raises:
        InputError: there is no such file, it is not UTF-8, or a line of JSON has no text.
    """
    from tamis.index.errors import InputError
    from tamis.index.files.lines import json_lines, open_bytes, text_lines

    if not file.is_file():
        raise InputError(f"{file}: expected a file of queries, found none; check the path")
    kind = Path(file.name.removesuffix(".gz").removesuffix(".zst")).suffix
    with open_bytes(file) as stream:
        if kind not in (".jsonl", ".ndjson"):
            return [line for _, line in text_lines(str(file), stream)]
        return [_text(file, number, row) for number, row in json_lines(str(file), stream)]


def _text(file: Path, number: int, row: "Mapping[str, Any]") -> str:
    from tamis.index.errors import InputError

    text = row.get("text")
    if not isinstance(text, str) or not text.strip():
        found = "a blank text" if isinstance(text, str) else f"{text!r} under 'text'"
        raise InputError(
            f'{file}:{number}: expected a query such as {{"text": "..."}}, found '
            f"{found if 'text' in row else 'no text'}; correct or remove the line"
        )
    return text
