"""Storages that record every step, fail at one, or skip the waiting; and the power cut."""

import errno
import random
import threading
from pathlib import Path

from tamis.index.files.storage import Storage


class Quick(Storage):
    """Waits for nothing: for tests that do not cut the power."""

    def sync(self, handle):
        pass

    def sync_name(self, name):
        pass

    def sync_folder(self, name=""):
        pass


class Recording(Quick):
    """Keeps a trace of all steps. Files are known by inode, so that names may move."""

    def __init__(self, root):
        super().__init__(root)
        self.trace = []
        self._inodes = {}  # name -> inode
        self._handles = {}  # handle -> [inode, place]
        self._sizes = []  # by inode

    def create(self, name):
        handle = super().create(name)
        if name in self._inodes:
            inode = self._inodes[name]
            self.trace.append(("size", inode, 0))
            self._sizes[inode] = 0
        else:
            inode = self._new(name)
        self._handles[handle] = [inode, 0]
        return handle

    def _new(self, name):
        inode = self._inodes[name] = len(self._sizes)
        self._sizes.append(0)
        self.trace.append(("link", name, inode))
        return inode

    def append_to(self, name):
        handle = super().append_to(name)
        inode = self._inodes[name]
        self._handles[handle] = [inode, self._sizes[inode]]
        return handle

    def write_some(self, handle, data):
        written = super().write_some(handle, data)
        inode, at = self._handles[handle]
        self.trace.append(("write", inode, at, bytes(data[:written])))
        self._handles[handle][1] = at + written
        self._sizes[inode] = max(self._sizes[inode], at + written)
        return written

    def reserve(self, handle, size_bytes):
        super().reserve(handle, size_bytes)
        self._size(handle, size_bytes)

    def truncate(self, handle, size_bytes):
        super().truncate(handle, size_bytes)
        self._size(handle, size_bytes)
        self._handles[handle][1] = size_bytes

    def _size(self, handle, size_bytes):
        inode = self._handles[handle][0]
        self.trace.append(("size", inode, size_bytes))
        self._sizes[inode] = size_bytes

    def sync(self, handle):
        self.trace.append(("sync", self._handles[handle][0]))

    def write_mapped(self, name):
        inode = self._inodes[name]
        self.trace.append(("write", inode, 0, self.read(name)))
        return inode

    def finish_mapped(self, name):
        if self.size(name):
            self.write_mapped(name)
        super().finish_mapped(name)

    def sync_name(self, name):
        self.trace.append(("sync", self._inodes[name]))

    def close(self, handle):
        super().close(handle)
        del self._handles[handle]

    def rename(self, name, to):
        super().rename(name, to)
        inode = self._inodes[to] = self._inodes.pop(name)
        self.trace.append(("rename", name, to, inode))

    def remove(self, name):
        super().remove(name)
        del self._inodes[name]
        self.trace.append(("unlink", name))

    def make_one_folder(self, name):
        super().make_one_folder(name)
        self.trace.append(("mkdir", name))

    def remove_empty_folder(self, name):
        super().remove_empty_folder(name)
        self.trace.append(("rmdir", name))

    def sync_folder(self, name=""):
        self.trace.append(("syncdir", "" if name == "." else name))


def folder_of(name):
    return name.rpartition("/")[0]


def after_power_cut(trace, root, rng, keep):
    """Make what a disk may hold when the power fails after ``trace``.

    What was synced is there. Of what was not, each write and each change of a name is there with
    probability ``keep``, on its own; a write may be torn.
    """
    contents, names, folders = _disk(trace, rng, keep)
    root.mkdir()
    for folder in sorted(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, inode in names.items():
        if folder_of(name) in folders or not folder_of(name):
            (root / name).write_bytes(bytes(contents.get(inode, b"")))


def _disk(trace, rng, keep):
    synced = {}  # inode -> the last sync's place in the trace
    folders_synced = {}
    for at, step in enumerate(trace):
        if step[0] == "sync":
            synced[step[1]] = at
        elif step[0] == "syncdir":
            folders_synced[step[1]] = at
    contents, names, folders = {}, {}, set()
    for at, (kind, *rest) in enumerate(trace):
        if kind in ("write", "size"):
            _change_contents(contents, kind, rest, synced.get(rest[0], -1) > at, rng, keep)
        elif kind in ("link", "unlink", "rename", "mkdir", "rmdir"):
            on_disk = folders_synced.get(folder_of(rest[0]), -1) > at or rng.random() < keep
            if on_disk:
                _change_names(names, folders, kind, rest)
    return contents, names, folders


def _change_contents(contents, kind, rest, on_disk, rng, keep):
    data = contents.setdefault(rest[0], bytearray())
    if not on_disk and rng.random() >= keep:
        return
    if kind == "size":
        size = rest[1]
        del data[size:]
        data.extend(bytes(size - len(data)))
        return
    at, new = rest[1], rest[2]
    if not on_disk and rng.random() < (1 - keep) / 2:
        new = new[: rng.randrange(len(new) + 1)]  # torn
    if len(data) < at:
        data.extend(bytes(at - len(data)))
    data[at : at + len(new)] = new


def _change_names(names, folders, kind, rest):
    if kind == "link":
        names[rest[0]] = rest[1]
    elif kind == "unlink":
        names.pop(rest[0], None)
    elif kind == "rename":
        names.pop(rest[0], None)
        names[rest[1]] = rest[2]
    elif kind == "mkdir":
        folders.add(rest[0])
    else:
        folders.discard(rest[0])


STEPS = (
    "create",
    "append_to",
    "write_some",
    "reserve",
    "truncate",
    "sync",
    "sync_name",
    "rename",
    "remove",
    "make_one_folder",
    "remove_empty_folder",
    "sync_folder",
)


class Failing(Quick):
    """Fails from the k-th step on, or in that one alone; a failing write may write a part."""

    def __init__(self, root, at, error=errno.EIO, lasting=False, short=False):
        super().__init__(root)
        self.steps = 0
        self.failed = False
        self._counting = threading.Lock()
        self._at = at
        self._error = error
        self._lasting = lasting
        self._short = short

    def _step(self, name, arguments):
        with self._counting:
            self.steps += 1
            number = self.steps
        if number == self._at or (self._lasting and number > self._at):
            self.failed = True
            if name == "write_some" and self._short:
                handle, data = arguments
                super().write_some(handle, data[: len(data) // 2])
            raise OSError(self._error, "injected", name)


def _failing(name):
    def step(self, *arguments):
        self._step(name, arguments)
        return getattr(super(Failing, self), name)(*arguments)

    return step


for _name in STEPS:
    setattr(Failing, _name, _failing(_name))


class Killed(BaseException):
    """Nothing of the process is done after it."""


class Killing(Quick):
    """Lets no step happen from the k-th on; counts steps where that is 0."""

    def __init__(self, root, at):
        super().__init__(root)
        self.steps, self._at = 0, at


def _killing(name):
    def step(self, *arguments):
        self.steps += 1
        if self._at and self.steps >= self._at:
            raise Killed
        return getattr(super(Killing, self), name)(*arguments)

    return step


for _name in STEPS:
    setattr(Killing, _name, _killing(_name))


def seeded(*parts):
    return random.Random(":".join(map(str, parts)))


def files_of(path):
    return sorted(file for file in Path(path).rglob("*") if file.is_file() and file.name != "LOCK")
