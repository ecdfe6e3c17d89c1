"""Overload, the page, and the address that is listened on."""

import asyncio
import re
import socket
import threading

import pytest

from tamis.api.http.server import address_of, listen
from tamis.api.limits import Limits
from tamis.api.memory import Memory
from tamis.api.problems import RequestError
from tamis.api.serving.service import Service
from tamis.api.work.workers import Workers
from tamis.index import InputError


def test_work_beyond_the_room_is_refused_and_room_comes_back():
    release = threading.Event()

    async def overload():
        workers = Workers("test", threads=1, waiting=1, memory=Memory(1 << 30))
        running = [asyncio.ensure_future(workers.run(lambda: release.wait(10))) for _ in range(2)]
        await asyncio.sleep(0)
        assert not workers.has_room
        with pytest.raises(RequestError) as refused:
            await workers.run(lambda: 1)
        assert (refused.value.status, refused.value.code) == (503, "overloaded")
        assert refused.value.headers == {"Retry-After": "1"}
        release.set()
        assert await asyncio.gather(*running) == [True, True]
        await asyncio.sleep(0)
        assert await workers.run(lambda: 7) == 7
        workers.close()

    asyncio.run(overload())


def test_a_client_that_leaves_keeps_its_place_until_the_work_is_done():
    begun, release = threading.Event(), threading.Event()

    async def leave():
        workers = Workers("test", threads=1, waiting=0, memory=Memory(1 << 30))
        task = asyncio.ensure_future(workers.run(lambda: (begun.set(), release.wait(10))))
        await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not workers.has_room
        release.set()
        while not workers.has_room:
            await asyncio.sleep(0.001)
        workers.close()

    asyncio.run(asyncio.wait_for(leave(), 10))


def test_upkeep_that_hangs_is_not_begun_again_until_it_ends():
    class Hanging:
        fault = None

        def __init__(self):
            self.begun, self.go_on = 0, threading.Event()

        def look_after(self):
            self.begun += 1
            self.go_on.wait(10)

    async def look_after():
        service, part = Service({}, Limits()), Hanging()
        service.watched["part"] = part
        for turn in range(1, 20):
            service._look_after(turn, {})
        part.go_on.set()
        await service._upkeeps["part"]
        assert part.begun == 1
        service._look_after(20, {})
        await service._upkeeps["part"]
        assert part.begun == 2
        await asyncio.to_thread(service.close)

    asyncio.run(look_after())


def test_only_loopback_is_listened_on_without_keys():
    for host in ("0.0.0.0", "::"):
        with pytest.raises(InputError, match="--api-key-file"):
            listen(host, 0, guarded=False)
    listen("0.0.0.0", 0, guarded=True).close()


def test_port_zero_takes_a_free_one_and_a_taken_one_is_told():
    with listen("127.0.0.1", 0, guarded=False) as first:
        assert first.proto == socket.IPPROTO_TCP  # else answers wait for Nagle's delay
        address = address_of(first)
        port = int(address.rpartition(":")[2])
        assert address == f"http://127.0.0.1:{port}"
        first.listen()
        with pytest.raises(InputError, match=f"127.0.0.1:{port}"):
            listen("127.0.0.1", port, guarded=False)


def test_a_host_that_is_not_here_is_told():
    with pytest.raises(InputError, match=r"no\.such\.host\.invalid"):
        listen("no.such.host.invalid", 0, guarded=True)


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_an_ipv6_address_is_printed_as_a_url():
    try:
        listener = listen("::1", 0, guarded=False)
    except InputError:
        pytest.skip("needs IPv6")
    with listener:
        assert re.fullmatch(r"http://\[::1\]:\d+", address_of(listener))
