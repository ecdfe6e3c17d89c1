"""``tamis patch``: fields of documents change, and fields to filter by are declared."""

import sys
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.scripts.output import JsonOption, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tamis.index.segment.values import ColumnType

AT_ONCE = 256  # changes that are one write
MOST_TOLD = 20


def patch(
    collection: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    changes: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help="JSON lines, each an _id and the fields to change; null removes one; - reads "
            "standard input.",
        ),
    ] = None,
    fields: Annotated[
        str | None,
        typer.Option(metavar="NAME:TYPE,...", help="Further fields to filter searches by."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Change fields of documents, and declare fields to filter by; nothing is encoded again."""
    from tamis.index.writing.writer import CollectionWriter
    from tamis.retriever.editor import declare_fields, patch_documents
    from tamis.scripts.info import read_info

    if changes is None and fields is None:
        raise typer.BadParameter("give a FILE of changes, or --fields to declare")
    began, changed = perf_counter(), 0
    missing: list[str] = []
    with CollectionWriter.open(collection) as writer:
        if fields is not None:
            declare_fields(writer, _declared(fields))
        for some in _batches(changes) if changes is not None else ():
            gone = patch_documents(writer, some, "none")
            missing += gone
            changed += len(some) - len(gone)
    told = {"changed": changed, "missing": len(missing), "missing_ids": missing[:MOST_TOLD]}
    found = read_info(collection)
    if json:
        print_json({**found, **told, "took_ms": (perf_counter() - began) * 1000})
        return
    typer.echo(f"{collection}: {changed:,} documents changed, generation {found['generation']}")
    if missing:
        shown = ", ".join(missing[:MOST_TOLD])
        typer.echo(f"{len(missing):,} ids are not there: {shown}")


def _declared(fields: str) -> "dict[str, ColumnType]":
    """The fields of the option with their types, which cannot be inferred."""
    from tamis.index.errors import InputError
    from tamis.retriever.corpus.fields import parse_fields

    found = {name: kind for name, kind in parse_fields(fields).items() if kind is not None}
    if len(found) < len(parse_fields(fields)):
        raise InputError(
            f"expected a type for each field in --fields, found {fields!r}; write price:float"
        )
    return found


def _batches(source: str) -> "Iterator[dict[str, dict[str, Any]]]":
    """Changes by id, a few at a time; the second change of an id comes after the first."""
    some: dict[str, dict[str, Any]] = {}
    for doc_id, change in _lines(source):
        if doc_id in some or len(some) == AT_ONCE:
            yield some
            some = {}
        some[doc_id] = change
    if some:
        yield some


def _lines(source: str) -> "Iterator[tuple[str, dict[str, Any]]]":
    from tamis.index.errors import InputError
    from tamis.index.files.lines import json_lines, open_bytes, refuse

    with nullcontext(sys.stdin.buffer) if source == "-" else open_bytes(Path(source)) as stream:
        for line, row in json_lines(source, stream, refuse):
            change = dict(row)
            doc_id = change.pop("_id", None)
            if not isinstance(doc_id, str):
                raise InputError(
                    f"{source}:{line}: expected an object with an _id and the fields to change, "
                    f"found {str(row)[:80]}; name the document"
                )
            yield doc_id, change
