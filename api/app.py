"""create_app: indexes in, a web application out. Nothing happens at import."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.routing import Route

from tamis.api import problems
from tamis.api.limits import Limits
from tamis.api.metrics import Metrics
from tamis.api.openapi import describe
from tamis.api.operations import Operation, operations
from tamis.api.page import page
from tamis.api.problems import RequestError
from tamis.api.service import Service
from tamis.api.watch import ROUTE, Watch
from tamis.index.errors import TamisError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from tamis.api.keys import ApiKeys
    from tamis.api.model_context import ModelContext
    from tamis.retriever.reranker import Reranker
    from tamis.retriever.searcher import Searcher


def create_app(
    searchers: Mapping[str, Searcher],
    limits: Limits | None = None,
    *,
    keys: ApiKeys | None = None,
    reranker: Reranker | None = None,
    mcp: bool = False,
) -> FastAPI:
    """The search service over given indexes.

    Args:
        searchers: an opened index for each name in the paths.
        limits: bounds on what requests may ask for.
        keys: if given, everything but the page and the probes asks for one of them.
        reranker: the second stage of searches that ask for one; None takes the bundled one, which
            is loaded when it is first asked.
        mcp: answer the Model Context Protocol at ``/mcp`` too; needs its package.
    """
    metrics = Metrics()
    service = Service(searchers, limits or Limits(), reranker, metrics)
    table = operations(service)
    model_context = _model_context(table, service.limits, keys) if mcp else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.warm_up()
        following = asyncio.create_task(service.follow())
        async with model_context.run() if model_context else nullcontext():
            yield
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        service.close()

    app = FastAPI(title="Tamis", version=version("tamis"), redoc_url=None, lifespan=lifespan)
    app.router.redirect_slashes = False  # a redirect names no mistake, and may lead to another one
    for path in dict.fromkeys(operation.path for operation in table):
        of_path = {one.method: one for one in table if one.path == path}
        app.add_route(_route_path(path), _endpoint(path, of_path, keys), list(of_path))
    app.add_route("/", page(), ["GET"], include_in_schema=False)
    if model_context:
        app.router.routes.append(Route("/mcp", model_context, methods=["POST"]))
    document = describe(table, service.limits, needs_key=keys is not None)
    app.openapi = lambda: document  # type: ignore[method-assign]
    _handle_errors(app)
    app.add_middleware(Watch, metrics=metrics)
    return app


def _route_path(path: str) -> str:
    return path.replace("{id}", "{id:path}")  # ids may hold slashes


def _endpoint(
    path: str, by_method: Mapping[str, Operation], keys: ApiKeys | None
) -> Callable[[Request], Awaitable[Response]]:
    """One handler for all operations of a path, so that a wrong method is told all right ones."""

    async def endpoint(request: Request) -> Response:
        request.scope[ROUTE] = path
        operation = by_method["GET" if request.method == "HEAD" else request.method]
        if not operation.open:
            _check_key(keys, request)
        return await operation.answer(request)

    return endpoint


def _check_key(keys: ApiKeys | None, request: Request) -> None:
    if keys is not None and not keys.allow(request):
        raise RequestError(
            401,
            "unauthorized",
            "expected an API key of this server, found none that fits; "
            "send it as Authorization: Bearer KEY",
            {"WWW-Authenticate": "Bearer"},
        )


def _model_context(
    table: Sequence[Operation], limits: Limits, keys: ApiKeys | None
) -> ModelContext:
    from tamis.api.model_context import ModelContext

    return ModelContext(table, limits.search_body_bytes, partial(_check_key, keys))


def _handle_errors(app: FastAPI) -> None:
    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        return problems.response(error)

    async def mistaken(request: Request, error: Exception) -> Response:
        assert isinstance(error, TamisError)
        return problems.response(problems.of_error(error))

    async def unrouted(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problems.response(problems.of_status(error, request.url.path))

    app.add_exception_handler(RequestError, refused)
    app.add_exception_handler(TamisError, mistaken)
    app.add_exception_handler(HTTPException, unrouted)
