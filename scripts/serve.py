"""``tamis serve``: the REST API and the search page over given indexes."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamis.scripts.output import JsonOption, print_json_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    json: JsonOption = False,
) -> None:
    """Serve indexes over HTTP, each named after its folder."""
    from tamis.retriever.searcher import Searcher

    folders = named_folders(indexes)
    _require_serve_extra()
    searchers = {name: Searcher.open(folder) for name, folder in folders.items()}

    def say(address: str) -> None:
        if json:
            print_json_line({"address": address, "indexes": list(folders)})
        else:
            typer.echo(f"Serving {', '.join(folders)} at {address} (Ctrl-C stops)")
            sys.stdout.flush()

    run_server(searchers, host, port, api_key_file, say)


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


def run_server(
    searchers: "Mapping[str, Searcher]",
    host: str,
    port: int,
    api_key_file: Path | None,
    say: "Callable[[str], None]",
) -> None:
    """Serve until Ctrl-C; ``say`` gets the address once requests are answered."""
    from tamis.api.app import create_app
    from tamis.api.keys import ApiKeys
    from tamis.api.server import address_of, listen, run

    keys = ApiKeys.read(api_key_file) if api_key_file is not None else None
    listener = listen(host, port, guarded=keys is not None)
    app = create_app(searchers, keys=keys)
    run(app, listener, lambda: say(address_of(listener)))


def _require_serve_extra() -> None:
    """Say what to install before any index is opened."""
    from tamis.index.errors import InputError

    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"expected fastapi and uvicorn to serve, found no {' and no '.join(missing)}; "
            "install them with `pip install 'tamis[serve]'`"
        )
