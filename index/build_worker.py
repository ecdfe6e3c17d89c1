"""What a `BuildProcess` runs: orders come in, each by a line of its own; answers go out."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from tamis.index import system
from tamis.index.build_process import (
    READY,
    SIGN_EVERY_S,
    SIGN_OF_LIFE,
    Done,
    Failed,
    is_readable,
    receive,
    send,
)
from tamis.index.garbage import Sweep
from tamis.index.segment_order import SegmentMessage, carry_out, order_of
from tamis.index.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tamis.index.segment_order import Check, Written

NICENESS = 10
CHECK_EVERY_S = 0.02


class _Stopped(Exception):  # noqa: N818  no error: the other side asked for it
    """The other side has hung up."""


def main(control: int) -> None:
    """Carry out orders until the other process ends or hangs up; then end at once.

    Args:
        control: a socket's handle, on which each order's line comes, with the lock of its folder.
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
    """Carry out the order that comes by a line, and say what came of it.

    Args:
        line: where the order comes from, and the answer goes.
        lock: a handle of the folder's lock, closed before the answer goes: who has it may let
            another writer in at once.
        storage_of: how to reach a folder's files.
    """
    try:
        with _signs_of_life(line):
            found = _carried_out(line, storage_of)
    finally:
        os.close(lock)
    if found is not None:
        with suppress(ConnectionError):  # hung up
            send(line, msgspec.msgpack.encode(found))


@contextmanager
def _signs_of_life(line: socket.socket) -> Iterator[None]:
    """Tells the other side now and then that this process runs, until the block ends."""
    ended = threading.Event()

    def tell() -> None:
        with suppress(OSError):  # hung up
            while not ended.wait(SIGN_EVERY_S):
                send(line, SIGN_OF_LIFE)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _carried_out(line: socket.socket, storage_of: Callable[[str], Storage]) -> Done | Failed | None:
    request = receive(line)
    if request is None:
        return None
    try:
        return Done(perform(request, storage_of, _checking(line)))
    except Exception as error:  # noqa: BLE001  the other side raises it
        return Failed.of(error)


def perform(request: bytes, storage_of: Callable[[str], Storage], check: Check) -> Written | None:
    """Carry out an encoded order; what was written, if that was the order."""
    message = msgspec.msgpack.decode(request, type=SegmentMessage | Sweep)
    storage = storage_of(os.fsdecode(message.root))
    if isinstance(message, Sweep):
        message.carry_out(storage)
        return None
    written = carry_out(order_of(message, storage), storage, check)
    return written._replace(contents=storage.small(written.files))


def _checking(line: socket.socket) -> Callable[[], None]:
    """Raises when the other side of a line hangs up; looks now and then."""
    looked = time.monotonic()

    def check() -> None:
        nonlocal looked
        now = time.monotonic()
        if now < looked + CHECK_EVERY_S:
            return
        looked = now
        if is_readable(line, 0):
            raise _Stopped

    return check
