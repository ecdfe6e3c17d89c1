"""``tamis delete``: documents leave an index."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tamis.scripts.filters import FilterOption, parse_filter
from tamis.scripts.output import JsonOption, print_json


def delete(
    collection: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Ids of documents; - reads one a line."),
    ] = None,
    filter: FilterOption = None,  # noqa: A002  the option's name
    every: Annotated[bool, typer.Option("--all", help="Every document.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete documents by id, those that a filter admits, or all.

    Ids that are not there are passed over. Where documents were divided with --chunk, an id stands
    for all passages of its document.
    """
    from tamis.index.writing.writer import CollectionWriter
    from tamis.retriever.corpus.chunking import with_chunks

    where = parse_filter(filter)
    if [bool(ids), where is not None, every].count(True) != 1:
        raise typer.BadParameter("give ids or --filter JSON or --all, one of the three")
    wanted = _lines() if ids == ["-"] else ids or []
    with CollectionWriter.open(collection) as writer:
        named = with_chunks(writer, wanted)
        if every:
            deleted = writer.delete_all()
        else:
            deleted = writer.delete(named) if where is None else writer.delete_where(where)
        generation = writer.commit()
        documents = len(writer.index)
    if json:
        found = {"deleted": deleted, "documents": documents, "generation": generation}
        print_json({"path": str(collection), **found})
    else:
        typer.echo(
            f"{collection}: {_said(deleted, named, bool(ids))} deleted, {documents:,} "
            f"documents left, generation {generation}"
        )


def _said(deleted: int, wanted: list[str], by_id: bool) -> str:
    return f"{deleted:,} of {len(wanted):,} ids" if by_id else f"{deleted:,} documents"


def _lines() -> list[str]:
    """The lines of standard input that hold something, as a Unix or Windows program writes them."""
    return [wanted for line in sys.stdin if (wanted := line.rstrip("\r\n"))]
