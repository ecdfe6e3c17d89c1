"""What differs between operating systems: locks, durable writes, cores and memory.

The only module that asks which system it runs on. Linux and macOS do all; others, such as Windows,
open and search what was indexed elsewhere, and refuse to write.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    import fcntl
    import resource
except ImportError:  # Windows
    _fcntl: Any = None
    _resource: Any = None
else:
    _fcntl, _resource = fcntl, resource

_STATUS = Path("/proc/self/status")
MOST_OPEN_FILES = 1 << 20  # more are of no use to a process of ours
GUESSED_OPEN_FILES = 24
_FULL_SYNC = getattr(_fcntl, "F_FULLFSYNC", None)  # macOS: its fsync leaves bytes in the disk


def refuse_unless_writing() -> None:
    """Refuse to write a collection on a system without its locks.

    Raises:
        InputError: this is such a system.
    """
    if _fcntl is None:
        raise InputError(
            f"expected Linux or macOS, which writing an index needs, found {sys.platform}; write "
            "it there (on Windows: in WSL) and copy the folder here, where it can be searched"
        )


def lock_alone(handle: int) -> bool:
    """Take a file's exclusive lock until the handle is closed; False if another holds one.

    Raises:
        InputError: the system has no such locks.
    """
    refuse_unless_writing()
    try:
        _fcntl.flock(handle, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_shared(handle: int) -> None:
    """Take a file's shared lock until the handle is closed, waiting for who holds it alone.

    Where there are no locks nobody can write either, and none is needed.
    """
    if _fcntl is not None:
        _fcntl.flock(handle, _fcntl.LOCK_SH)


def is_locked(handle: int) -> bool:
    """Whether somebody holds a file's exclusive lock by another handle."""
    if _fcntl is None:
        return False
    try:
        _fcntl.flock(handle, _fcntl.LOCK_SH | _fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    _fcntl.flock(handle, _fcntl.LOCK_UN)
    return False


def sync(handle: int) -> None:
    """Wait until a file's bytes, or a folder's names, are on disk and not in its cache."""
    if _FULL_SYNC is not None:
        try:
            _fcntl.fcntl(handle, _FULL_SYNC)
        except OSError:  # a file system that does not know it
            os.fsync(handle)
        return
    os.fsync(handle)


def open_folder(path: str) -> int:
    """A handle to `sync` the names in a folder."""
    return os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))


def reserve(handle: int, size_bytes: int) -> None:
    """Give a file its size, and where the system can do that, its room on disk."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size_bytes)
    else:  # macOS: a disk that fills up stops the writer at the map
        os.ftruncate(handle, size_bytes)


def maps_without_files() -> bool:
    """Whether the system's own calls are there to map a file that is then closed."""
    return _fcntl is not None


def free_bytes(folder: Path) -> int | None:
    """What this process may still write on a folder's disk; None where that is not known."""
    if not hasattr(os, "statvfs"):
        return None
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def is_only_read(folder: Path) -> bool:
    """Whether a folder's disk is mounted to be read alone, as far as the system says."""
    return hasattr(os, "statvfs") and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def usable_cores() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """The machine's memory; None where the system does not say."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def usable_memory_bytes(root: Path = Path("/")) -> int | None:
    """The memory that this process may use: the machine's, or what its control groups allow.

    Args:
        root: of the file system in which Linux tells of control groups.
    """
    machine = memory_bytes()
    return None if machine is None else min([machine, *_group_limits(root)])


def _group_limits(root: Path) -> Iterator[int]:
    """The limits of this process's control groups and of those above them, of both versions."""
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            top = root / "sys/fs/cgroup" / ("memory" if controllers else "")
            own = top / path.lstrip("/")
            for folder in (own, *own.parents[: len(own.parts) - len(top.parts)]):
                with suppress(OSError, ValueError):  # none there, or "max"
                    yield int((folder / name).read_text())


def raise_open_files() -> tuple[int | None, int | None]:
    """Let this process open as many files as it may; the limit before and now, None for none."""
    if _resource is None:
        return None, None
    soft, hard = _resource.getrlimit(_resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == _resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != _resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has a lower one of its own
            _resource.setrlimit(_resource.RLIMIT_NOFILE, (wanted, hard))
    now = _resource.getrlimit(_resource.RLIMIT_NOFILE)[0]
    infinite = _resource.RLIM_INFINITY
    return (None if soft == infinite else soft), (None if now == infinite else now)


def open_files() -> int:
    """How many files this process has open; a guess where the system does not say."""
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return GUESSED_OPEN_FILES


def load_average() -> float | None:
    """Processes that ran or waited in the last minute; None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def used_bytes() -> int:
    """The memory that this process holds now; the most it has held where that is not known."""
    return _status_bytes("VmRSS") or most_used_bytes()


def most_used_bytes() -> int:
    """The most memory that this process has held; 0 where the system does not say.

    Linux tells ``ru_maxrss`` of whatever ran before in the same process, too: a small program that
    a large one starts has that one's. ``VmHWM`` begins anew with each program.
    """
    most = _status_bytes("VmHWM")
    if most is not None:
        return most
    if _resource is None:
        return 0
    kilobytes: int = _resource.getrusage(_resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024


def _status_bytes(name: str) -> int | None:
    """What Linux says of this process' memory by a name; None where it does not."""
    try:
        found = re.search(rf"^{name}:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    except OSError:  # not Linux
        return None
    return int(found[1]) * 1024 if found else None


def step_back(niceness: int) -> None:
    """Let the system prefer other processes to this one; where it refuses, nothing happens."""
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(niceness)


def is_running(process: int) -> bool:
    """Whether there is a process of this number, as far as can be seen from here."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
