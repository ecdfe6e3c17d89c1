"""``tamis upgrade``: an index of an older format becomes one of this version's."""

from pathlib import Path
from typing import Annotated

import typer

from tamis.scripts.output import JsonOption, print_json
from tamis.scripts.progress import progress_on_terminal


def upgrade(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An index of an older format.")],
    json: JsonOption = False,
) -> None:
    """Bring an index to this version's format, without encoding again.

    Where another version of the stemmer or of Unicode made its words, or a version that was not
    recorded, its texts are analysed again, which leaves it as `tamis optimize` does.
    """
    from tamis.index.generations.manifest import FORMAT
    from tamis.retriever.renewal import upgrade_index

    with progress_on_terminal() as progress:
        found = upgrade_index(folder, progress)
    if json:
        print_json(
            {"path": str(folder), "from": found.format, "to": FORMAT, "analysed": found.analysed}
        )
        return
    analysed = ", all texts analysed again" if found.analysed else ""
    if found.format == FORMAT:
        typer.echo(f"{folder}: has format {FORMAT} already{analysed}")
    else:
        typer.echo(f"{folder}: format {found.format} -> {FORMAT}{analysed}")
