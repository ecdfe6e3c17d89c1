"""Serving shards: a broker before the servers of a map, or before servers started here."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import msgspec
import typer

from tamis.scripts.children import STOP_WITHIN_S, start_child

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from socket import socket

    from tamis.api.broker.shard_map import ShardMap
    from tamis.api.http.keys import KeyFile
    from tamis.api.http.settings import Settings

PAUSE_S = 0.5  # before a server that has ended is started again


def serve_map(
    shard_map: ShardMap,
    listener: socket,
    keys: KeyFile | None,
    settings: Settings,
    say: Callable[[str], None],
) -> None:
    """Serve a broker until Ctrl-C.

    Raises:
        InputError: a shard has no server that answers.
        MismatchError: servers do not go together.
    """
    from tamis.api.broker.broker import Broker
    from tamis.api.http.app import create_broker_app
    from tamis.api.http.server import address_of, run

    if settings.encoder:
        shard_map = msgspec.structs.replace(shard_map, encoder=settings.encoder[0])
    app = create_broker_app(
        Broker(shard_map, settings.limits),
        keys=keys,
        mcp=settings.mcp,
        hosts=settings.allow_host if keys is None else None,
        origins=settings.cors_origin,
    )
    on_hangup = keys.reload if keys is not None else None
    run(app, listener, lambda: say(address_of(listener)), on_hangup)


def split_or_found(source: Path, shards: int, name: str) -> tuple[Path, ShardMap]:
    """The folder of an index's shards, which are made where there are none, and their map."""
    from tamis.api.broker.splitting import MAP, shards_of, split_index
    from tamis.scripts.progress import progress_on_terminal

    out = source if (source / MAP).exists() else source.with_name(f"{source.name}.shards-{shards}")
    found = shards_of(source, out, shards)
    if found is None:
        with progress_on_terminal() as progress:
            split_index(source, out, shards, name, progress)
        found = shards_of(source, out, shards)
    assert found is not None
    return out, found


@contextmanager
def shard_servers(folder: Path, shard_map: ShardMap, settings: Settings) -> Iterator[ShardMap]:
    """Serve each shard by a process of its own on loopback; the map of their addresses.

    The servers end with this process, however that ends. After SIGTERM it waits for them.
    """
    before = signal.signal(signal.SIGTERM, _end)
    with ExitStack() as running:
        running.callback(signal.signal, signal.SIGTERM, before)
        servers = [
            running.enter_context(_Server(folder / place.name, settings))
            for place in shard_map.shards
        ]
        places = [
            msgspec.structs.replace(place, addresses=[server.address])
            for place, server in zip(shard_map.shards, servers, strict=True)
        ]
        yield msgspec.structs.replace(shard_map, shards=places)


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


class _Server:
    """One process that serves a data folder; started again where it ends."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder, self._encoders = folder, settings.encoder
        self._stopping = threading.Event()
        self.address = ""

    def __enter__(self) -> _Server:
        self._process = self._started("0")
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self._process.wait()
            from tamis.index.errors import InputError

            raise InputError(f"{self._folder}: expected a server of this shard, found it ended")
        self.address = json.loads(line)["address"]
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._process.terminate()
        self._keeper.join(STOP_WITHIN_S)
        if self._process.poll() is None:
            self._process.kill()

    def _keep(self) -> None:
        """Start the process again whenever it ends, at the same address."""
        while True:
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            if self._stopping.wait(PAUSE_S):
                return
            typer.echo(f"the server of {self._folder} ended and is started again", err=True)
            self._process = self._started(self.address.rpartition(":")[2])

    def _started(self, port: str) -> subprocess.Popen[str]:
        encoders = [part for place in self._encoders for part in ("--encoder", place)]
        return start_child(
            "serve", "--data", str(self._folder), "--port", port, "--json", *encoders
        )
