"""What the C library does with memory that is free again. Knows glibc; does nothing elsewhere.

Each thread of glibc's malloc would have a heap of its own, and gives back what is free at a heap's
end alone. A server that commits each second and merges now and then would keep the holes of it all.
"""

from __future__ import annotations

import ctypes
import sys

HEAPS = 2  # else eight a core, and the holes of one are of no use to the threads of another
MAPPED_FROM_BYTES = 1 << 18  # else up to 32 MB, as such arrays come and go
_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # of malloc.h


def share_heaps() -> None:
    """Let all threads to come allocate from a few heaps, and large arrays from none.

    An array of a word or a document each, of which a commit makes several, then goes back to the
    system as soon as it is free, and leaves no hole.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_ARENA_MAX, HEAPS)
        library.mallopt(_MMAP_THRESHOLD, MAPPED_FROM_BYTES)


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
