"""Compiling the loops, and keeping the machine code in a folder of the user's own.

Numba notices when a function's own file changes, not when a function it calls does; and it keeps
machine code beside the sources, where an installation may be read-only. So the code lies in the
user's cache, in a folder named after all sources of the loops and everything that shapes the code.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable  # noqa: TC003  the decorator is typed at run time too
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from llvmlite import binding
from numba.core import config

_KEY_DIGITS = 16
_ALL_KEPT = "all"  # a file beside the machine code
_settings: Any = config  # Numba names its settings at run time


def compiled(function: Callable[..., Any]) -> Any:  # noqa: ANN401  Numba's dispatcher
    """Compile a loop at its first call, without the interpreter lock, or load what is kept."""
    folder, before = cache_folder(), _settings.CACHE_DIR
    if folder is None:
        return numba.njit(nogil=True)(function)
    _settings.CACHE_DIR = str(folder)
    try:
        return numba.njit(cache=True, nogil=True)(function)
    finally:
        _settings.CACHE_DIR = before


@cache
def cache_folder() -> Path | None:
    """Where the machine code lies: below ``NUMBA_CACHE_DIR``, or the user's cache folder.

    None where nothing can be written: then the code lasts as long as the process.
    """
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    own = Path(_settings.CACHE_DIR or f"{base}/tamis")
    folder = own / f"loops-{cache_key(Path(__file__).parent)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def is_first_use() -> bool:
    """Whether no machine code is kept yet, so that the first build or search takes longer."""
    folder = cache_folder()
    return folder is None or next(folder.rglob("*.nbi"), None) is None


def is_all_kept() -> bool:
    """Whether `note_all_kept` was called here, so that a process need not compile."""
    folder = cache_folder()
    return folder is not None and (folder / _ALL_KEPT).exists()


def note_all_kept() -> None:
    """Remember that the machine code of all loops is kept."""
    folder = cache_folder()
    if folder is not None:
        (folder / _ALL_KEPT).touch()


def cache_key(folder: Path) -> str:
    """A name for the machine code of the sources in a folder, on this machine.

    Another folder has another name: Numba would not take the code of equal sources elsewhere.
    """
    digest = hashlib.sha256(os.fsencode(folder))
    for source in sorted(folder.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    for part in (
        platform.python_version(),
        numba.__version__,
        llvmlite.__version__,
        binding.get_host_cpu_name(),
        binding.get_host_cpu_features().flatten(),
    ):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:_KEY_DIGITS]
