"""Paths lead to operations; what waits together is answered together, each as if alone."""

import asyncio
import json
import threading

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from tamis.api import Limits
from tamis.api.http.routes import Routes
from tamis.api.memory import Memory
from tamis.api.messages.requests import SearchRequest
from tamis.api.operations.operation import Operation
from tamis.api.operations.searching import Search
from tamis.api.serving.service import Service
from tamis.api.work.workers import MOST_JOINED, Workers
from tamis.index import InputError


def operation(method, path):
    return Operation(method, path, f"{method} {path}", "", None, str)


TABLE = (
    operation("GET", "/a"),
    operation("POST", "/a/{name}/delete"),
    operation("GET", "/a/{name}/{id}"),
    operation("PUT", "/a/{name}/{id}"),
)


async def ask(method, path):
    """What answers: the operation and its parameters, or whatever lies behind."""
    sent = []

    async def behind(scope, receive, send):
        await PlainTextResponse("behind")(scope, receive, send)

    async def answer(operation, request: Request):
        return PlainTextResponse(f"{operation.name} {request.path_params}")

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
    await Routes(behind, TABLE, answer, Memory(1 << 30))(scope, None, send)
    return sent[0]["status"], sent[1]["body"].decode(), dict(sent[0]["headers"])


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/a", "GET /a {}"),
        ("HEAD", "/a", "GET /a {}"),
        ("POST", "/a/x/delete", "POST /a/{name}/delete {'name': 'x'}"),
        ("GET", "/a/x/delete", "GET /a/{name}/{id} {'name': 'x', 'id': 'delete'}"),
        ("PUT", "/a/x/y/z\n", "PUT /a/{name}/{id} {'name': 'x', 'id': 'y/z\\n'}"),
        ("GET", "/a/x/", "behind"),
        ("GET", "/b", "behind"),
        ("GET", "/aa", "behind"),
        ("GET", "/a\n", "behind"),
    ],
)
def test_a_path_leads_to_the_operation_that_has_the_method(method, path, expected):
    status, body, _ = asyncio.run(ask(method, path))
    assert (status, body) == (200, expected)


def test_a_method_that_no_fitting_path_has_is_told_all_there_are():
    status, body, headers = asyncio.run(ask("PATCH", "/a/x/delete"))
    assert status == 405
    assert "method_not_allowed" in body
    assert headers[b"allow"] == b"POST, GET, PUT"


def test_calls_of_one_key_that_wait_are_done_together_and_in_order():
    release, passes = threading.Event(), []

    def work(jobs):
        passes.append(list(jobs))
        return [10 * job for job in jobs]

    async def main():
        workers = Workers("test", threads=1, waiting=100, memory=Memory(1 << 30))
        blocked = workers.start(lambda: release.wait(10))
        keys = ["a"] * 20 + ["b"] * 2 + [None] * 2 + ["a"]
        calls = [workers.start_joined(key, number, work) for number, key in enumerate(keys)]
        release.set()
        assert await asyncio.gather(*calls) == [10 * number for number in range(len(keys))]
        await blocked
        workers.close()

    asyncio.run(main())
    sizes = [len(one) for one in passes]
    assert sizes == [MOST_JOINED, 21 - MOST_JOINED, 2, 1, 1]


def test_the_mistake_of_one_is_not_that_of_those_joined_to_it():
    release = threading.Event()

    def work(jobs):
        if 3 in jobs:
            raise InputError("three")
        return jobs

    async def main():
        workers = Workers("test", threads=1, waiting=100, memory=Memory(1 << 30))
        workers.start(lambda: release.wait(10))
        calls = [workers.start_joined("a", number, work) for number in range(5)]
        release.set()
        found = await asyncio.gather(*calls, return_exceptions=True)
        workers.close()
        return found

    found = asyncio.run(main())
    assert found[:3] + found[4:] == [0, 1, 2, 4]
    assert isinstance(found[3], InputError)


def test_a_call_that_nobody_waits_for_any_more_is_not_begun():
    release, done = threading.Event(), []

    async def main():
        workers = Workers("test", threads=1, waiting=100, memory=Memory(1 << 30))
        blocked = workers.start(lambda: release.wait(10))
        left = workers.start_joined("a", 1, lambda jobs: done.extend(jobs) or jobs)
        kept = workers.start_joined("a", 2, lambda jobs: done.extend(jobs) or jobs)
        left.cancel()
        release.set()
        assert await kept == 2
        await blocked
        await asyncio.sleep(0.01)
        assert workers.has_room
        assert workers.waiting == 0
        workers.close()

    asyncio.run(main())
    assert done == [2]


def test_searches_joined_find_what_each_finds_alone(searchers):
    async def main():
        service = Service(searchers, Limits(workers=1))
        asked = [
            SearchRequest(query=query, k=2, **options)
            for query in ("owls", "fish at night", "sieve", "no such thing")
            for options in ({}, {"explain": True}, {"offset": 1}, {"fields": ["title"]})
        ]
        request = Request({"type": "http"})
        jobs = [Search(service, searchers["both"], [one.query], one, request) for one in asked]
        by_key = {}
        for job in jobs:
            by_key.setdefault(job.key, []).append(job)
        assert len(by_key) == 3
        for alike in by_key.values():
            joined = [shown(one) for one in Search.run_joined(alike)]
            alone = [shown(Search.run_joined([job])[0]) for job in alike]
            assert joined == alone
        service.close()

    def shown(found):
        answer = json.loads(found[0])
        return [
            (hit["id"], hit["score"], hit["rank"], hit["matched_terms"]) for hit in answer["hits"]
        ]

    asyncio.run(main())
