"""``tamis doctor``: what is installed here, and what each missing part would enable."""

import platform
import sys
from importlib.metadata import version
from time import perf_counter
from typing import Annotated, Any

import typer

from tamis.scripts.extras import EXTRAS, Extra, install_line, installed_version
from tamis.scripts.output import JsonOption, aligned, human_bytes, print_json

TWO_BYTES = 1 << 16  # terms that two bytes tell apart
BASE = (
    "numpy",
    "numba",
    "tokenizers",
    "PyStemmer",
    "safetensors",
    "typer",
    "zstandard",
    "xxhash",
    "msgspec",
    "orjson",
    "rich",
)


def doctor(
    warm: Annotated[
        bool, typer.Option("--warm", help="Compile the search loops now, not at the first search.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show what is installed, and what each missing extra would enable."""
    found = examine()
    if warm:
        found["warm_ms"] = warm_up()
    if json:
        print_json(found)
    else:
        _print(found)
    if not found["ok"]:
        raise typer.Exit(1)


def examine() -> dict[str, Any]:
    """Versions of everything, and the machine. Imports nothing but torch, if that is there."""
    from tamis.index.files import system

    base = {name: installed_version(name) for name in BASE}
    return {
        "ok": all(base.values()),
        "tamis": version("tamis"),
        "python": platform.python_version(),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpus": system.usable_cores(),
            "memory_bytes": system.memory_bytes(),
            "cuda_devices": cuda_devices(),
            "gflops": arithmetic_speeds(),
        },
        "base": base,
        "extras": {name: _examine_extra(name, extra) for name, extra in EXTRAS.items()},
    }


def cuda_devices() -> list[str]:
    """Names of the CUDA devices that torch sees; none without torch."""
    if installed_version("torch") is None:
        return []
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def arithmetic_speeds() -> dict[str, float]:
    """GFLOP/s of one thread by arithmetic, as encoders choose it; none without torch."""
    if installed_version("torch") is None:
        return {}
    from tamis.retriever.models.arithmetic import speeds

    return {name: rate for name, rate in speeds().items()}  # noqa: C416  names as plain text


def warm_up() -> float:
    """Have Numba compile and keep every loop: those for few terms, and those for many.

    Returns:
        Milliseconds it took.
    """
    from tamis.index.segment.loops.compiled import note_all_kept

    began = perf_counter()
    load_loops()
    _use_few_terms()
    _use_many_terms()
    note_all_kept()
    return (perf_counter() - began) * 1000


def load_loops() -> None:
    """Build, open and search a tiny collection: its loops are loaded, or compiled and kept."""
    from tempfile import TemporaryDirectory

    from tamis.index.segment.plain_search import import_loops
    from tamis.retriever.indexing import index_corpus
    from tamis.retriever.searcher import Searcher
    from tamis.retriever.types import Passage
    from tamis.retriever.words.lexical import LexicalConfig

    import_loops()
    passages = [Passage("1", "a drum sieve"), Passage("2", "sieves and drums")]
    with TemporaryDirectory() as folder:
        index_corpus(passages, folder, encoder=None, lexical=LexicalConfig())
        searcher = Searcher.open(folder)
        searcher.search(["drum sieve"], 2, explain=True)
        searcher.search(["drum sieve"], 2, exact=True)


def _use_few_terms() -> None:
    """Search by blocks where a term takes two bytes."""
    from tempfile import TemporaryDirectory

    from tamis.index import Index, SparseVectors

    with TemporaryDirectory() as folder:
        Index.build(f"{folder}/index", SparseVectors.from_dicts([{0: 1.0}], 1))
        _use_blocks(f"{folder}/index")


def _use_many_terms() -> None:
    """Build and search where a term takes four bytes, not two, and loops are others."""
    from tempfile import TemporaryDirectory

    from tamis.index import Index, SparseVectors

    terms, query = TWO_BYTES + 1, {0: 1.0, TWO_BYTES: 2.0}
    vectors = SparseVectors.from_dicts([dict.fromkeys(range(0, terms, 2), 1.0), query], terms)
    with TemporaryDirectory() as folder:
        index = Index.build(f"{folder}/index", vectors)
        index.search(vectors.rows(1, 2), 2)
        index.search(vectors.rows(1, 2), 2, exact=True)
        _use_blocks(f"{folder}/index")


def _use_blocks(path: str) -> None:
    """Write and search blocks of the one segment of an index, which does not learn of them."""
    from tamis.index import SparseVectors
    from tamis.index.files.storage import Storage
    from tamis.index.generations.manifest import read_current
    from tamis.index.segment.blocks import add_blocks
    from tamis.index.segment.loops.arrays import Knobs
    from tamis.index.segment.segment import Segment

    storage = Storage(path)
    manifest = read_current(storage)
    (entry,) = manifest.segments
    given = (storage, entry.name)
    before = Segment(*given, manifest.files, entry.documents, manifest.precision)
    files = manifest.files | add_blocks(*given, manifest.files, before.records)
    segment = Segment(*given, files, entry.documents, manifest.precision)
    query = SparseVectors.from_dicts([{0: 1.0}], segment.vocab_size)
    segment.search(query, 1, Knobs(0.0, 1.0, blocks=True))


def _examine_extra(name: str, extra: Extra) -> dict[str, Any]:
    packages = {package: installed_version(package) for package in extra.packages}
    return {
        "installed": all(packages.values()),
        "packages": packages,
        "enables": extra.enables,
        "install": install_line(name),
    }


def _print(found: dict[str, Any]) -> None:
    machine = found["machine"]
    memory = machine["memory_bytes"]
    devices = ", ".join(machine["cuda_devices"]) or "none"
    rows = [
        ("tamis", found["tamis"]),
        ("python", f"{found['python']} ({sys.executable})"),
        (
            "machine",
            f"{machine['system']}, {machine['cpus']} CPUs, "
            f"{human_bytes(memory) if memory else 'memory unknown'}; CUDA devices: {devices}",
        ),
        *_arithmetic_rows(machine["gflops"]),
        ("base", _versions(found["base"])),
    ]
    for name, extra in found["extras"].items():
        rows.append((name, _versions(extra["packages"])))
        if not extra["installed"]:
            rows.append(("", f"would enable {extra['enables']}: {extra['install']}"))
    if "warm_ms" in found:
        rows.append(("warm", f"search loops compiled and kept, {found['warm_ms'] / 1000:.1f} s"))
    typer.echo(aligned(rows))


def _arithmetic_rows(rates: dict[str, float]) -> list[tuple[str, str]]:
    if not rates:
        return []
    each = ", ".join(
        f"{name} {rate:,.0f}" if rate else f"no {name}" for name, rate in rates.items()
    )
    return [("arithmetic", f"{max(rates, key=rates.__getitem__)}; GFLOP/s of a thread: {each}")]


def _versions(packages: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {found or 'MISSING'}" for name, found in packages.items())
