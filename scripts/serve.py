"""``tamis serve``: the REST API and the search page over given indexes and a data folder."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from tamis.scripts.extras import require
from tamis.scripts.output import JsonOption, print_json_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from socket import socket

    from tamis.api.http.keys import KeyFile
    from tamis.api.http.settings import Settings
    from tamis.api.serving.data_folder import DataFolder
    from tamis.retriever.searcher import Searcher

WARM_UP = "from tamis.scripts.doctor import warm_up; warm_up()"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

HostOption = Annotated[
    str, typer.Option(help="Address to listen on; other than loopback only with API keys.")
]
PortOption = Annotated[
    int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
]
IndexesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="INDEX", help="Folders of `tamis index`, or NAME=FOLDER."),
]
DataOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of the indexes that clients create and write."),
]
ListenHostOption = Annotated[
    str | None,
    typer.Option(
        help="Address to listen on, by default 127.0.0.1; other than loopback only with API keys."
    ),
]
ListenPortOption = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="Port to listen on, by default 8080; 0 picks a free one."),
]
EncoderOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PLACE",
        help="Where the own encoder of an index lies now, a folder or a hub name; may be given "
        "for several. Another encoder than an index was made with is refused.",
    ),
]
ApiKeyFileOption = Annotated[
    Path | None,
    typer.Option(help="File with an API key a line: `search|write|all KEY [INDEX...]`."),
]
AllowHostOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Answer to this Host too where no keys are asked for."),
]
CorsOriginOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ORIGIN",
        help="Let pages of this site ask too, such as https://search.example; off unless given.",
    ),
]
McpOption = Annotated[
    bool, typer.Option("--mcp", help="Answer the Model Context Protocol at /mcp too.")
]
LogLevelOption = Annotated[
    Literal["info", "warning", "error"] | None,
    typer.Option(
        help="What goes to standard error as JSON lines, by default warning; info: every request."
    ),
]
BrokerOption = Annotated[
    Path | None,
    typer.Option(metavar="MAP", help="Serve the index whose shards a map names, on other servers."),
]
ShardsOption = Annotated[
    int | None,
    typer.Option(
        min=1, max=64, help="Divide INDEX into so many shards, each served by its own process."
    ),
]
ConfigOption = Annotated[
    Path | None, typer.Option(help="Settings as TOML; TAMIS_SERVE_... and options win.")
]


def serve(
    indexes: IndexesArgument = None,
    data: DataOption = None,
    broker: BrokerOption = None,
    shards: ShardsOption = None,
    host: ListenHostOption = None,
    port: ListenPortOption = None,
    encoder: EncoderOption = None,
    api_key_file: ApiKeyFileOption = None,
    allow_host: AllowHostOption = None,
    cors_origin: CorsOriginOption = None,
    mcp: McpOption = False,
    log_level: LogLevelOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Serve indexes over HTTP, each named after its folder, and those of a data folder."""
    from tamis.api.http import logs
    from tamis.api.http.hosts import read_origins
    from tamis.api.http.settings import read_settings, with_connections
    from tamis.index.errors import InputError
    from tamis.retriever.models.own_encoder import places_by_fingerprint

    flags = {
        "indexes": indexes or None,
        "data": str(data) if data is not None else None,
        "host": host,
        "port": port,
        "encoder": encoder or None,
        "api_key_file": str(api_key_file) if api_key_file is not None else None,
        "allow_host": allow_host or None,
        "cors_origin": cors_origin or None,
        "mcp": mcp or None,
        "log_level": log_level,
    }
    settings = read_settings(config, flags)
    read_origins(settings.cors_origin)  # before any long work
    folders = named_folders(settings.indexes)
    if broker is not None or shards is not None:
        _serve_shards(broker, shards, folders, settings, json)
        return
    if not folders and settings.data is None:
        raise InputError(
            "expected an index to serve, or --data DIR, found neither; make one with `tamis index`"
        )
    require("serve", *(("mcp",) if settings.mcp else ()))
    door = open_door(settings.host, settings.port, settings.api_key_file)
    with door.listener:
        logs.start(settings.log_level)
        from tamis.api.descriptors import Descriptors
        from tamis.api.malloc import share_heaps
        from tamis.scripts.doctor import load_loops

        descriptors = Descriptors.raised(settings.limits.connections, len(folders))
        settings = with_connections(settings, descriptors.connections)
        share_heaps()
        places = places_by_fingerprint(settings.encoder)
        compile_elsewhere()
        kept = _data_folder(settings, places, descriptors.awake)
        names = [*folders, *(kept.indexes if kept is not None else ())]
        if not names:  # else each index is asked once before the first request
            load_loops()
        say = partial(_say, names, json)
        opened = partial(_opened, folders, kept, places)
        run_server(opened, door, say, settings, kept, descriptors.backlog)


def _serve_shards(
    broker: Path | None,
    shards: int | None,
    folders: "Mapping[str, Path]",
    settings: "Settings",
    json: bool,
) -> None:
    """Serve a broker: before servers of others, or before those of one index's shards."""
    from contextlib import ExitStack

    from tamis.api.broker.shard_map import read_shard_map
    from tamis.api.http import logs
    from tamis.index.errors import InputError
    from tamis.scripts.shard_servers import serve_map, shard_servers, split_or_found

    found = [*folders, *(("--data",) if settings.data is not None else ())]
    if broker is not None and (shards is not None or found):
        raise InputError(
            "expected a map of shards alone beside --broker, found an index, --data or --shards "
            "too; leave them out"
        )
    if shards is not None and (len(folders) != 1 or settings.data is not None):
        raise InputError(
            f"expected one INDEX to divide beside --shards, found {', '.join(found) or 'none'}; "
            "give one"
        )
    require("serve", "broker", *(("mcp",) if settings.mcp else ()))
    door = open_door(settings.host, settings.port, settings.api_key_file)
    with door.listener, ExitStack() as running:
        logs.start(settings.log_level)
        if broker is not None:
            shard_map = read_shard_map(broker)
        else:
            compile_elsewhere()
            ((name, folder),) = folders.items()
            place, shard_map = split_or_found(folder, shards or 1, name)
            shard_map = running.enter_context(shard_servers(place, shard_map, settings))
        serve_map(
            shard_map, door.listener, door.keys, settings, partial(_say, [shard_map.index], json)
        )


def _data_folder(
    settings: "Settings", places: "Mapping[str, str]", most_awake: int
) -> "DataFolder | None":
    """The folder of the indexes that clients write, where the settings name one."""
    from tamis.api.serving.data_folder import DataFolder
    from tamis.index.writing.build_process import BuildProcess

    if settings.data is None:
        return None
    folder, builder = Path(settings.data), BuildProcess()
    return DataFolder(folder, settings.encoders, builder, places, most_awake=most_awake)


def _opened(
    folders: "Mapping[str, Path]", data: "DataFolder | None", places: "Mapping[str, str]"
) -> "dict[str, Searcher]":
    """Searchers whose encoders lie where ``places`` say, by fingerprint, or where they lay.

    Raises:
        MismatchError: a place is that of no index's encoder, those of the data folder among them.
    """
    from tamis.retriever.models.own_encoder import recorded_encoder, refuse_strangers
    from tamis.retriever.searcher import Searcher

    found, remembered = {}, []
    for name, folder in folders.items():
        recorded = recorded_encoder(folder)
        place = places.get(recorded.fingerprint) if recorded is not None else None
        found[name] = Searcher.open(folder, encoder=place)
        remembered.append(recorded)
    for living in data.indexes.values() if data is not None else ():
        remembered.append(living.searcher.collection.settings.encoder)
    refuse_strangers(places, remembered)
    return found


def compile_elsewhere() -> None:
    """Have the loops compiled now, not under the first searches; once for the machine.

    By a process of its own: the compiler would keep 0.1 GB of this one.
    """
    from tamis.index.segment.loops.compiled import cache_folder, is_all_kept
    from tamis.scripts.progress import say_compiling

    if cache_folder() is None or is_all_kept():
        return
    say_compiling("30 s")
    path = os.pathsep.join(place for place in sys.path if place and isinstance(place, str))
    subprocess.run(
        [sys.executable, "-P", "-c", WARM_UP],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the one that was started by hand
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )


def _say(names: "Sequence[str]", json: bool, address: str) -> None:
    if json:
        print_json_line({"address": address, "indexes": list(names)})
    else:
        typer.echo(f"Serving {', '.join(names) or 'no index yet'} at {address} (Ctrl-C stops)")
        sys.stdout.flush()


def named_folders(indexes: "Sequence[str]") -> dict[str, Path]:
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
    keys: "KeyFile | None"


def open_door(host: str, port: int, api_key_file: str | None = None) -> Door:
    """Take the address before any long work, so that a taken one is told at once.

    Raises:
        InputError: the address cannot be had or would be open to others, or the keys are faulty.
    """
    from tamis.api.http.keys import ApiKeys
    from tamis.api.http.server import listen

    keys = ApiKeys.read(api_key_file) if api_key_file is not None else None
    return Door(listen(host, port, guarded=keys is not None), keys)


def run_server(
    opened: "Callable[[], Mapping[str, Searcher]]",
    door: Door,
    say: "Callable[[str], None]",
    settings: "Settings | None" = None,
    data: "DataFolder | None" = None,
    backlog: int = 2048,
) -> None:
    """Serve until Ctrl-C.

    Args:
        opened: gives the indexes that are only read; nothing else may hold them, as each is let go
            of when there is a newer generation.
        door: where.
        say: gets the address once requests are answered.
        settings: of the server.
        data: indexes that are written.
        backlog: connections that may come at one moment.
    """
    from tamis.api.http.app import create_app
    from tamis.api.http.server import address_of, run
    from tamis.api.http.settings import Settings

    settings = settings or Settings()
    app = create_app(
        opened(),
        settings.limits,
        keys=door.keys,
        data=data,
        mcp=settings.mcp,
        hosts=settings.allow_host if door.keys is None else None,
        origins=settings.cors_origin,
    )
    on_hangup = door.keys.reload if door.keys is not None else None
    run(app, door.listener, lambda: say(address_of(door.listener)), on_hangup, backlog)
