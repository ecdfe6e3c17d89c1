"""``tamis verify``: every byte of an index against the checksums written with it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.scripts.output import JsonOption, human_bytes, print_json
from tamis.scripts.progress import progress_on_terminal


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    json: JsonOption = False,
) -> None:
    """Compare every file of an index with its checksum.

    Names each file that differs; the exit code is 2 if one does.
    """
    found = check_files(folder)
    if json:
        print_json(found)
    else:
        for problem in found["problems"]:
            typer.echo(f"tamis: {problem['message']}", err=True)
        state = "whole" if found["ok"] else f"{len(found['problems'])} damaged"
        typer.echo(f"{folder}: {found['files']} files, {human_bytes(found['size_bytes'])}: {state}")
    if not found["ok"]:
        raise typer.Exit(2)


def check_files(folder: Path) -> dict[str, Any]:
    """Check every file of the current generation, going on after a damaged one.

    Raises:
        FormatError: the folder is no finished index of this version.
        CorruptionError: the manifest itself is damaged, so that nothing can be compared.
    """
    from tamis.index.errors import CorruptionError
    from tamis.index.manifest import read_current
    from tamis.index.storage import Storage

    storage = Storage(folder)
    manifest = read_current(storage)
    problems: list[dict[str, str]] = []
    done_bytes = 0
    with progress_on_terminal(unit="bytes") as progress:
        for name, entry in manifest.files.items():
            try:
                storage.check(name, entry)
            except CorruptionError as error:
                problems.append({"file": name, "code": error.code, "message": str(error)})
            done_bytes += entry.size_bytes
            if progress is not None:
                progress("verify", done_bytes, manifest.size_bytes)
    return {
        "path": str(folder),
        "ok": not problems,
        "generation": manifest.generation,
        "documents": manifest.documents,
        "files": len(manifest.files),
        "size_bytes": manifest.size_bytes,
        "problems": problems,
    }
