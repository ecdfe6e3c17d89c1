"""``tamis delete``: documents leave an index."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tamis.scripts.output import JsonOption, print_json


def delete(
    collection: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Ids of documents; - reads one a line.")
    ],
    json: JsonOption = False,
) -> None:
    """Delete documents by id. Ids that are not there are passed over."""
    from tamis.index.writer import CollectionWriter

    wanted = _lines() if ids == ["-"] else ids
    with CollectionWriter.open(collection) as writer:
        deleted = writer.delete(wanted)
        generation = writer.commit()
        documents = len(writer.index)
    if json:
        found = {"deleted": deleted, "documents": documents, "generation": generation}
        print_json({"path": str(collection), **found})
    else:
        typer.echo(
            f"{collection}: {deleted:,} of {len(wanted):,} ids deleted, {documents:,} documents "
            f"left, generation {generation}"
        )


def _lines() -> list[str]:
    """The lines of standard input that hold something, as a Unix or Windows program writes them."""
    return [wanted for line in sys.stdin if (wanted := line.rstrip("\r\n"))]
