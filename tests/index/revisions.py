"""Revisions that do not end well; in a module of their own, so that a process can import them."""

import os
import signal
import time

import msgspec
from workload import Forgetting

from tamis.index import InputError


class Failing(msgspec.Struct):
    """Says what it was told to say, half done."""

    message: str

    def revise(self, rows, words, storage, progress):
        Forgetting().revise(rows, words, storage, progress)
        raise InputError(self.message)


class Deadly(msgspec.Struct):
    """Ends the process it runs in, unless that is the one it was made in."""

    owner: int

    def revise(self, rows, words, storage, progress):
        found = Forgetting().revise(rows, words, storage, progress)
        if os.getpid() != self.owner:
            os.kill(os.getpid(), signal.SIGKILL)
        return found


class Endless(msgspec.Struct):
    """Reads the documents again and again, slowly."""

    def revise(self, rows, words, storage, progress):
        while True:
            for _ in rows.told_to(progress).records():
                time.sleep(0.01)
