"""Work on few threads: nobody waits for long work of others, and what nobody wants ends."""

import asyncio
import threading
import time

import pytest

from tamis.api.memory import Memory
from tamis.api.problems import RequestError
from tamis.api.work import calls, workers
from tamis.api.work.calls import Asker
from tamis.api.work.workers import MOST_JOINED, PARKED, Workers
from tamis.index.interrupts import InterruptedWorkError, check_for_interrupts


@pytest.fixture(autouse=True)
def no_slices(monkeypatch):
    """Long work looks at each check, and lets others go first."""
    monkeypatch.setattr(calls, "SLICE_S", 0.0)
    monkeypatch.setattr(calls, "LOOK_S", 0.0)


class Panic(BaseException):
    """As libraries written in Rust raise it."""


class Long:
    """Work of many units, which goes on until it is told to end."""

    def __init__(self):
        self.begun, self.finish, self.ended = (threading.Event() for _ in range(3))
        self.units = 0

    def __call__(self):
        self.begun.set()
        try:
            while not self.finish.is_set():
                self.units += 1
                time.sleep(0.0002)
                check_for_interrupts()
            return self.units
        finally:
            self.ended.set()


def run(scenario):
    """Run a scenario with what makes workers; each is closed at the end."""

    async def main():
        made = []

        def make(threads=1, waiting=256):
            made.append(Workers("test", threads, waiting, Memory(1 << 30)))
            return made[-1]

        try:
            await asyncio.wait_for(scenario(make), 30)
        finally:
            for one in made:
                await asyncio.to_thread(one.close)

    asyncio.run(main())


async def begun(*works):
    for work in works:
        await asyncio.to_thread(work.begun.wait, 10)


def test_a_short_call_is_answered_while_a_long_one_is_at_work():
    async def scenario(make):
        workers, long = make(), Long()
        running = workers.start(long, is_long=True)
        await begun(long)
        for number in range(20):
            assert await workers.run(lambda number=number: number) == number
        assert not running.done()
        long.finish.set()
        assert await running == long.units

    run(scenario)


def test_long_calls_of_two_clients_go_on_by_turns():
    async def scenario(make):
        workers, first, second = make(), Long(), Long()
        running = [
            workers.start(first, Asker("a"), is_long=True),
            workers.start(second, Asker("b")),
        ]
        await begun(first, second)
        before = first.units, second.units
        while min(first.units - before[0], second.units - before[1]) < 20:
            await asyncio.sleep(0.001)
        for long in (first, second):
            long.finish.set()
        await asyncio.gather(*running)

    run(scenario)


def test_work_that_nobody_waits_for_ends_at_its_next_unit():
    async def scenario(make):
        workers, long = make(), Long()
        running = workers.start(long)
        await begun(long)
        running.set_exception(RequestError(503, "timed_out", "too long"))
        running.exception()
        assert await asyncio.to_thread(long.ended.wait, 10)
        assert await workers.run(lambda: 1) == 1

    run(scenario)


def test_work_that_never_asks_is_done_to_its_end():
    async def scenario(make):
        workers, release, done = make(), threading.Event(), []
        work = workers.start(lambda: (release.wait(10), done.append(1)))
        await asyncio.sleep(0.01)
        work.cancel()
        release.set()
        await workers.run(lambda: None)
        assert done == [1]

    run(scenario)


@pytest.mark.parametrize("raised", [RuntimeError, Panic, SystemExit, StopIteration])
def test_whatever_work_raises_is_told_and_ends_no_thread(raised):
    async def scenario(make):
        workers = make()

        def broken():
            raise raised("it broke")

        for _ in range(3):
            with pytest.raises(RuntimeError, match="it broke"):
                await workers.run(broken)
        assert await workers.run(lambda: 1) == 1

    run(scenario)


def test_calls_that_nobody_waits_for_never_begin():
    async def scenario(make):
        workers, release, done = make(), threading.Event(), []
        first = workers.start(lambda: release.wait(10))
        for _ in range(5):
            workers.start(lambda: done.append(1)).cancel()
        release.set()
        await first
        await workers.run(lambda: None)
        assert not done
        assert workers.waiting == 0

    run(scenario)


def test_short_calls_begin_however_many_long_ones_wait():
    async def scenario(make):
        workers, longs = make(threads=2), [Long() for _ in range(40)]
        running = [
            workers.start(long, Asker(f"{n % 13}"), is_long=True) for n, long in enumerate(longs)
        ]
        await begun(longs[0], longs[1])
        assert await workers.run(lambda: 5) == 5
        assert len(workers._threads) <= 2 + 2 + PARKED
        for long in longs:
            long.finish.set()
        await asyncio.gather(*running)

    run(scenario)


def test_one_client_begins_but_a_few_long_calls_at_once():
    async def scenario(make):
        workers, longs, other = make(threads=2), [Long() for _ in range(10)], Long()
        running = [workers.start(long, Asker("a"), is_long=True) for long in longs]
        await begun(longs[0], longs[1])
        running.append(workers.start(other, Asker("b"), is_long=True))
        await begun(other)
        assert [long.begun.is_set() for long in longs] == [True] * 2 + [False] * 8
        for long in (*longs, other):
            long.finish.set()
        await asyncio.gather(*running)

    run(scenario)


def test_the_client_with_most_calls_loses_one_to_a_newcomer_where_there_is_no_room():
    async def scenario(make):
        workers, release = make(waiting=3), threading.Event()
        calls = [workers.start(lambda: release.wait(10), Asker("a")) for _ in range(4)]
        with pytest.raises(RequestError, match="fewer than 4 requests"):
            workers.start(lambda: 1, Asker("a"))
        newcomer = workers.start(lambda: 2, Asker("b"))
        with pytest.raises(RequestError) as lost:
            await calls[-1]
        assert (lost.value.status, lost.value.code) == (503, "overloaded")
        release.set()
        assert await newcomer == 2
        assert await asyncio.gather(*calls[:-1]) == [True] * 3

    run(scenario)


def test_long_calls_may_take_only_a_part_of_the_room():
    async def scenario(make):
        workers, release = make(waiting=8), threading.Event()
        calls = [workers.start(lambda: release.wait(10), is_long=True) for _ in range(3)]
        with pytest.raises(RequestError, match="fewer than 3 long requests"):
            workers.start(lambda: 1, is_long=True)
        calls.append(workers.start(lambda: True))
        release.set()
        assert await asyncio.gather(*calls) == [True] * 4

    run(scenario)


def test_places_of_calls_that_nobody_waits_for_are_free():
    async def scenario(make):
        workers, release = make(waiting=2), threading.Event()
        first = workers.start(lambda: release.wait(10))
        for _ in range(10):
            workers.start(lambda: 1).cancel()
        release.set()
        assert await first

    run(scenario)


def test_alike_calls_are_joined_and_a_mistake_is_that_of_one_alone():
    async def scenario(make):
        workers, release, seen = make(), threading.Event(), []

        def halves(jobs):
            seen.append(list(jobs))
            return [8 // job for job in jobs]

        first = workers.start(lambda: release.wait(10))
        calls = [
            workers.start_joined("halves", job, halves, Asker(str(job))) for job in (1, 2, 0, 4)
        ]
        other = workers.start_joined("other", 8, halves)
        release.set()
        assert await first
        found = await asyncio.gather(*calls, other, return_exceptions=True)
        assert found[:2] == [8, 4]
        assert isinstance(found[2], ZeroDivisionError)
        assert found[3:] == [2, 1]
        assert seen[0] == [1, 2, 0, 4]

    run(scenario)


def test_alike_calls_that_come_while_a_thread_wakes_are_done_together(monkeypatch):
    awake, do = threading.Event(), Workers._do

    def wait_and_do(self, seat):
        awake.wait(10)
        do(self, seat)

    monkeypatch.setattr(Workers, "_do", wait_and_do)

    async def scenario(make):
        workers, seen = make(threads=2), []

        def doubled(jobs):
            seen.append(list(jobs))
            return [2 * job for job in jobs]

        calls = [workers.start_joined("same", job, doubled) for job in range(MOST_JOINED + 1)]
        awake.set()
        assert await asyncio.gather(*calls) == [2 * job for job in range(MOST_JOINED + 1)]
        assert sorted(map(len, seen)) == [1, MOST_JOINED]
        assert workers.waiting == 0

    run(scenario)


def test_joined_calls_end_when_nobody_waits_for_any_of_them():
    async def scenario(make):
        workers, release, ended = make(), threading.Event(), []

        def endless(jobs):
            try:
                while True:
                    time.sleep(0.001)
                    check_for_interrupts()
            except InterruptedWorkError:
                ended.append(len(jobs))
                raise

        first = workers.start(lambda: release.wait(10))
        calls = [workers.start_joined("same", job, endless) for job in range(3)]
        release.set()
        await first
        for call in calls:
            await asyncio.sleep(0.02)
            assert not ended
            call.cancel()
        await workers.run(lambda: None)
        assert ended == [3]

    run(scenario)


def test_threads_of_parked_calls_end_when_they_are_idle(monkeypatch):
    monkeypatch.setattr(workers, "IDLE_S", 0.05)

    async def scenario(make):
        workers, longs = make(threads=2), [Long() for _ in range(6)]
        running = [workers.start(long, Asker(str(n))) for n, long in enumerate(longs)]
        await begun(*longs)
        assert len(workers._threads) == 6
        for long in longs:
            long.finish.set()
        await asyncio.gather(*running)
        while len(workers._threads) > 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert len(workers._threads) == 2
        assert await workers.run(lambda: 3) == 3

    run(scenario)


def test_a_system_without_further_threads_costs_no_call(monkeypatch):
    async def scenario(make):
        workers, long = make(), Long()
        running = workers.start(long)
        await begun(long)

        def refuse(self):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        waiting = workers.start(lambda: 4)
        long.finish.set()
        assert await running
        assert await waiting == 4
        monkeypatch.undo()

    run(scenario)
