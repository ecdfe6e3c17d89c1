"""The matrix: every path of work in the background, every step it asks of the machine, every error.

A cell lets one step of one path fail with one error until the server has noticed, then lets the
machine work again. Searches go on meanwhile, other indexes are written, and afterwards all that was
acknowledged is there, and no open file, thread or byte is held any more.
"""

import errno
import random
import re
import time
from collections import Counter
from dataclasses import dataclass

from strained import until
from strained_server import STEPS
from works import CODES, ERRORS, INDEX, OTHER, Work, new_id

LONG_TEXT = "an owl " + " ".join(map(str, range(4000)))  # files of more than a page are mapped
LOOK_S, LONGEST_LOOKS = 0.2, 10  # until nothing more is seen; some of it never ends


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


def fill(server):
    """Make the indexes of the matrix where there are none yet; what the server holds then."""
    for name in (INDEX, OTHER):
        if name not in server.truth:
            server.create(name)
            server.put(name, new_id(), wait="searchable", text=LONG_TEXT)
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
        numbers, names = rng.sample(ERRORS, len(ERRORS)), rng.sample(list(steps), len(steps))
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
    with server.explained():
        began = time.monotonic()
        server.order(refuse=cell.refusal)
        told_s = begin_work(server, cell, began, bounds)
        refused = server.order(allow=1)["refused"]
        _, well_s = until(server.is_well, bounds.well_s)
        cell.work.end(server)
        check_whole(server, at_rest, bounds)
        return cell.row(refused, told_s, well_s)


def begin_work(server, cell, began, bounds):
    """Have the work done while the machine refuses; when that was told."""
    went_well = cell.work.begin(server)
    if went_well or not cell.work.is_told:
        return None
    told_s = await_told(server, cell, began, bounds)
    assert server.found(INDEX)
    server.put(OTHER, new_id(), wait="searchable")
    return told_s


def await_told(server, cell, began, bounds):
    """Wait until the probes tell what is wrong; when, or None where nothing has come to be."""
    calm = None
    while server.codes() != {CODES[cell.number]}:
        refused, now = server.order(refused=1)["refused"], time.monotonic()
        tidies = cell.first or cell.step in cell.work.tidies  # the last times are to tidy up
        if (tidies or not refused) and is_found(server):  # not all steps are asked every time
            calm = calm or now
            if now - calm > bounds.calm_s * (1 if refused else 5):
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
    try:
        until(lambda: all(now <= then for now, then in zip(held(server), at_rest, strict=True)))
    except AssertionError:
        files = [*sorted(server.open_files().values()), *server.stale_maps()]
        raise AssertionError(f"expected {at_rest}, found {held(server)}: {files}") from None


def held(server):
    """Open files, mapped ones of generations that are over, and bytes that requests hold."""
    return len(server.open_files()), len(server.stale_maps()), server.held_bytes()
