"""Work in several processes at once, each with a device and cores of its own; knows no torch."""

from __future__ import annotations

import os
import signal
import socket
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.context import SpawnProcess


@dataclass(frozen=True)
class Worker:
    """One of some processes that work side by side.

    Attributes:
        rank: from 0.
        count: of processes.
        port: free on this machine.
        kind: of device, ``cuda`` or ``cpu``.
        start: where all wait for one another before the clock starts.
    """

    rank: int
    count: int
    port: int
    kind: str
    start: Any

    @property
    def device(self) -> str:
        """Its own."""
        return "cpu" if self.kind == "cpu" else f"cuda:{self.rank}"


def together(
    work: Callable[..., Any], count: int, cores: int, kind: str, limit_s: float, *given: object
) -> list[Any]:
    """What ``work(worker, *given)`` returns in each of ``count`` processes of ``cores`` cores.

    Raises:
        RuntimeError: one failed or died, or the time is up; all have been ended.
    """
    context = get_context("spawn")
    start, port = context.Barrier(count), free_port()
    usual = os.sched_getaffinity(0)
    workers = []
    try:
        for rank in range(count):
            receiving, sending = context.Pipe(duplex=False)
            worker = Worker(rank, count, port, kind, start)
            process = context.Process(target=_run, args=(sending, work, worker, *given))
            os.sched_setaffinity(0, sorted(usual)[rank * cores : (rank + 1) * cores])
            process.start()  # with the cores of this thread
            sending.close()  # so that a death is the end of the pipe
            workers.append((process, receiving))
        os.sched_setaffinity(0, usual)
        return _answers(workers, limit_s)
    finally:
        os.sched_setaffinity(0, usual)
        for process, _ in workers:
            _end(process)


def _end(process: SpawnProcess) -> None:
    """Kill a process and all that it started; no more than itself before it has begun."""
    assert process.pid
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _run(sending: Any, work: Callable[..., Any], worker: Worker, *given: object) -> None:  # noqa: ANN401
    os.setpgid(0, 0)
    try:
        answer = (True, work(worker, *given))
    except Exception as error:  # noqa: BLE001  told by the parent
        traceback.print_exc()
        answer = (False, "".join(traceback.format_exception_only(error)).strip())
    sending.send(answer)


def _answers(workers: Sequence[tuple[Any, Any]], limit_s: float) -> list[Any]:
    """What the workers send, in their order; the first failure ends the waiting."""
    answers: dict[int, Any] = {}
    until = time.monotonic() + limit_s
    numbers = {pipe: number for number, (_, pipe) in enumerate(workers)}
    while len(answers) < len(workers):
        open_pipes = [pipe for pipe, number in numbers.items() if number not in answers]
        ready = connection.wait(open_pipes, max(0.0, until - time.monotonic()))
        if not ready:
            raise RuntimeError(f"expected an end within {limit_s:.0f} s; measure less")
        for pipe in (one for one in open_pipes if one in ready):
            number = numbers[pipe]
            name = f"process {number} of {len(workers)}"
            try:
                done, answers[number] = pipe.recv()
            except EOFError:
                workers[number][0].join(10)
                code = workers[number][0].exitcode
                raise RuntimeError(f"{name} died with exit code {code}") from None
            if not done:
                raise RuntimeError(f"{name} failed: {answers[number]}")
    return [answers[number] for number in range(len(workers))]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
