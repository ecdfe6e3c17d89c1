"""Files as read-only memory, and how the system brings their pages in.

A search reads here and there: a document's record, the beginning of a list. While all that is
mapped fits in memory it does no harm that the system fetches the neighbourhood of each page; it is
soon all there. In a collection larger than memory each such neighbourhood drives out pages that
are needed. So once a process has mapped more than half of the memory that it may use, all of its
maps are read page by page (``MADV_RANDOM``) from then on, and what reads a stretch from end to end
asks for it with `read_ahead`.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import weakref
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.files.system import maps_without_files, usable_memory_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARE_OF_MEMORY = 0.5  # mapped by a process, from which on pages come one by one
AT_ONCE = 1 << 17  # bytes: Linux brings in no more for one call, however much is asked for
_RANDOM, _WILL_NEED = getattr(mmap, "MADV_RANDOM", None), getattr(mmap, "MADV_WILLNEED", None)


def mapped(handle: int, size_bytes: int) -> memoryview:
    """A file's first bytes, read-only and mapped: they need no open file.

    Python's own map holds one before Python 3.13, so that an index would need dozens.

    Raises:
        OSError: the system refuses.
    """
    if not maps_without_files():
        return memoryview(mmap.mmap(handle, size_bytes, access=mmap.ACCESS_READ))
    return np.asarray(_Map(handle, size_bytes)).data


def read_ahead(stretch: NDArray[Any]) -> None:
    """Ask for a contiguous part of a map, which is about to be read from end to end.

    It costs nothing where pages bring their neighbours in anyway.
    """
    if _paging.one_by_one and stretch.nbytes > mmap.PAGESIZE:
        address = stretch.__array_interface__["data"][0]
        for start in range(address, address + stretch.nbytes, AT_ONCE):
            _advise(start, min(AT_ONCE, address + stretch.nbytes - start), _WILL_NEED)


class _Paging:
    """All maps of this process, and whether their pages are brought in one by one."""

    def __init__(self) -> None:
        self.one_by_one = False
        self._lock = threading.RLock()  # a map may be collected while its thread holds it
        self._sizes: dict[int, int] = {}  # bytes, by address
        self._total = 0

    def add(self, address: int, size_bytes: int) -> None:
        with self._lock:
            self._sizes[address] = size_bytes
            self._total += size_bytes
            before = self.one_by_one
            self.one_by_one = before or self._total > room_for_maps()
            if self.one_by_one:
                fresh = {address: size_bytes} if before else self._sizes.copy()
                for start, size in fresh.items():
                    _advise(start, size, _RANDOM)

    def remove(self, address: int) -> None:
        with self._lock:
            size_bytes = self._sizes.pop(address)
            self._total -= size_bytes
            _calls().munmap(address, size_bytes)


_paging = _Paging()


@cache
def room_for_maps() -> float:
    """Bytes that a process may map before their pages come one by one."""
    usable = usable_memory_bytes()
    return float("inf") if usable is None else SHARE_OF_MEMORY * usable


class _Map:
    """Mapped bytes as NumPy takes them over; unmapped when nobody has them any more."""

    def __init__(self, handle: int, size_bytes: int) -> None:
        address = _calls().mmap(None, size_bytes, mmap.PROT_READ, mmap.MAP_SHARED, handle, 0)
        if address == ctypes.c_void_p(-1).value:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        _paging.add(address, size_bytes)
        weakref.finalize(self, _paging.remove, address).atexit = False
        self.__array_interface__ = {
            "version": 3,
            "shape": (size_bytes,),
            "typestr": "|u1",
            "data": (address, True),  # read-only
        }


def _advise(address: int, size_bytes: int, how: int | None) -> None:
    """Tell the system about the pages of these bytes; it may not listen."""
    if how is not None:
        begin = address // mmap.PAGESIZE * mmap.PAGESIZE
        _calls().madvise(begin, address + size_bytes - begin, how)


@cache
def _calls() -> Any:  # noqa: ANN401
    """The system's own mmap, munmap and madvise."""
    library = ctypes.CDLL(None, use_errno=True)
    place, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    library.mmap.restype = place
    library.mmap.argtypes = (place, size, number, number, number, ctypes.c_long)
    library.munmap.argtypes = (place, size)
    library.madvise.argtypes = (place, size, number)
    return library
