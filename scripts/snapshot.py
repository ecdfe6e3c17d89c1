"""``tamis snapshot`` and ``tamis restore``: a generation as a folder of its own, and back."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from tamis.scripts.output import JsonOption, print_json
from tamis.scripts.progress import progress_on_terminal


def snapshot(
    collection: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must be empty.")],
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the files where hard links would do: a backup.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Keep the index as it is now in another folder. Writing and searching go on meanwhile."""
    from tamis.index.errors import LockedError
    from tamis.index.upkeep.snapshot import write_snapshot
    from tamis.index.writing.writer import CollectionWriter

    with suppress(LockedError):  # whoever writes there commits what is in the log
        CollectionWriter.open(collection, merge=False).close()
    found = write_snapshot(collection, out, copy=copy)
    if json:
        print_json({"path": str(out), **_fields(found)})
    else:
        typer.echo(
            f"{out}: generation {found.generation}, {found.documents:,} documents, "
            f"{len(found.files)} files, identity {found.identity}"
        )


def restore(
    source: Annotated[Path, typer.Argument(metavar="SNAPSHOT", help="A `tamis snapshot`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must be empty.")],
    json: JsonOption = False,
) -> None:
    """Copy a snapshot to a new place, every byte compared with its BLAKE3."""
    from tamis.index.upkeep import snapshot as snapshots

    with progress_on_terminal(unit="files") as progress:
        found = snapshots.restore(
            source,
            out,
            progress=lambda done, total: progress("restore", done, total) if progress else None,
        )
    if json:
        print_json({"path": str(out), **_fields(found)})
    else:
        typer.echo(f"{out}: {found.documents:,} documents restored, identity {found.identity}")


def _fields(found: object) -> dict[str, object]:
    import msgspec

    fields: dict[str, object] = msgspec.to_builtins(found)
    return fields
