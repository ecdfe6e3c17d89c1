"""The matrix: every path of work in the background, every step it asks of the machine, every error.

A cell lets one step of one path fail with one error until the server has noticed, then lets the
machine work again. Searches go on meanwhile, other indexes are written, and afterwards all that was
acknowledged is there, and no open file, thread or byte is held any more.
"""

import errno
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from strained import Strained, until
from strained_server import STEPS

from tamis.api.problems import of_error
from tamis.retriever import Passage
from tamis.retriever.editor import Editor

ERRORS = tuple(
    getattr(errno, name)
    for name in ("EMFILE", "ENFILE", "ENOSPC", "EDQUOT", "EIO", "EACCES", "ESTALE")
)
CODES = {number: of_error(OSError(number, "")).code for number in ERRORS}
REFUSED = (200, 201, 202, 503, 507)  # carried out, or refused by the machine
INDEX, OTHER = "a", "other"
LOOK_S, LONGEST_LOOKS = 0.2, 10  # until nothing more is seen; some of it never ends
_turn = count()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long what is wrong may go untold, and what is over go on, in seconds."""

    told_s: float
    well_s: float
    calm_s: float  # after which nothing is expected to fail any more


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a cell.

    Attributes:
        path: of the matrix.
        step: that failed.
        first: how many times it was done before.
        error: its name.
        refused: how often.
        told_s: from the refusal until a probe told it; None where nobody is to be told.
        well_s: from the end of the refusal until all was well.
    """

    path: str
    step: str
    first: int
    error: str
    refused: int
    told_s: float | None
    well_s: float


@dataclass(frozen=True, slots=True)
class Work:
    """A path of work.

    Attributes:
        name: in rows.
        covers: the places in the code that begin it, as `background_paths` names them.
        threads: a pattern of the names of those that do it.
        place: a pattern of the folders that it works in.
        begin: has it done, while the machine refuses; False where it went well all the same.
        end: sees to what it has left, when the machine works again.
        is_told: whether the probes tell of it while it cannot be done.
        tidies: steps that remove what nobody needs: they are left for the next time, untold.
        steps: that it is made of; None for those that are seen.
    """

    name: str
    covers: tuple[str, ...]
    threads: str
    place: str
    begin: Callable[[Strained], bool]
    end: Callable[[Strained], None] = lambda server: None
    is_told: bool = True
    tidies: tuple[str, ...] = ()
    steps: tuple[str, ...] | None = None

    def may_pass(self, step):
        """Whether a step may be left out at times, though it was seen."""
        return not self.is_told or step in self.tidies


@dataclass(frozen=True, slots=True)
class Cell:
    """One step of a path of work that fails, from its ``first`` time on, with one error."""

    work: Work
    step: str
    first: int
    number: int

    @property
    def refusal(self):
        """For `strained_server.py`."""
        return {
            "number": self.number,
            "steps": STEPS if self.step == "*" else [self.step],
            "place": self.work.place,
            "threads": self.work.threads,
            "first": self.first,
        }

    def row(self, refused, told_s, well_s):
        """What came of it."""
        error = errno.errorcode[self.number]
        return Row(self.work.name, self.step, self.first, error, refused, told_s, well_s)


def check_refusal(answer):
    """A refusal by the machine says which one it is, and that it may be tried again."""
    if not answer.is_success:
        assert answer.json()["code"] in CODES.values(), answer.text
        assert int(answer.headers["Retry-After"]) > 0


def new_id():
    return f"d{next(_turn)}"


def publish(server):
    server.put(INDEX, new_id())
    return False


def merge(server):
    check_refusal(server.put(INDEX, new_id(), *REFUSED, wait="searchable"))
    return False


def write(server):
    answer = server.put(INDEX, new_id(), *REFUSED, wait="searchable")
    check_refusal(answer)
    return answer.is_success


def remove(server):
    server.create("gone")
    server.remove("gone")
    return False


def create(server):
    answer = server.ask("PUT", "indexes/new", *REFUSED, json={"encoder": None})
    check_refusal(answer)
    if answer.is_success:
        server.ask("DELETE", "indexes/new")
    return True


def created(server):
    server.ask("PUT", "indexes/new", 201, json={"encoder": None})
    server.ask("DELETE", "indexes/new")


def task(path, **body):
    """A task that is to end as done, or as failed without a trace."""

    def begin(server):
        found = server.done(server.ask("POST", path, 202, json=body).json())
        assert found["status"] in ("done", "failed"), found
        assert "internal_error" not in found["message"], found
        return True

    return begin


def snapshot(server):
    return task(f"indexes/{INDEX}/snapshots", name=new_id())(server)


def restore(server):
    (kept, *_) = server.ask("GET", f"indexes/{INDEX}/snapshots").json()["snapshots"] or [None]
    if kept is None:
        task(f"indexes/{INDEX}/snapshots", name="kept")(server)
        return restore(server)
    return task("restore", index=INDEX, snapshot=kept["name"], to="restored")(server)


def restored(server):
    if server.ask("DELETE", "indexes/restored", 200, 404).status_code == 404:
        restore(server)
        server.ask("DELETE", "indexes/restored")


def follow(server):
    with Editor.open(server.given) as editor:
        editor.put([Passage(doc_id := new_id(), "an owl")], wait="searchable")
    server.truth["given"].add(doc_id)
    return False


def change_keys(server):
    os.utime(server.keys)
    return False


def nothing(server):
    return False


def keep_task(server):
    task(f"indexes/{INDEX}/optimize")(server)
    return False


def rest(server):
    server.put(INDEX, new_id())
    server.order(
        set={
            "tamis.api.serving.service.REST_AFTER": 1,
            "tamis.api.serving.data_folder.LONGEST_IDLE_S": -1.0,
        }
    )
    until(lambda: server.order(refused=1)["refused"])
    return True


def rested(server):
    server.order(
        set={
            "tamis.api.serving.service.REST_AFTER": 60,
            "tamis.api.serving.data_folder.LONGEST_IDLE_S": 300.0,
        }
    )


TIDIES = ("names", "remove", "remove_folder", "remove_empty_folder")
UPKEEP = "tamis-upkeep"
EXECUTOR = "asyncio|uvloop"  # of the event loop
SERVICE = "api/serving/service.py"
TASKS = ("api/serving/background_tasks.py: self._run",)
SYNCS = ("index/files/storage.py: self.sync_name",)
WORKS = (
    Work(
        "publish",
        ("api/serving/living_index.py: self._look_after", *SYNCS),
        f"{UPKEEP}|tamis-sync",
        f"/indexes/{INDEX}$",
        publish,
        tidies=TIDIES,
    ),
    Work(
        "merge",
        ("index/writing/writer.py: self.merge",),
        "tamis-merge",
        f"/indexes/{INDEX}$",
        merge,
        tidies=TIDIES,
    ),
    Work(
        "write",
        ("api/workers.py: self._work",),
        "tamis-write",
        f"/indexes/{INDEX}$",
        write,
        is_told=False,  # but to who writes: others open the index again at once
    ),
    Work(
        "create",
        (),
        "tamis-write",
        r"/data(/removed/\w+|/indexes/new)?$",
        create,
        created,
        is_told=False,
    ),
    Work("remove", ("api/serving/data_folder.py: self._look_after",), UPKEEP, "/data$", remove),
    Work("snapshot", TASKS, "tamis-task", "/data", snapshot, snapshot, is_told=False),
    Work("restore", TASKS, "tamis-task", "/data", restore, restored, is_told=False),
    Work(
        "optimize",
        TASKS,
        "tamis-task",
        "/data",
        task(f"indexes/{INDEX}/optimize"),
        task(f"indexes/{INDEX}/optimize"),
        is_told=False,
        tidies=TIDIES,
    ),
    Work("task records", (), f"tamis-task|{UPKEEP}", "/data", keep_task, steps=("database",)),
    Work(
        "follow", ("api/serving/given_index.py: self._follow",), "tamis-follow", "/given$", follow
    ),
    Work("keys", (f"{SERVICE}: part.look_after",), EXECUTOR, "", change_keys, steps=("keys",)),
    Work("any file", (), "MainThread", "", nothing, steps=("any_file",)),
    Work("turn", ("api/http/app.py: service.follow",), "MainThread", "", nothing, steps=("turn",)),
    Work(
        "rest",
        (f"{SERVICE}: self.library.free_memory",),
        EXECUTOR,
        f"/indexes/{INDEX}$",
        rest,
        rested,
        is_told=False,
        steps=("*",),
    ),
)


def fill(server):
    """Make the indexes of the matrix where there are none yet; what the server holds then."""
    for name in (INDEX, OTHER):
        if name not in server.truth:
            server.create(name)
            server.put(name, new_id(), wait="searchable")
    until(lambda: server.is_well() and is_found(server))
    return held(server)


def steps_of(server, work):
    """The steps that a path is made of, as they are seen when it goes well, and how often each."""
    if work.steps is not None:
        return dict.fromkeys(work.steps, 1)
    counts = Counter()
    for _ in range(2):  # the first time more is opened
        server.order(seen=1)
        work.begin(server)
        until(lambda: server.is_well() and is_found(server))
        counts = Counter()
        for _ in range(LONGEST_LOOKS):
            now = seen_of(server, work)
            counts += now
            if not now:
                break
            time.sleep(LOOK_S)
        work.end(server)
    return dict(sorted(counts.items()))


def seen_of(server, work):
    """The steps of a path that were done since this was last asked."""
    counts = Counter()
    for thread, step, place, times in server.order(seen=1)["seen"]:
        if re.match(work.threads, thread) and re.search(work.place, place):
            counts[step] += times
    return counts


def cells_of(work, steps, seed, most=None):
    """The cells of a path: all steps and errors, or so many that all errors are among them.

    Args:
        work: the path.
        steps: as `steps_of` gives them.
        seed: of the order, and of how many times a step is done before it fails.
        most: how many cells.
    """
    rng = random.Random(f"{seed} {work.name}")
    pairs = [(step, number) for step in steps for number in ERRORS]
    if most is not None:
        names, numbers = rng.sample(list(steps), len(steps)), rng.sample(ERRORS, len(ERRORS))
        pairs = [(names[at % len(names)], numbers[at % len(numbers)]) for at in range(most)]
    return [
        Cell(work, step, rng.randrange(steps[step]) if at % 2 else 0, number)
        for at, (step, number) in enumerate(pairs)
    ]


def run_cell(server, cell, at_rest, bounds):
    """Let one step of a path fail with one error, and be well again; what came of it.

    Args:
        server: to be strained.
        cell: which.
        at_rest: what the server holds at most when all is well.
        bounds: of time.
    """
    work, began = cell.work, time.monotonic()
    server.order(refuse=cell.refusal)
    went_well = work.begin(server)
    told_s = None
    if work.is_told and not went_well:
        told_s = await_told(server, cell, began, bounds)
        assert server.found(INDEX)
        server.put(OTHER, new_id(), wait="searchable")
    refused = server.order(allow=1)["refused"]
    assert refused or cell.first or work.may_pass(cell.step), "the step was not asked for"
    _, well_s = until(server.is_well, bounds.well_s)
    work.end(server)
    check_whole(server, at_rest, bounds)
    return cell.row(refused, told_s, well_s)


def await_told(server, cell, began, bounds):
    """Wait until the probes tell what is wrong; when, or None where nothing has come to be."""
    calm = None
    while server.codes() != {CODES[cell.number]}:
        refused, now = server.order(refused=1)["refused"], time.monotonic()
        tidies = cell.step in cell.work.tidies
        if is_found(server) and (tidies or cell.first):  # the last times are to tidy up
            calm = calm or now
            if now - calm > bounds.calm_s:
                return None
        assert now - began < bounds.told_s, f"nobody was told of {cell.row(refused, None, 0)}"
        time.sleep(0.01)
    told_s = time.monotonic() - began
    assert server.http.get("/healthz").status_code == 503
    return told_s


def is_found(server):
    """Whether all that was acknowledged is found."""
    return all(ids <= server.found(name) for name, ids in server.truth.items())


def check_whole(server, at_rest, bounds):
    """All that was acknowledged is found; nothing is held that is not held at rest."""
    until(lambda: is_found(server), bounds.well_s)
    until(lambda: not any((server.folder / "data" / "removed").iterdir()), bounds.well_s)
    until(lambda: all(now <= then for now, then in zip(held(server), at_rest, strict=True)))


def held(server):
    """Open files, and bytes that requests hold."""
    return len(server.open_files()), server.held_bytes()
