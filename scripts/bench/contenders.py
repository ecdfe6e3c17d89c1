"""Engines for collections at size, each built and asked in a process of its own.

Builds run side by side, on all cores. Afterwards one process works at a time and the others wait,
so that times are of one thread on a machine that is otherwise still. An engine that is not
installed is left out, and told.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from importlib.util import find_spec
from itertools import product
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from tamis.index import Index, SparseVectors
from tamis.index.files.system import usable_cores
from tamis.index.segment.calibration import RECALLS, SAMPLES, Row
from tamis.scripts.bench.loops import interleave
from tamis.scripts.bench.made_vectors import is_whole, open_vectors
from tamis.scripts.bench.peers import quiet_output

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from numpy.typing import NDArray


EXACT = "exact"
WAYS = ("windows", "blocks")  # of exact search where there are blocks, whatever calibration says
SINDI_WINDOW = 60_000
SINDI_FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "quantised": {"use_quantization": True, "use_reorder": True},
    "quantised, pruned": {"use_quantization": True, "use_reorder": True, "doc_prune_ratio": 0.4},
}
SINDI_PRUNES = (0.0, 0.2, 0.4, 0.6)  # of a query
SINDI_DEPTH = {False: 1, True: 3}  # candidates for each result, by whether records are read again
SEISMIC_CUTS, SEISMIC_FACTORS = (3, 5, 8, 12), (1.0, 0.9, 0.8, 0.6)
CALIBRATION_QUERIES = 400  # of each kind, the last ones
LARGE = 2_000_000  # documents beyond which memory and disk are spared
_CHUNK = 50_000


class Took(NamedTuple):
    """What a build took: processor seconds of all threads, seconds, bytes on disk where saved."""

    cpu_s: float
    wall_s: float
    size_bytes: int | None


class Contender(Protocol):
    """One engine, built.

    Attributes:
        size_bytes: on disk; None where it was not saved.
    """

    size_bytes: int | None

    def settings(self, k: int) -> Sequence[str]:
        """How it may be asked, as texts."""

    def answer(self, queries: SparseVectors, k: int, setting: str) -> list[NDArray[Any]]:
        """The numbers of each query's best documents."""


class Tamis:
    """This index at each recall and exact."""

    def __init__(self, vectors: Path, scratch: Path) -> None:
        folder = scratch / "tamis"
        if not (folder / "CURRENT").exists():
            shutil.rmtree(folder, ignore_errors=True)
            places = [vectors.parent / name for name in ("short", "long")]
            asked = [open_vectors(place) for place in places if is_whole(place)]
            last = [each.rows(max(0, len(each) - CALIBRATION_QUERIES), len(each)) for each in asked]
            sample = SparseVectors.concatenate(last)
            Index.build(folder, open_vectors(vectors), calibration=sample)
        self.index = Index.open(folder, verify="lazy")
        self.ways = _ways(self.index)
        self.size_bytes = self.index.manifest.size_bytes

    def settings(self, k: int) -> Sequence[str]:
        """Exact and each recall; in a collection with blocks also exact in both ways."""
        asked = [EXACT, *(f"recall={recall}" for recall in RECALLS)]
        return [*asked, *(f"{way} {EXACT}" for way in self.ways)]

    def answer(self, queries: SparseVectors, k: int, setting: str) -> list[NDArray[Any]]:
        """The numbers of each query's best documents."""
        way, _, how = setting.rpartition(" ")
        recall = None if how == EXACT else float(how.removeprefix("recall="))
        index = self.ways.get(way, self.index)
        return list(index.search(queries, k, recall=recall, exact=how == EXACT).docs)


def _ways(index: Index) -> dict[str, Index]:
    """The same collection, searched exactly by windows and by blocks; none without blocks."""
    if not any(part.stored.segment.has_blocks for part in index.parts):
        return {}
    always = tuple(
        Row(long, k, 1.0, cut=0.0, slack=1.0, measured=1.0, cost=0.0)
        for long, k in product((False, True), SAMPLES)
    )
    return {way: _with_rows(index, rows) for way, rows in zip(WAYS, ((), always), strict=True)}


def _with_rows(index: Index, rows: tuple[Row, ...]) -> Index:
    """The same collection with these rows of exact search by blocks."""
    parts = []
    for part in index.parts:
        table = replace(part.entry.calibration, blocks=rows)
        parts.append(replace(part, entry=replace(part.entry, calibration=table)))
    other = index.again()
    other.parts = tuple(parts)
    return other


class Sindi:
    """pyvsag's SINDI in one form."""

    def __init__(self, vectors: Path, scratch: Path, form: str) -> None:
        import pyvsag

        pyvsag.set_logger_off()
        documents = open_vectors(vectors)
        options = SINDI_FORMS[form]
        self.depth = SINDI_DEPTH[bool(options.get("use_reorder"))]
        self.index = pyvsag.Index("sindi", json.dumps(_sindi_parameters(documents, options)))
        self.index.build(
            index_pointers=documents.offsets.astype(np.uint32),
            indices=documents.terms.view(np.uint32),
            values=documents.weights,
            ids=np.arange(len(documents)),
        )
        place = scratch / f"sindi-{form.replace(', ', '-')}"
        self.size_bytes = _saved_bytes(place, self.index, len(documents))

    def settings(self, k: int) -> Sequence[str]:
        """Shares of a query's weight that are left out."""
        return [f"query_prune={share}" for share in SINDI_PRUNES]

    def answer(self, queries: SparseVectors, k: int, setting: str) -> list[NDArray[Any]]:
        """The numbers of each query's best documents."""
        share = float(setting.removeprefix("query_prune="))
        knobs = {"n_candidate": k * self.depth, "query_prune_ratio": share, "term_prune_ratio": 0.0}
        found, _ = self.index.knn_search(
            queries.offsets.astype(np.uint32),
            queries.terms.astype(np.uint32),
            queries.weights,
            k,
            json.dumps({"sindi": knobs}),
        )
        return list(np.asarray(found).reshape(len(queries), k))


class RawSeismic:
    """pyseismic-lsr over numbers, with its authors' settings for the size."""

    def __init__(self, vectors: Path, scratch: Path) -> None:
        from seismic import SeismicIndexRaw

        documents = open_vectors(vectors)
        file = scratch / "seismic.bin"
        _write_seismic(file, documents)
        large = len(documents) > 500_000
        self.index = SeismicIndexRaw.build(
            str(file),
            n_postings=4000 if large else 1000,
            centroid_fraction=0.2 if large else 0.1,
            summary_energy=0.5 if large else 0.4,
        )
        file.unlink()
        self.size_bytes = _saved_bytes(scratch / "seismic", self.index, len(documents))

    def settings(self, k: int) -> Sequence[str]:
        """Query cuts with heap factors."""
        return [f"cut={cut} factor={f}" for cut, f in product(SEISMIC_CUTS, SEISMIC_FACTORS)]

    def answer(self, queries: SparseVectors, k: int, setting: str) -> list[NDArray[Any]]:
        """The numbers of each query's best documents."""
        cut, factor = (float(part.split("=")[1]) for part in setting.split())
        search, found = self.index.search, []
        for row in range(len(queries)):
            terms, weights = queries.row(row)
            best = search(terms, weights, k, int(cut), factor, 0, True)
            found.append(np.array([doc for _, doc in best], np.int64))
        return found


def contenders(documents: int) -> tuple[dict[str, tuple[Any, ...]], list[str]]:
    """What takes part, as names with the class and its further arguments; and what does not."""
    there: dict[str, tuple[Any, ...]] = {"tamis": (Tamis,)}
    missing = []
    if find_spec("pyvsag"):
        there |= {f"SINDI, {form}": (Sindi, form) for form in SINDI_FORMS}
        if documents > LARGE:  # three of its builds at once pass 128 GB
            missing.append("SINDI, quantised (for its memory)")
            del there["SINDI, quantised"]
    else:
        missing.append("pyvsag")
    if find_spec("seismic"):
        there["Seismic"] = (RawSeismic,)
    else:
        missing.append("pyseismic-lsr")
    return there, missing


class Process:
    """An engine in a process of its own."""

    def __init__(self, make: tuple[Any, ...], vectors: Path, scratch: Path, threads: int) -> None:
        context = get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(
            target=_work, args=(there, make, vectors, scratch, threads), daemon=True
        )
        self._process.start()
        there.close()

    def took(self) -> Took:
        """Wait for the build.

        Raises:
            RuntimeError: it failed.
        """
        return Took(*self._received())

    def settings(self, k: int) -> list[str]:
        """As of the engine."""
        self._here.send(("settings", k))
        return list(self._received())

    def timed(self, kind: str, rows: int, k: int, setting: str) -> tuple[float, list[NDArray[Any]]]:
        """Processor microseconds a query, and the answers to the first ``rows`` of a kind."""
        self._here.send(("answer", kind, rows, k, setting))
        took, found = self._received()
        return took, found

    def end(self) -> None:
        """Let it go."""
        self._process.terminate()
        self._process.join()

    def _received(self) -> Any:  # noqa: ANN401
        try:
            fine, value = self._here.recv()
        except EOFError:
            raise RuntimeError("an engine's process ended; it may have had no memory") from None
        if not fine:
            raise RuntimeError(value)
        return value


def _work(
    pipe: Connection, make: tuple[Any, ...], vectors: Path, scratch: Path, threads: int
) -> None:
    """Build, then answer until the other side goes away."""
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    kinds: dict[str, SparseVectors] = {}
    try:
        with quiet_output():
            began, wall = time.process_time(), time.perf_counter()
            engine: Contender = make[0](vectors, scratch, *make[1:])
            took = (time.process_time() - began, time.perf_counter() - wall, engine.size_bytes)
            pipe.send((True, took))
            while True:
                what, *given = pipe.recv()
                if what == "settings":
                    pipe.send((True, engine.settings(*given)))
                    continue
                kind, rows, k, setting = given
                if kind not in kinds:
                    kinds[kind] = _in_memory(open_vectors(vectors.parent / kind))
                queries = kinds[kind].rows(0, rows)
                start = time.process_time_ns()
                found = engine.answer(queries, k, setting)
                spent = (time.process_time_ns() - start) / 1000 / len(queries)
                pipe.send((True, (spent, found)))
    except EOFError:
        return
    except Exception as fault:  # noqa: BLE001  whatever a peer raises is told by the other side
        pipe.send((False, f"{make[0].__name__}: {type(fault).__name__}: {fault}"))


def start(vectors: Path, scratch: Path) -> tuple[dict[str, Process], list[str]]:
    """Begin to build every engine over a collection of `write_vectors`; and who is missing."""
    there, missing = contenders(len(open_vectors(vectors)))
    threads = max(1, usable_cores() - len(there) + 1)
    processes = {name: Process(make, vectors, scratch, threads) for name, make in there.items()}
    return processes, missing


def _in_memory(vectors: SparseVectors) -> SparseVectors:
    offsets, terms, weights = map(np.array, (vectors.offsets, vectors.terms, vectors.weights))
    return SparseVectors.trusted(offsets, terms, weights, vectors.vocab_size)


def _sindi_parameters(documents: SparseVectors, options: dict[str, Any]) -> dict[str, Any]:
    form = {
        "term_id_limit": documents.vocab_size,
        "window_size": SINDI_WINDOW,
        "doc_prune_ratio": 0.0,
        "use_quantization": False,
        "use_reorder": False,
    }
    return {
        "dtype": "sparse",
        "dim": int(np.diff(documents.offsets).max()),
        "metric_type": "ip",
        "index_param": form | options,
    }


def _saved_bytes(path: Path, index: Any, documents: int) -> int | None:  # noqa: ANN401
    """How large a peer's file is; it is not kept, and not written for a large collection."""
    if documents > LARGE:
        return None
    index.save(str(path))
    files = [file for file in path.parent.iterdir() if file.name.startswith(path.name)]
    size = sum(file.stat().st_size for file in files)
    for file in files:
        file.unlink()
    return size


def _write_seismic(path: Path, documents: SparseVectors) -> None:
    """Seismic's own file: the number of rows; each row's length, its terms, its weights."""
    with path.open("wb") as out:
        out.write(np.array([len(documents)], "<u4").tobytes())
        for first in range(0, len(documents), _CHUNK):
            part = documents.rows(first, min(first + _CHUNK, len(documents)))
            words = np.empty(2 * part.nnz + len(part), np.uint32)
            interleave(part.offsets, part.terms, part.weights.view(np.uint32), words)
            out.write(words.data)
