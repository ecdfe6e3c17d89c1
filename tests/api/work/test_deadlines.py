"""A call ends when its time is up or its client has left, and not before."""

import asyncio

import pytest
from starlette.requests import Request

from tamis.api.work import deadlines
from tamis.api.work.deadlines import ClientLeftError, TimeUpError, answered


class Client:
    """The other end of a request: a body in one piece, and then nothing until it leaves."""

    def __init__(self):
        self.messages = asyncio.Queue()
        self.messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    def leave(self):
        self.messages.put_nowait({"type": "http.disconnect"})

    @property
    def request(self):
        return Request({"type": "http"}, self.messages.get)


def run(scenario):
    async def main():
        before = len(asyncio.all_tasks())
        await scenario(asyncio.get_running_loop().create_future(), Client())
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == before  # no task is left to watch

    asyncio.run(asyncio.wait_for(main(), 10))


@pytest.fixture
def watch_at_once(monkeypatch):
    monkeypatch.setattr(deadlines, "WATCH_AFTER_S", 0.0)


def test_an_answer_in_time_is_given():
    async def scenario(call, client):
        asyncio.get_running_loop().call_later(0.01, call.set_result, 7)
        assert await answered(call, client.request, 5) == 7

    run(scenario)


def test_an_answer_is_given_while_the_client_is_watched(watch_at_once):
    async def scenario(call, client):
        asyncio.get_running_loop().call_later(0.05, call.set_result, 7)
        assert await answered(call, client.request, 5) == 7

    run(scenario)


def test_a_call_ends_when_its_time_is_up():
    async def scenario(call, client):
        with pytest.raises(TimeUpError):
            await answered(call, client.request, 0.02)
        assert call.done()

    run(scenario)


def test_a_call_ends_when_its_client_has_left(watch_at_once):
    async def scenario(call, client):
        asyncio.get_running_loop().call_later(0.02, client.leave)
        with pytest.raises(ClientLeftError):
            await answered(call, client.request, 5)
        assert call.done()

    run(scenario)


def test_the_failure_of_a_call_is_its_own():
    async def scenario(call, client):
        asyncio.get_running_loop().call_later(0.01, call.set_exception, ValueError("mine"))
        with pytest.raises(ValueError, match="mine"):
            await answered(call, client.request, 5)

    run(scenario)


def test_a_call_ends_with_the_task_that_waits_for_it():
    async def scenario(call, client):
        task = asyncio.ensure_future(answered(call, client.request, 5))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.cancelled()

    run(scenario)
