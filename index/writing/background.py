"""Repeater: a thread that does a kind of work whenever there may be some."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tamis.index.files.progress import Progress


class Stopped(Exception):  # noqa: N818  no error: the owner asked for it
    """The work was told to end."""


class Repeater:
    """Calls ``work`` until it returns False, each time it is woken.

    Work that fails ends the thread; `close` raises what it raised.
    """

    def __init__(self, work: Callable[[Progress], bool]) -> None:
        """Start the thread.

        Args:
            work: does a piece and says whether there may be more; tells its argument how far it
                has come, which raises when the work is to end.
        """
        self._work = work
        self._woken = threading.Event()
        self._closing = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="tamis-merge", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There may be work."""
        self._woken.set()

    def close(self) -> None:
        """End the thread; its running piece of work is given up."""
        self._closing = True
        self._woken.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._closing:
                self._woken.wait()
                self._woken.clear()
                while not self._closing and self._work(self._progress):
                    pass
        except Stopped:
            return
        except BaseException as error:  # noqa: BLE001  raised again by `close`
            self._failure = error

    def _progress(self, step: str, done: int, total: int | None) -> None:
        if self._closing:
            raise Stopped
