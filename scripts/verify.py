"""``tamis verify``: every byte of an index against the checksums written with it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamis.scripts.output import JsonOption, human_bytes, print_json
from tamis.scripts.progress import progress_on_terminal

if TYPE_CHECKING:
    from tamis.index.upkeep.verification import Report


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    repair: Annotated[
        bool,
        typer.Option("--repair", help="First repair what can be repaired without losing anything."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Compare every file of an index with its checksum.

    Names each file that differs, what can still be read without it, and what to do; the exit code
    is 2 if one does.
    """
    from tamis.index.upkeep import verification

    repaired = verification.repair(folder) if repair else []
    found = examine(folder)
    if json:
        fields = {"path": str(folder), "ok": not found.problems, "repaired": repaired}
        print_json({**fields, **asdict(found)})
    else:
        for line in repaired:
            typer.echo(f"{folder}: {line}")
        _print(folder, found)
    if found.problems:
        raise typer.Exit(2)


def examine(folder: Path) -> "Report":
    """Check every file of the current generation, with progress on a terminal.

    Raises:
        FormatError: the folder is no finished index of this version.
    """
    from tamis.index.upkeep import verification

    with progress_on_terminal(unit="bytes") as progress:
        return verification.examine(
            folder, lambda done, total: progress("verify", done, total) if progress else None
        )


def _print(folder: Path, found: "Report") -> None:
    for problem in found.problems:
        typer.echo(f"tamis: {problem.message}", err=True)
        typer.echo(f"  readable: {problem.readable}", err=True)
        typer.echo(f"  repair:   {problem.repair}", err=True)
    state = "whole" if not found.problems else f"{len(found.problems)} damaged"
    typer.echo(f"{folder}: {found.files} files, {human_bytes(found.size_bytes)}: {state}")
    if found.waiting:
        typer.echo(f"{folder}: {found.waiting} writes in the log wait to become searchable")
