"""``tamis serve``: the REST API and the search page over given indexes."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from tamis.scripts.extras import require
from tamis.scripts.output import JsonOption, print_json_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from socket import socket

    from tamis.api.keys import ApiKeys
    from tamis.retriever.searcher import Searcher

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

HostOption = Annotated[
    str, typer.Option(help="Address to listen on; other than loopback only with API keys.")
]
PortOption = Annotated[
    int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
]


def serve(
    indexes: Annotated[
        list[str],
        typer.Argument(metavar="INDEX...", help="Folders of `tamis index`, or NAME=FOLDER."),
    ],
    host: HostOption = "127.0.0.1",
    port: PortOption = 8080,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File with one API key a line; /v1 then asks for one.")
    ] = None,
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Answer the Model Context Protocol at /mcp too.")
    ] = False,
    log_level: Annotated[
        Literal["info", "warning", "error"],
        typer.Option(help="What goes to standard error as JSON lines; info: every request."),
    ] = "warning",
    json: JsonOption = False,
) -> None:
    """Serve indexes over HTTP, each named after its folder."""
    from tamis.api import logs
    from tamis.retriever.searcher import Searcher

    folders = named_folders(indexes)
    require("serve", *(("mcp",) if mcp else ()))

    def say(address: str) -> None:
        if json:
            print_json_line({"address": address, "indexes": list(folders)})
        else:
            typer.echo(f"Serving {', '.join(folders)} at {address} (Ctrl-C stops)")
            sys.stdout.flush()

    door = open_door(host, port, api_key_file)
    with door.listener:
        logs.start(log_level)
        searchers = {name: Searcher.open(folder) for name, folder in folders.items()}
        run_server(searchers, door, say, mcp=mcp)


def named_folders(indexes: list[str]) -> dict[str, Path]:
    """The folder of each name: ``NAME=FOLDER``, or a folder named by its last part.

    Raises:
        InputError: a name cannot stand in a URL, or comes twice.
    """
    from tamis.index.errors import InputError

    folders: dict[str, Path] = {}
    for given in indexes:
        name, equals, folder = given.partition("=")
        if not equals or Path(given).exists():
            name, folder = Path(given).resolve().name, given
        if not NAME.fullmatch(name):
            raise InputError(
                f"{folder}: expected a name of at most 64 letters, digits, '.', '_' and '-', found "
                f"{name!r}; give one as NAME={folder}"
            )
        if name in folders:
            raise InputError(
                f"{folder}: expected a name of its own, found {name!r} for {folders[name]} too; "
                f"give one as NAME={folder}"
            )
        folders[name] = Path(folder)
    return folders


class Door(NamedTuple):
    """A bound address, and the keys that are asked for there."""

    listener: "socket"
    keys: "ApiKeys | None"


def open_door(host: str, port: int, api_key_file: Path | None = None) -> Door:
    """Take the address before any long work, so that a taken one is told at once.

    Raises:
        InputError: the address cannot be had or would be open to others, or the keys are faulty.
    """
    from tamis.api.keys import ApiKeys
    from tamis.api.server import listen

    keys = ApiKeys.read(api_key_file) if api_key_file is not None else None
    return Door(listen(host, port, guarded=keys is not None), keys)


def run_server(
    searchers: "Mapping[str, Searcher]",
    door: Door,
    say: "Callable[[str], None]",
    *,
    mcp: bool = False,
) -> None:
    """Serve until Ctrl-C; ``say`` gets the address once requests are answered."""
    from tamis.api.app import create_app
    from tamis.api.server import address_of, run

    app = create_app(searchers, keys=door.keys, mcp=mcp)
    run(app, door.listener, lambda: say(address_of(door.listener)))
