"""``tamis index --cluster``: the steps of pieces, carried out by Ray's workers.

Ray launches and restarts work, no more: what is done lies in the folder that all workers share.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from secrets import token_hex
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import typer

from tamis.index.errors import InputError, MismatchError, StoppedError, TamisError
from tamis.index.files.progress import silent
from tamis.index.files.storage import Storage
from tamis.index.generations.build_plan import PLAN
from tamis.index.generations.manifest import BUILD
from tamis.index.writing.assembly import Assembly
from tamis.index.writing.collection_build import CollectionBuild
from tamis.retriever.builds.pieces import publish, read_pieces, share_words, write_piece
from tamis.retriever.corpus.passages import STDIN
from tamis.scripts.build import WORDS_ALONE, TextSettings, index_options
from tamis.scripts.corpus import count_passages, reading_of, skipped
from tamis.scripts.extras import require
from tamis.scripts.pieces import index_piece_of
from tamis.scripts.progress import START_UP, progress_on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tamis.index.files.progress import Progress

AUTO = "auto"
RETRIES = 3  # of a piece whose worker has died
LOOK_EVERY_S = 0.5
_STORE_BYTES = 80 << 20  # of Ray's shared memory: what is large goes through files
_SEEN = f"{BUILD}/seen"  # what the workers must find there


class Cluster(NamedTuple):
    """Ray, and what there is of it.

    Attributes:
        ray: the module.
        workers: how many pieces are worked on at once.
        gpus: how many GPUs each of them takes.
    """

    ray: Any
    workers: int
    gpus: int

    def each(
        self,
        work: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        look: Callable[[], None] = lambda: None,
    ) -> list[Any]:
        """Carry out calls of a function on the workers; a worker that dies costs its call.

        Args:
            work: a function of a module.
            calls: the arguments of each call.
            look: called now and then while they run.

        Returns:
            What each call gave.

        Raises:
            TamisError: as a call did.
            StoppedError: the worker of a call has died again and again.
        """
        ray = self.ray
        remote = ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=RETRIES)(work)
        tasks = [remote.remote(*arguments) for arguments in calls]
        waiting = tasks
        try:
            while waiting:
                ready, waiting = ray.wait(waiting, num_returns=1, timeout=LOOK_EVERY_S)
                for task in ready:
                    _result(ray, task)
                look()
        except BaseException:
            for task in waiting:
                ray.cancel(task, force=True)
            raise
        return [_result(ray, task) for task in tasks]


def index_by_workers(
    corpus: str,
    out: Path,
    encoder: str,
    settings: TextSettings,
    cluster: str,
    memory: str | None,
    *,
    resume: bool,
) -> None:
    """Index by the workers of a cluster, with progress on a terminal."""
    START_UP.over()
    with progress_on_terminal() as progress:
        left_out = index_on_cluster(
            corpus, out, encoder, settings, cluster, memory, resume=resume, progress=progress
        )
    if left_out:
        typer.echo(f"tamis: note: left out {left_out:,} that could not be read", err=True)


def index_on_cluster(
    corpus: str,
    out: Path,
    encoder: str,
    settings: TextSettings,
    cluster: str,
    memory: str | None = None,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> int:
    """Index a corpus by the workers of a cluster, each a piece at a time.

    Args:
        corpus: files that every worker reaches under this name.
        out: a folder that every worker reaches under this name.
        encoder: as ``--encoder``.
        settings: as for an index made here.
        cluster: how many workers to start on this machine, ``auto`` for one a core, or one a GPU
            where there are GPUs and an encoder, or the address of a cluster that runs.
        memory: that a worker may take, as ``--memory``.
        resume: go on with a build of the same corpus that was stopped.
        progress: told of each step.

    Returns:
        How many documents could not be read and were left out.

    Raises:
        InputError: Ray is not installed, there is no such cluster, its workers do not reach the
            folder, or as `index_corpus`.
        MismatchError: a worker has another version of Tamis or of Python.
        StoppedError: the worker of a piece has died again and again.
    """
    if corpus == STDIN:
        raise InputError("expected files that every worker reads, found standard input; store it")
    corpus, place, report = str(Path(corpus).absolute()), out.absolute(), progress or silent
    with _running(cluster, encoder) as found:
        count = _pieces_begun(Storage(place)) or found.workers
        plan = {"corpus": corpus, "encoder": encoder, "cluster pieces": count}
        with Assembly.begin(place, plan, settings.precision, resume=resume) as assembly:
            _check_workers(found, assembly.storage)
            folders = [place / BUILD / "pieces" / str(at + 1) for at in range(count)]
            calls = [
                (corpus, f"{at + 1}/{count}", str(folder), encoder, settings, memory)
                for at, folder in enumerate(folders)
            ]
            look = partial(_tell_of_pieces, report, folders, count_passages(corpus))
            left_out = sum(map(int, found.each(_index_piece, calls, look)))
            _assemble(found, assembly, folders, settings, report)
    return left_out


def _assemble(
    cluster: Cluster,
    assembly: Assembly,
    folders: Sequence[Path],
    settings: TextSettings,
    report: Progress,
) -> None:
    """Have the workers make segments of all pieces, and publish them."""
    pieces, root = read_pieces(folders), str(assembly.storage.root)
    share_words(assembly, pieces)
    sizes = {at: len(piece.documents) for at, piece in enumerate(pieces, start=1)}
    missing = [at for at in sizes if at not in assembly]
    calls = [(root, settings.precision, at, str(folders[at - 1])) for at in missing]

    def look() -> None:
        written = sum(size for at, size in sizes.items() if at in assembly)
        report("build", written, sum(sizes.values()))

    cluster.each(write_piece, calls, look)
    publish(assembly, len(pieces), None)


def _index_piece(
    corpus: str,
    piece: str,
    folder: str,
    encoder: str,
    settings: TextSettings,
    memory: str | None,
) -> int:
    """Make a piece, or go on with it; how much of it could not be read."""
    reading = settings.reading
    own = reading_of(
        reading.get("id_field"),
        reading.get("title_field"),
        reading.get("text_field"),
        skip_bad=skipped(reading) is not None,
        searched=settings.searched,
    )
    resume = (Path(folder) / PLAN).exists()
    own_settings = settings._replace(reading=own)
    options = index_options(corpus, encoder, own_settings, memory, None, resume=resume)
    index_piece_of(corpus, piece, Path(folder), own, options)
    left_out = skipped(own)
    return left_out.count if left_out is not None else 0


def _result(ray: Any, task: Any) -> Any:  # noqa: ANN401  Ray has no types of ours
    """What a call gave; raises what it raised, or what ended its worker."""
    try:
        return ray.get(task)
    except TamisError:
        raise
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TamisError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        said = str(error).strip().partition("\n")[0]
        raise StoppedError(
            f"expected a worker to end its piece, found that it died {RETRIES + 1} times "
            f"({said}); see whether memory is short, and go on with --resume"
        ) from error


def _tell_of_pieces(report: Progress, folders: Sequence[Path], total: int | None) -> None:
    """Tell how far the pieces have come, as their folders show it."""
    stored = encoded = 0
    are_stored = True
    for folder in folders:
        build = CollectionBuild(Storage(folder), "f32")
        if build.stored is None:
            are_stored = False
        else:
            stored += build.stored.documents
            encoded += build.learned.rows
    if are_stored and encoded:
        report("encode", encoded, stored)
    else:
        report("read", stored, total)


def _pieces_begun(storage: Storage) -> int | None:
    """How many pieces a stopped build has; a piece is not divided again."""
    if not storage.exists(PLAN):
        return None
    found = orjson.loads(storage.read(PLAN)).get("cluster pieces")
    return int(found) if found is not None else None


def _check_workers(cluster: Cluster, storage: Storage) -> None:
    """Refuse, before work begins, workers of other versions, or who do not reach the folder."""
    seen = token_hex(8)
    storage.replace(_SEEN, seen.encode())
    here = _about(None)
    for node in cluster.ray.nodes():
        if not node["Alive"]:
            continue
        at = {"node:" + node["NodeManagerAddress"]: 0.001}
        task = cluster.ray.remote(num_cpus=0, resources=at)(_about)
        found = _result(cluster.ray, task.remote(storage.path(_SEEN)))
        name = node["NodeManagerHostname"]
        if found["versions"] != here["versions"]:
            raise MismatchError(
                f"expected workers with {here['versions']}, found {found['versions']} on {name}; "
                "install the same version everywhere"
            )
        if found["seen"] != seen:
            raise InputError(
                f"{storage.root}: expected a folder that all workers share, found that {name} does "
                "not see what is written there; name one on a shared disk"
            )


def _about(path: str | None) -> dict[str, str]:
    """The versions of this process, and what a file holds."""
    held = ""
    if path is not None:
        with suppress(OSError):
            held = Path(path).read_text("utf-8")
    return {"versions": f"tamis {version('tamis')}, Python {python_version()}", "seen": held}


@contextmanager
def _running(cluster: str, encoder: str) -> Iterator[Cluster]:
    """A cluster of this machine's for the ``with`` block, or a connection to one that runs."""
    require("cluster")
    ray: Any = import_module("ray")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray warns of a change
    try:
        if cluster == AUTO or cluster.isdecimal():
            cores = None if cluster == AUTO else int(cluster)
            if cores == 0:
                raise InputError("expected at least one worker, found --cluster 0; name how many")
            ray.init(
                num_cpus=cores, include_dashboard=False, object_store_memory=_STORE_BYTES, **quiet
            )
        else:
            ray.init(address=cluster, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = str(error).strip().partition("\n")[0]
        raise InputError(
            f"expected a cluster of Ray, found none for --cluster {cluster} ({said}); give a "
            "number of workers, auto, or the address of a cluster that runs"
        ) from error
    with redirect_stdout(sys.stderr):  # Ray prints there what it says of workers that died
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0)) if encoder != WORDS_ALONE else 0
        try:
            yield Cluster(ray, gpus or max(int(there.get("CPU", 1)), 1), min(gpus, 1))
        finally:
            ray.shutdown()
