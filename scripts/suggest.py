"""``tamis suggest``: how a query that is being typed may go on."""

from pathlib import Path
from typing import Annotated

import typer

from tamis.scripts.output import JsonOption, aligned, print_json


def suggest(
    collection: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="Typed so far; its last word is completed.")
    ],
    size: Annotated[int, typer.Option("-k", min=1, max=100, help="How many suggestions.")] = 10,
    json: JsonOption = False,
) -> None:
    """Complete the last word of a text, as documents write it."""
    from tamis.retriever.searcher import Searcher

    searcher = Searcher.open(collection, verify="lazy")
    found = searcher.suggest(text, size)
    if json:
        print_json({"generation": searcher.collection.generation, "suggestions": found})
    elif found:
        typer.echo(aligned([(one.text, f"{one.documents:,}") for one in found]))
    else:
        typer.echo("no word of the index begins so")
