"""What a `BuildProcess` runs: requests come in, each on a connection of its own; answers go out."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import msgspec

from tamis.index.files import system
from tamis.index.files.storage import Storage
from tamis.index.generations.garbage import Sweep
from tamis.index.writing.build_process import (
    READY,
    SIGN_EVERY_S,
    Alive,
    Done,
    Failed,
    is_readable,
    receive,
    send,
)
from tamis.index.writing.segment_request import SegmentMessage, carry_out, request_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tamis.index.files.progress import Progress
    from tamis.index.writing.segment_request import Written

NICENESS = 10
CHECK_EVERY_S = 0.02


class _Stopped(Exception):  # noqa: N818  no error: the other side asked for it
    """The other side has hung up."""


def main(control: int) -> None:
    """Carry out requests until the other process ends or hangs up; then end at once.

    Args:
        control: a socket's handle, on which each request's connection comes, with the lock of its
            folder.
    """
    system.step_back(NICENESS)
    with socket.socket(fileno=control) as lines:
        with suppress(ConnectionError):  # hung up by now, as the next line finds
            lines.sendall(READY)
        while True:
            message, handles, _, _ = socket.recv_fds(lines, 1, 2)
            if not message:
                os._exit(0)  # whatever is being written: nobody would name it
            line, lock = handles
            threading.Thread(target=_serve, args=(line, lock), daemon=True).start()


def _serve(line: int, lock: int) -> None:
    with socket.socket(fileno=line) as connection:
        answer(connection, lock)


def answer(line: socket.socket, lock: int, storage_of: Callable[[str], Storage] = Storage) -> None:
    """Carry out the request that comes on a connection, and answer it.

    Args:
        line: where the request comes from, and the answer goes.
        lock: a handle of the folder's lock, closed before the answer goes: who has it may let
            another writer in at once.
        storage_of: how to reach a folder's files.
    """
    try:
        with _Waiting(line) as waiting:
            found = _carried_out(line, storage_of, waiting.progress)
    finally:
        os.close(lock)
    if found is not None:
        with suppress(ConnectionError):  # hung up
            send(line, msgspec.msgpack.encode(found))


class _Waiting:
    """Whoever waits at the other side: told now and then that this process runs, and how far."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._sign, self._looked = Alive(), time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._give_signs, daemon=True)

    def progress(self, step: str, done: int, total: int | None) -> None:
        """Take note of how far the work has come; raises when the other side hangs up."""
        self._sign = Alive(step, done, total)
        now = time.monotonic()
        if now < self._looked + CHECK_EVERY_S:
            return
        self._looked = now
        if is_readable(self._line, 0):
            raise _Stopped

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _give_signs(self) -> None:
        with suppress(OSError):  # hung up
            while not self._ended.wait(SIGN_EVERY_S):
                send(self._line, msgspec.msgpack.encode(self._sign))


def _carried_out(
    line: socket.socket, storage_of: Callable[[str], Storage], progress: Progress
) -> Done | Failed | None:
    request = receive(line)
    if request is None:
        return None
    try:
        return Done(perform(request, storage_of, progress))
    except Exception as error:  # noqa: BLE001  the other side raises it
        return Failed.of(error)


def perform(
    request: bytes, storage_of: Callable[[str], Storage], progress: Progress
) -> Written | None:
    """Carry out an encoded request; what was written, where it asked for a segment."""
    message = msgspec.msgpack.decode(request, type=SegmentMessage | Sweep)
    storage = storage_of(os.fsdecode(message.root))
    if isinstance(message, Sweep):
        message.carry_out(storage)
        return None
    written = carry_out(request_of(message, storage), storage, progress)
    return written._replace(contents=storage.small({**written.files, **written.words}))
