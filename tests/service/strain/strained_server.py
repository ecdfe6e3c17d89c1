"""A server whose machine refuses what it is told to refuse, on the threads it is told.

    strained_server.py FOLDER KEYS GIVEN [--build]

Prints its address as a line of JSON, then takes orders, a line of JSON each, and answers each by
one: ``{"set": {"module.NAME": value}}``, ``{"refuse": {...}}`` with the fields of `Refusal`,
``{"allow": 1}``, ``{"refused": 1}``, ``{"seen": 1}`` and ``{"clock": seconds}``, by which the wall
clock is ahead then.
"""

import faulthandler
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

STEPPED_S = [0.0]  # that the wall clock is ahead
_now = time.time
time.time = lambda: _now() + STEPPED_S[0]  # before others import it

from tamis.api import create_app  # noqa: E402
from tamis.api.http import keys as keys_module  # noqa: E402
from tamis.api.http.keys import ApiKeys  # noqa: E402
from tamis.api.http.server import address_of, listen, run  # noqa: E402
from tamis.api.http.settings import read_settings  # noqa: E402
from tamis.api.serving import service  # noqa: E402
from tamis.api.serving.data_folder import DataFolder  # noqa: E402
from tamis.api.serving.database import Database  # noqa: E402
from tamis.api.serving.library import Library  # noqa: E402
from tamis.index.files.storage import Storage  # noqa: E402
from tamis.index.writing import build_process  # noqa: E402
from tamis.index.writing.build_process import BuildProcess  # noqa: E402
from tamis.retriever import Searcher  # noqa: E402

STEPS = (  # the methods of Storage that ask the system for something
    *("create", "append_to", "write_some", "reserve", "truncate", "sync", "sync_name", "rename"),
    *("remove", "make_one_folder", "remove_empty_folder", "sync_folder", "link", "copy", "adopt"),
    *("open_to_read", "read", "mapped", "checksum", "exists", "names", "size", "remove_folder"),
    *("refuse_without_room", "make_folder"),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is refused.

    Attributes:
        number: the error.
        steps: what is asked: of `STEPS`, or another that is hooked below.
        place: a pattern that is sought in the path of the folder.
        threads: a pattern that the beginning of the thread's name has.
        first: how many times it is done before.
    """

    number: int
    steps: list[str]
    place: str
    threads: str
    first: int = 0


class Machine:
    """Sees what is asked of it, and refuses some of it."""

    def __init__(self):
        self._refusal, self._done = None, 0
        self._counting = threading.Lock()
        self.refused, self.seen = 0, Counter()

    def order(self, order):
        """Carry one out; what there is to say."""
        (kind, what), *_ = order.items()
        with self._counting:
            if kind == "set":
                for name, value in what.items():
                    module, _, last = name.rpartition(".")
                    setattr(import_module(module), last, value)
            elif kind == "refuse":
                self.refused, self._done, self._refusal = 0, 0, Refusal(**what)
            elif kind == "clock":
                STEPPED_S[0] = what
            elif kind == "allow":
                self._refusal = None
                return {"refused": self.refused}
            elif kind == "refused":
                return {"refused": self.refused}
            elif kind == "seen":
                seen, self.seen = self.seen, Counter()
                return {"seen": [[*asked, count] for asked, count in seen.items()]}
        return {}

    def asked(self, step, place):
        """Refuse it, or let it be done."""
        thread, refusal = threading.current_thread().name, self._refusal
        with self._counting:
            self.seen[re.sub(r"[\d_-]+$", "", thread), step, str(place)] += 1
        if (
            refusal is not None
            and step in refusal.steps
            and re.match(refusal.threads, thread)
            and re.search(refusal.place, str(place))
        ):
            with self._counting:
                self._done += 1
                if self._done <= refusal.first:
                    return
                self.refused += 1
            raise OSError(refusal.number, os.strerror(refusal.number), f"injected: {step}")


def hook(machine):
    """Have all that the server asks of its machine go by a `Machine`."""
    for step in STEPS:
        setattr(Storage, step, _step(machine, step, getattr(Storage, step)))
    change = Database.change

    @contextmanager
    def changed(self):
        machine.asked("database", self.path.parent)
        with change(self) as connection:
            yield connection

    Database.change = changed

    class KeyPath(type(Path())):
        def open(self, *arguments, **options):
            machine.asked("keys", self.parent)
            return super().open(*arguments, **options)

    keys_module.Path = KeyPath

    def opened(path, *how):
        machine.asked("any_file", "")
        return os.open(path, *how)

    service.os = SimpleNamespace(**{**vars(os), "open": opened})
    look_after = Library.look_after

    def looked_after(self):
        machine.asked("turn", "")
        look_after(self)

    Library.look_after = looked_after

    def started(*arguments, **options):
        machine.asked("process", "")
        return subprocess.Popen(*arguments, **options)

    build_process.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": started})


def _step(machine, name, plain):
    def step(self, *arguments):
        machine.asked(name, self.root)
        return plain(self, *arguments)

    return step


def say(found):
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def obey(machine):
    """Carry orders out, and end with who gives them."""
    for line in sys.stdin:
        say(machine.order(json.loads(line)))
    os.kill(os.getpid(), signal.SIGTERM)


def main(folder, keys, given, *options):
    faulthandler.register(signal.SIGUSR1)  # prints the stacks of all threads
    machine = Machine()
    hook(machine)
    for line in sys.stdin:  # orders before the start, up to an empty one
        if not line.strip():
            break
        machine.order(json.loads(line))
    listener = listen("127.0.0.1", 0, guarded=True)
    builder = BuildProcess() if "--build" in options else None
    known = ApiKeys.read(keys)
    app = create_app(
        {"given": Searcher.open(given)},
        read_settings(None, {}).limits,
        keys=known,
        data=DataFolder(Path(folder), builder=builder),
    )
    threading.Thread(target=obey, args=(machine,), daemon=True, name="orders").start()
    run(app, listener, lambda: say({"address": address_of(listener)}), known.reload)


if __name__ == "__main__":
    main(*sys.argv[1:])
