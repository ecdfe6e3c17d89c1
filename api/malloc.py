"""What the C library does with memory that is free again. Knows glibc; does nothing elsewhere.

Each thread of glibc's malloc would have a heap of its own, and gives back what is free at a heap's
end alone. A server that commits each second and merges now and then would keep the holes of it all.

Large arrays stay in the heaps, as glibc comes to do by itself: pages of their own, from 256 KB on,
level the memory as well, but filters of a million documents then take 1.8 ms instead of 0.3.
"""

from __future__ import annotations

import ctypes
import sys

HEAPS = 2  # else eight a core, and the holes of one are of no use to the threads of another
_ARENA_MAX = -8  # of malloc.h


def share_heaps() -> None:
    """Let all threads to come allocate from a few heaps."""
    library = _glibc()
    if library is not None:
        library.mallopt(_ARENA_MAX, HEAPS)


def give_back() -> None:
    """Give all whole pages that are free back to the system; takes a millisecond or two."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None
