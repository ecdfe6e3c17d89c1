"""``tamis upgrade``: an index of an older format becomes one of this version's."""

from pathlib import Path
from typing import Annotated

import typer

from tamis.scripts.output import JsonOption, print_json


def upgrade(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An index of an older format.")],
    json: JsonOption = False,
) -> None:
    """Bring an index to this version's format, in one step, without encoding again."""
    from tamis.index.generations.manifest import FORMAT
    from tamis.index.upkeep.upgrade import upgrade as upgrade_folder

    found = upgrade_folder(folder)
    if json:
        print_json({"path": str(folder), "from": found, "to": FORMAT})
    elif found == FORMAT:
        typer.echo(f"{folder}: has format {FORMAT} already")
    else:
        typer.echo(f"{folder}: format {found} -> {FORMAT}")
