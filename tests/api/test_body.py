"""A body is read as long as it comes fast enough, and not longer."""

import asyncio

import pytest
from starlette.requests import Request

from tamis.api.body import chunks, read_body
from tamis.api.memory import HOLDING, Memory
from tamis.api.problems import RequestError


def request(pieces, pause_s, holding=None, late=None):
    """A request whose body comes in pieces, each after a pause; piece ``late`` after a long one."""
    left = list(pieces)

    async def receive():
        await asyncio.sleep(2.0 if len(pieces) - len(left) == late else pause_s)
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    return Request({"type": "http", "headers": [], HOLDING: holding}, receive)


async def collected(asked, idle_s, rate, own_s=0.0):
    found = []
    async for chunk in chunks(asked, idle_s, rate):
        found.append(chunk)
        await asyncio.sleep(own_s)
    return b"".join(found)


def test_a_body_comes_as_it_was_sent():
    pieces = [b"a", b"", b"bc", b"d"]
    assert asyncio.run(collected(request(pieces, 0.0), 5, 1000)) == b"abcd"


def test_a_body_that_drips_is_refused_though_it_is_never_silent():
    pieces = [b"x"] * 1000  # 50 bytes a second: each within the time of silence
    with pytest.raises(RequestError) as refused:
        asyncio.run(collected(request(pieces, 0.02), idle_s=0.3, rate=1000))
    assert (refused.value.status, refused.value.code) == (408, "request_timeout")
    assert refused.value.headers == {"Connection": "close"}


def test_a_body_at_its_rate_may_take_longer_than_a_silence():
    pieces = [b"x" * 100] * 30  # at least half a second in all, at up to 5000 bytes a second
    found = asyncio.run(collected(request(pieces, 0.02), idle_s=0.3, rate=200))
    assert found == b"x" * 3000


def test_a_silence_ends_a_body_whatever_came_before():
    asked = request([b"x" * 1_000_000, b"y"], 0.0, late=1)
    with pytest.raises(RequestError, match="found 1000000 bytes"):
        asyncio.run(collected(asked, idle_s=0.1, rate=1000))


def test_the_time_that_the_server_takes_is_its_own():
    pieces = [b"x"] * 10
    found = asyncio.run(collected(request(pieces, 0.0), idle_s=0.1, rate=1000, own_s=0.05))
    assert found == b"x" * 10


def test_a_body_of_single_bytes_takes_no_more_memory_than_its_size():
    memory = Memory(1 << 20)
    with memory.holding() as holding:
        body = asyncio.run(read_body(request([b"x"] * 5000, 0.0, holding), 10_000, 5))
        assert body == b"x" * 5000
        assert memory.used_bytes == 5000
        asyncio.run(read_body(request([b"1,2,3"], 0.0, holding), 10, 5))
        assert memory.used_bytes == 5000 + 5 + 2 * 64
