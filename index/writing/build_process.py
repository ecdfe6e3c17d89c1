"""BuildProcess: a process that writes segments and clears away, beside the one that searches.

In the searching process every line of Python that writes keeps a search waiting; so does, without
a priority of its own, every core it takes. One process serves all collections of its owner. The
collections' files do not depend on it: it writes what nothing names yet, removes what
nothing names any more, and where it cannot be had, is not ready, ends in the middle or gives no
sign of life for `SILENT_S`, the work is done here.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from tamis.index import errors
from tamis.index.files.closing import Closing
from tamis.index.files.progress import Progress, silent
from tamis.index.generations.garbage import Sweep
from tamis.index.writing.build_here import BuildHere
from tamis.index.writing.segment_request import Written, message_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Collection as Names

    from tamis.index.files.storage import Storage
    from tamis.index.generations.manifest import Manifest
    from tamis.index.writing.segment_request import SegmentMessage, SegmentRequest

CHECK_EVERY_S = 0.1
END_WITHIN_S = 5.0
SIGN_EVERY_S = 1.0
SILENT_S = 30.0  # without a sign of life: stopped, or starved
READY = b"r"
_LENGTH = struct.Struct("<Q")
_CHILD = "from tamis.index.writing.build_worker import main; main({})"


class Alive(msgspec.Struct, frozen=True, tag=True):
    """A sign of life, before the answer: how far the work has come."""

    step: str = "read"
    done: int = 0
    total: int | None = None


class Done(msgspec.Struct, frozen=True, tag=True):
    """An answer: the request is done.

    Attributes:
        written: the segment, if the request was for one.
    """

    written: Written | None


class Failed(msgspec.Struct, frozen=True, tag=True):
    """An answer: what was raised."""

    kind: str
    message: str
    number: int | None = None  # of an OSError

    @staticmethod
    def of(error: BaseException) -> Failed:
        """What another process is told of an error."""
        if isinstance(error, OSError) and error.errno is not None:
            where = "" if error.filename is None else f" ({error.filename})"
            return Failed("OSError", f"{error.strerror}{where}", error.errno)
        return Failed(type(error).__name__, str(error))

    def error(self) -> Exception:
        """The error, or one that says the same."""
        if self.number is not None:
            return OSError(self.number, self.message)
        found = getattr(errors, self.kind, None)
        if found is not None:
            error: Exception = found(self.message)
            return error
        return RuntimeError(f"{self.kind}: {self.message}")


class BuildProcess(Closing):
    """A process that works for this one's writers; safe to use from many threads.

    It starts with the first request, holds each folder's lock while it
    writes there, and ends when this process does, however that ends.
    """

    def __init__(self) -> None:
        self._mutex = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready = False
        self._closed = False
        self._here = BuildHere()

    def start(self, timeout_s: float = 0.0) -> bool:
        """Start the process if there is none, and wait so long; whether it is ready."""
        with self._mutex:
            if self._closed:
                return False
            if self._ready and self._process is not None and self._process.poll() is not None:
                self._end()  # it was killed while there was nothing to do
            if self._process is None:
                self._begin()
            return self._is_ready(timeout_s)

    def write(
        self, request: SegmentRequest, storage: Storage, lock: int, progress: Progress
    ) -> Written:
        """Carry out a request: in the process where there is one, here otherwise.

        Args:
            request: what to write.
            storage: of the collection's folder.
            lock: a handle that holds the folder's lock.
            progress: told of each step, and may stop the work; see `Progress`.
        """
        done = self._carried_out(lambda: message_of(request, storage), lock, progress)
        if done is None:
            return self._here.write(request, storage, lock, progress)
        assert done.written is not None
        storage.hand(done.written.contents)
        return done.written

    def remove_unused(
        self, storage: Storage, lock: int, current: Manifest, busy: Names[str]
    ) -> None:
        """`garbage.remove_unused`, there if that can be and else here."""
        if self._carried_out(lambda: Sweep.of(storage, busy), lock) is None:
            self._here.remove_unused(storage, lock, current, busy)

    def close(self) -> None:
        """End the process; what is asked of it afterwards is done here."""
        self._closed = True
        self._end()

    def _carried_out(
        self,
        message: Callable[[], SegmentMessage | Sweep],
        lock: int,
        progress: Progress = silent,
    ) -> Done | None:
        """The answer to a request; None where there is no process to take it, or it has ended."""
        line = self._connect(lock)
        if line is None:
            return None
        with line:
            found = self._asked(line, msgspec.msgpack.encode(message()), progress)
        if found is None:
            self._end()
        if isinstance(found, Failed):
            raise found.error()
        return found

    def _asked(
        self, line: socket.socket, request: bytes, progress: Progress
    ) -> Done | Failed | None:
        """As `awaited`; what ``progress`` raises stops the work."""
        line.settimeout(SILENT_S)
        with suppress(OSError):  # it has ended, as is seen next
            send(line, request)
        try:
            return awaited(line, progress)
        except BaseException:
            with suppress(OSError):
                line.shutdown(socket.SHUT_WR)  # stop
            if awaited(line, silent) is None:
                self._end()
            raise

    def _begin(self) -> None:
        try:
            ours, theirs = socket.socketpair()
        except OSError:  # no descriptor is left
            return
        path = os.pathsep.join(place for place in sys.path if place and isinstance(place, str))
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _CHILD.format(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={**os.environ, "PYTHONPATH": path},
                    start_new_session=True,  # Ctrl-C is for the one that was started by hand
                )
            except OSError:  # no such program, or no room for one more
                ours.close()
            else:
                self._control = ours

    def _is_ready(self, timeout_s: float) -> bool:
        if self._control is None:
            return False
        if not self._ready and is_readable(self._control, timeout_s):
            self._ready = self._control.recv(1) == READY
        return self._ready

    def _connect(self, lock: int) -> socket.socket | None:
        """A line to the process for one request; None while there is no process to take it."""
        if not self.start():
            return None
        try:
            ours, theirs = socket.socketpair()
        except OSError:  # no descriptor is left
            return None
        with theirs, self._mutex:
            if self._control is not None:
                with suppress(OSError):  # it has ended
                    socket.send_fds(self._control, [b"o"], [theirs.fileno(), lock])
                    return ours
        ours.close()
        return None

    def _end(self) -> None:
        """Have the process end, and wait for that: nobody else may write where it wrote."""
        with self._mutex:
            if self._control is not None:
                self._control.close()
            if self._process is not None:
                try:
                    self._process.wait(END_WITHIN_S)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
            self._process, self._control, self._ready = None, None, False


def awaited(line: socket.socket, progress: Progress) -> Done | Failed | None:
    """The answer that comes by a line; None where the process ends, or stands still, instead.

    Args:
        line: with a timeout.
        progress: told, often, how far the work has come; what it raises ends the waiting.
    """
    heard, sign = time.monotonic(), Alive()
    while time.monotonic() < heard + SILENT_S:
        progress(sign.step, sign.done, sign.total)
        if not is_readable(line, CHECK_EVERY_S):
            continue
        message = receive(line)
        if message is None:
            return None
        found: Alive | Done | Failed = msgspec.msgpack.decode(message, type=Alive | Done | Failed)
        if not isinstance(found, Alive):
            return found
        heard, sign = time.monotonic(), found
    return None


def is_readable(line: socket.socket, timeout_s: float) -> bool:
    """Whether something has come by a line, or its other side has hung up."""
    watch = select.poll()
    watch.register(line, select.POLLIN)
    return bool(watch.poll(1000 * timeout_s))


def send(line: socket.socket, payload: bytes) -> None:
    """Send a message."""
    line.sendall(_LENGTH.pack(len(payload)) + payload)


def receive(line: socket.socket) -> bytes | None:
    """The next message; None where the line ends instead."""
    try:
        head = _exactly(line, _LENGTH.size)
        return None if head is None else _exactly(line, *_LENGTH.unpack(head))
    except (ConnectionError, TimeoutError):
        return None


def _exactly(line: socket.socket, size: int) -> bytes | None:
    found = bytearray()
    while len(found) < size:
        piece = line.recv(min(size - len(found), 1 << 20))
        if not piece:
            return None
        found += piece
    return bytes(found)
