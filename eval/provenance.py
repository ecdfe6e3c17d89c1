"""Where a number comes from: commit, command, machine, versions, time. Reads; changes nothing."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from tamis.index.files import system

_PACKAGES = (
    "tamis", "numpy", "numba", "tokenizers", "torch", "transformers", "sentence-transformers",
    "faiss-cpu", "bm25s", "PyStemmer", "ir-measures", "pytrec-eval-terrier", "pyserini",
)  # fmt: skip


def provenance(seed: int) -> dict[str, Any]:
    """Facts to keep beside a result, as plain JSON values.

    Returns:
        ``commit`` (with ``+changes`` where files differ from it; None outside of a checkout),
        ``command``, ``time`` (UTC), ``seed``, ``machine``, ``versions``, ``threads``.
    """
    return {
        "commit": commit(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "machine": machine(),
        "versions": versions(),
        "threads": os.environ.get("OMP_NUM_THREADS", "not limited"),
    }


def commit() -> str | None:
    """The commit of the checkout that this code runs from, changed results and README apart."""
    folder = Path(__file__).resolve().parent.parent
    head = _git(folder, "rev-parse", "HEAD")
    if not head:
        return None
    code = (".", ":!eval/results", ":!README.md")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", *code)
    return f"{head}+changes" if changed else head


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    """Processor, cores, memory and operating system."""
    return {
        "processor": _processor(),
        "cores": system.usable_cores(),
        "memory_bytes": system.memory_bytes(),
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": round(system.load_average() or 0.0, 1),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _gpu() -> str | None:
    torch = sys.modules.get("torch")  # asked for only where something else has loaded it
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name())


def versions() -> dict[str, str]:
    """Version of Python and of each installed package that can move a number."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
