"""Progress of a start and of long work: on standard error, and only where that is a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from threading import Timer
from time import perf_counter
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress, TaskID

    from tamis.index.files.progress import Progress as Report


QUIET_S = 0.5  # a command that is ready by then has something to show instead


class StartUp:
    """What comes before a command's own work: imports, models and compiled loops are loaded."""

    def __init__(self) -> None:
        self._began = self._took_s = 0.0
        self._notice: Timer | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run a command in the ``with`` block; a terminal is told of a slow start."""
        self._began, self._took_s = perf_counter(), 0.0
        if sys.stderr.isatty():
            self._notice = Timer(QUIET_S, _say_starting)
            self._notice.daemon = True
            self._notice.start()
        try:
            yield
        finally:
            self.over()

    def over(self) -> float:
        """The command begins its work; the seconds until the first call of this."""
        if self._notice is not None:
            self._notice.cancel()
            self._notice = None
        self._took_s = self._took_s or perf_counter() - self._began
        return self._took_s

    def since_s(self) -> float:
        """The seconds since it was over."""
        return perf_counter() - self._began - self.over()


START_UP = StartUp()  # of this process


def _say_starting() -> None:
    typer.echo("tamis: starting up ...", err=True)


@contextmanager
def progress_on_terminal(
    count: Callable[[], int | None] = lambda: None, unit: str = "documents"
) -> Iterator[Report | None]:
    """Draw a bar a step, with the time left and the speed.

    Args:
        count: how much there is to do, where a step does not say; called on a terminal alone.
        unit: what is counted.

    Yields:
        ``report(step, done, total)``, or None where nobody looks.
    """
    if not sys.stderr.isatty():
        yield None
        return
    START_UP.over()
    with _bars(unit) as bars:
        steps = _Steps(bars, count())
        yield steps.report
        steps.finish()


def say_if_first_use() -> None:
    """Say on a terminal that the first build or search will be slow to begin, and why."""
    if not sys.stderr.isatty():
        return
    from tamis.index.segment.loops.compiled import is_first_use

    if is_first_use():
        say_compiling("20 s")


def say_compiling(time: str) -> None:
    """Say on a terminal what goes on, and for about how long."""
    if sys.stderr.isatty():
        typer.echo(f"tamis: compiling for this machine, once; takes about {time}", err=True)


class _Steps:
    """One line: the step that is done now, and at the end the last one."""

    def __init__(self, bars: Progress, expected: int | None) -> None:
        self._bars = bars
        self._expected = expected
        self._step: str | None = None
        self._task: TaskID | None = None

    def report(self, step: str, done: int, total: int | None) -> None:
        """Show that ``done`` of ``total`` are done in this step."""
        if self._task is None:
            self._task = self._bars.add_task(step, total=total or self._expected)
        elif step != self._step:
            self._bars.reset(self._task, total=total or self._expected, description=step)
        self._step = step
        if total is not None:
            self._bars.update(self._task, total=total)
        self._bars.update(self._task, completed=done)

    def finish(self) -> None:
        """Let the line end with what was done, also where nobody knew how much there was."""
        for bar in self._bars.tasks:
            if bar.total is None:
                self._bars.update(bar.id, total=max(bar.completed, 1))


def _bars(unit: str) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            took_s = task.finished_time or task.elapsed or 0
            return Text(f"{task.completed / took_s:,.0f} {unit}/s" if took_s else "")

    return Progress(
        TextColumn("{task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        Speed(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
