"""What a processor multiplies fastest: float32, bfloat16, or 8-bit whole numbers.

An instruction may exist and be slow, so products of a small BERT's shape are timed, once a
processor: the result is kept in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
import xxhash

from tamis.index.errors import InputError
from tamis.kernels.int8 import LARGEST, int8_product, multiplies_int8, pack_int8
from tamis.kernels.product import product
from tamis.retriever.models.quantised_weights import is_quantised
from tamis.retriever.models.stored_bert import runs_in_int8

if TYPE_CHECKING:
    from collections.abc import Callable

    from tamis.retriever.models.sides import NeuralSide

Arithmetic = Literal["float32", "bfloat16", "int8"]
ARITHMETICS: tuple[Arithmetic, ...] = get_args(Arithmetic)
ROWS, WIDTH, WIDE = 256, 384, 1536  # of the products that are timed
TURNS = 5  # of each product; the fastest counts
SLOW_MS = 20.0  # a first product this slow is emulated, and not made again


def fastest(among: tuple[Arithmetic, ...] = ARITHMETICS) -> Arithmetic:
    """The arithmetic that this processor multiplies fastest in; float32 where nothing is faster."""
    rates = speeds()
    return max(among, key=lambda one: (rates[one], one == "float32"))


def faster_float() -> torch.dtype:
    """bfloat16 where this processor multiplies it faster than float32, else float32."""
    return torch.bfloat16 if fastest(("float32", "bfloat16")) == "bfloat16" else torch.float32


def choose_arithmetic(side: NeuralSide, device: torch.device, asked: str | None) -> Arithmetic:
    """What a model computes with on a device, where nothing is asked the fastest.

    A model that was not rounded runs in float32 on a processor, and in bfloat16 on a GPU.

    Raises:
        InputError: model, device or processor cannot compute as asked.
    """
    if asked is not None:
        return _checked(side, device, asked)
    if device.type != "cpu":
        return "bfloat16"
    if not is_quantised(side.folder / "model.safetensors"):
        return "float32"
    return fastest() if runs_in_int8(side) else fastest(("float32", "bfloat16"))


def _checked(side: NeuralSide, device: torch.device, asked: str) -> Arithmetic:
    found = checked_name(asked)
    if found != "int8":
        return found
    check_int8(device)
    if not runs_in_int8(side):
        raise InputError(
            f"{side.folder}: expected a BERT stored as int8 rows for int8, found another model; "
            "use float32 or bfloat16"
        )
    return found


def checked_name(asked: str) -> Arithmetic:
    """The arithmetic of a name.

    Raises:
        InputError: there is none.
    """
    found = next((one for one in ARITHMETICS if one == asked), None)
    if found is None:
        raise InputError(f"expected {', '.join(ARITHMETICS)} as arithmetic, found {asked!r}")
    return found


def check_int8(device: torch.device) -> None:
    """Refuse a device that has no products of 8-bit whole numbers.

    Raises:
        InputError: it has none.
    """
    if device.type != "cpu" or not multiplies_int8():
        raise InputError(
            "expected a processor and a torch that multiply 8-bit whole numbers exactly for int8, "
            f"found none on {device.type} here; use float32 or bfloat16"
        )


@cache
def speeds() -> dict[Arithmetic, float]:
    """GFLOP/s of one thread in each arithmetic; 0 for one that is missing.

    Measured in some 20 ms of processor time, or read from `speeds_file`.
    """
    kept = _read(speeds_file())
    found = kept.get(_machine())
    if isinstance(found, dict) and set(found) == set(ARITHMETICS):
        return {one: float(found[one]) for one in ARITHMETICS}
    measured = measure_speeds()
    _write(speeds_file(), kept | {_machine(): measured})
    return measured


def speeds_file() -> Path:
    """Where measured speeds are kept, by processor and version of torch."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "tamis" / "arithmetic.json"


def measure_speeds() -> dict[Arithmetic, float]:
    """Time products of each arithmetic in a thread of their own, by its processor time."""
    found: dict[Arithmetic, float] = {}

    def measure() -> None:
        torch.set_num_threads(1)  # of this thread alone
        with torch.inference_mode():
            found.update({one: _rate(make) for one, make in _PRODUCTS.items()})

    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    return found


def _float32() -> Callable[[], object]:
    rows, matrix = torch.ones(ROWS, WIDTH), torch.ones(WIDE, WIDTH)
    return lambda: product(rows, matrix)


def _bfloat16() -> Callable[[], object]:
    rows = torch.ones(ROWS, WIDTH, dtype=torch.bfloat16)
    matrix = torch.ones(WIDE, WIDTH, dtype=torch.bfloat16)
    return lambda: product(rows, matrix)


def _int8() -> Callable[[], object] | None:
    if not multiplies_int8():
        return None
    rows = torch.full((ROWS, WIDTH), LARGEST, dtype=torch.uint8)
    matrix = pack_int8(torch.ones(WIDE, WIDTH, dtype=torch.int8), torch.ones(WIDE))
    return lambda: int8_product(rows, matrix)


_PRODUCTS: dict[Arithmetic, Callable[[], Callable[[], object] | None]] = {
    "float32": _float32,
    "bfloat16": _bfloat16,
    "int8": _int8,
}


def _rate(make: Callable[[], Callable[[], object] | None]) -> float:
    multiply = make()
    if multiply is None:
        return 0.0
    multiply()  # oneDNN makes its code
    took = [_seconds(multiply)]
    while len(took) < TURNS and min(took) < SLOW_MS / 1000:
        took.append(_seconds(multiply))
    return round(2 * ROWS * WIDTH * WIDE / min(took) / 1e9, 1)


def _seconds(multiply: Callable[[], object]) -> float:
    began = time.thread_time()
    multiply()
    return max(time.thread_time() - began, 1e-9)


@cache
def _machine() -> str:
    """This processor, by name and features, and what multiplies."""
    about = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        facts: dict[str, str] = dict(reversed([_fact(line) for line in lines]))
        features = facts.get("flags", facts.get("Features", ""))
        digest = xxhash.xxh3_64_hexdigest(features.encode())
        about = f"{facts.get('model name', about)}, features {digest[:8]}"
    return f"{about}, torch {torch.__version__}"


def _fact(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _read(path: Path) -> dict[str, Any]:
    """What is kept; nothing where the file is missing or damaged: it is measured again."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _write(path: Path, speeds: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # where nothing can be kept, each process measures
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(f".{os.getpid()}")
        half.write_text(json.dumps(speeds, indent=1), encoding="utf-8")
        half.replace(path)
