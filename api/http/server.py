"""Running an application on a socket: loopback unless keys guard it, clean on Ctrl-C."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from tamis.api.http.bounded_http import BoundedHttp
from tamis.api.http.connections import Connections
from tamis.api.limits import BACKLOG
from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

STOP_WITHIN_S = 10
KEEP_ALIVE_S = 75  # past the 60 s of common proxies, which else send where nobody listens any more


def listen(host: str, port: int, *, guarded: bool) -> socket.socket:
    """Bind an address; port 0 picks a free one.

    Args:
        host: a name or address.
        port: 0 to 65535.
        guarded: API keys are asked for, so that other machines may be let in.

    Raises:
        InputError: the address is not of this machine, is taken, or would open an unguarded
            server to others.
    """
    family, address = _resolve(host, port)
    if not guarded and not ipaddress.ip_address(address).is_loopback:
        raise InputError(
            f"expected a loopback address without API keys, found {host}; "
            "add --api-key-file FILE, or use 127.0.0.1"
        )
    # Named TCP, or asyncio leaves Nagle's delay on: 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise InputError(
            f"expected a free address, found {host}:{port} not to be had ({error.strerror}); "
            "choose another --port, or 0 for any free one"
        ) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(
    app: FastAPI,
    listener: socket.socket,
    on_listening: Callable[[], None],
    on_hangup: Callable[[], None] | None = None,
    backlog: int = BACKLOG,
) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are finished.

    Args:
        app: of `create_app`; its service is told when the server begins to stop.
        listener: of `listen`.
        on_listening: called once connections are answered.
        on_hangup: called on SIGHUP; None for what the system does then, which ends the server.
        backlog: connections that may come at one moment.
    """
    service = app.state.service
    connections = Connections(service.limits.connections)
    service.metrics.tell(
        "tamis_connections",
        "Open now; closed while idle for others to come; refused for want of room.",
        "state",
        connections.counts,
    )
    config = uvicorn.Config(
        app,
        http=partial(BoundedHttp, among=connections),  # type: ignore[arg-type]  # called alone
        ws="none",
        log_config=None,  # as the process is set up; see logs.py
        access_log=False,
        server_header=False,
        backlog=backlog,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_WITHIN_S,
    )
    server = _Server(config, on_listening, service.stopping.set, on_hangup)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn raises the signal again after a clean stop
        return
    finally:
        listener.close()


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        on_listening: Callable[[], None],
        on_stopping: Callable[[], None],
        on_hangup: Callable[[], None] | None,
    ) -> None:
        super().__init__(config)
        self._on_listening, self._on_stopping = on_listening, on_stopping
        self._on_hangup = on_hangup

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._on_hangup is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._on_hangup)
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # what is there now stays: to look through it again and again takes 50 ms
        if self.started:
            self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stopping()  # answers that would go on for ever end now
        await super().shutdown(sockets)


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, str]:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, OverflowError, UnicodeError) as error:
        raise InputError(
            f"expected a host of this machine and a port from 0 to 65535, found {host}:{port}; "
            "use 127.0.0.1 and 8080"
        ) from error
    return family, str(address[0])
