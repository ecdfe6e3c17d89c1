"""``tamis split``: an index becomes shards, each to be served by a server of its own."""

from pathlib import Path
from typing import Annotated

import typer

from tamis.scripts.output import JsonOption, print_json
from tamis.scripts.progress import progress_on_terminal


def split(
    collection: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    shards: Annotated[int, typer.Option(min=1, max=1024, help="How many.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; new, or empty.")],
    name: Annotated[
        str | None, typer.Option(help="Of the index on its servers; by default that of DIR.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Divide an index into shards by the hashes of ids; nothing is encoded again.

    Each shard is a folder for `tamis serve --data`. `shards.toml` is the map for `tamis serve
    --broker`: write into it where their servers are. DIR stays as it is.
    """
    from tamis.api.broker.splitting import MAP, split_index

    with progress_on_terminal() as progress:
        counts = split_index(collection, out, shards, name or collection.resolve().name, progress)
    if json:
        print_json({"path": str(out), "map": str(out / MAP), "documents": counts})
        return
    typer.echo(f"{out}: {shards} shards of {', '.join(f'{one:,}' for one in counts)} documents")
