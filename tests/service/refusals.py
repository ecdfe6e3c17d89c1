"""A disk that refuses, for as long as it is told to, whatever is asked of it."""

import threading
from contextlib import contextmanager

from storages import STEPS

from tamis.index.files.storage import Storage

READS = ("open_to_read",)


class Disk:
    """Makes storages whose steps fail together; safe to use from many threads."""

    def __init__(self):
        self._refusing = None  # an error number, and which steps of which folders it hits
        self.refused = 0  # steps
        self._counting = threading.Lock()

    def storage(self, root):
        """A storage of a folder on this disk."""
        return _Refusing(root, self)

    @contextmanager
    def refuses(self, number, steps=(*STEPS, *READS), below="", threads=""):
        """Fail these steps while the ``with`` block runs.

        Args:
            number: the error.
            steps: of a storage.
            below: in folders whose path holds this.
            threads: on those whose name begins so.
        """
        self.refused = 0
        self._refusing = number, steps, below, threads
        try:
            yield self
        finally:
            self._refusing = None

    def step(self, name, root):
        refusing = self._refusing
        if refusing is None:
            return
        number, steps, below, threads = refusing
        thread = threading.current_thread().name
        if name in steps and below in str(root) and thread.startswith(threads):
            with self._counting:
                self.refused += 1
            raise OSError(number, "injected", name)


class _Refusing(Storage):
    def __init__(self, root, disk):
        super().__init__(root)
        self.disk = disk


def _refusing(name):
    def step(self, *arguments):
        self.disk.step(name, self.root)
        return getattr(super(_Refusing, self), name)(*arguments)

    return step


for _name in (*STEPS, *READS):
    setattr(_Refusing, _name, _refusing(_name))
