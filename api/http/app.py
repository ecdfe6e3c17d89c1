"""create_app: indexes in, a web application out. Nothing happens at import."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Route

from tamis.api import problems
from tamis.api.http.docs import docs
from tamis.api.http.hosts import HostGuard, read_origins
from tamis.api.http.idempotency import HEADER, REPLAYED, Idempotency
from tamis.api.http.keys import KeyFile, bearer
from tamis.api.http.openapi import describe
from tamis.api.http.page import page
from tamis.api.http.request_log import RequestLog
from tamis.api.http.routes import Routes
from tamis.api.limits import Limits
from tamis.api.operations.grants import EVERYTHING, GRANT, check_operation, discreet
from tamis.api.operations.table import OPERATIONS
from tamis.api.problems import RequestError
from tamis.api.serving.service import CLIENT, Service
from tamis.index.errors import InputError, TamisError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from tamis.api.broker.broker import Broker
    from tamis.api.http.keys import ApiKeys
    from tamis.api.http.model_context import ModelContext
    from tamis.api.operations.grants import Grant
    from tamis.api.operations.operation import Operation
    from tamis.api.serving.data_folder import DataFolder
    from tamis.retriever.rerank.reranker import Reranker
    from tamis.retriever.searcher import Searcher


LOG = logging.getLogger("tamis.api")


def create_app(
    searchers: Mapping[str, Searcher],
    limits: Limits | None = None,
    *,
    keys: ApiKeys | None = None,
    reranker: Reranker | None = None,
    data: DataFolder | None = None,
    mcp: bool = False,
    hosts: Collection[str] | None = None,
    origins: Collection[str] = (),
) -> FastAPI:
    """The search service over given indexes, and over those of a data folder.

    Args:
        searchers: an opened index for each name in the paths; they are only read.
        limits: bounds on what requests may ask for.
        keys: if given, everything but the page and the probes asks for one of them.
        reranker: the second stage of searches that ask for one; None takes the bundled one, which
            is loaded when it is first asked.
        data: indexes that clients create, write to and remove; closed when the application ends.
        mcp: answer the Model Context Protocol at ``/mcp`` too; needs its package.
        hosts: names in the Host header to answer to, beside addresses and ``localhost``; None
            answers to any.
        origins: other sites whose pages may ask (CORS), such as ``https://search.example``.

    Raises:
        InputError: an origin is none, or a key is of an index that is not there.
    """
    read_origins(origins)  # before anything is opened
    service = Service(searchers, limits or Limits(), reranker, data)
    return application(service, OPERATIONS, keys=keys, mcp=mcp, hosts=hosts, origins=origins)


def create_broker_app(
    broker: Broker,
    *,
    keys: ApiKeys | None = None,
    mcp: bool = False,
    hosts: Collection[str] | None = None,
    origins: Collection[str] = (),
) -> FastAPI:
    """The search service over the shards of a broker; other arguments as of `create_app`."""
    from tamis.api.broker.table import OPERATIONS as OF_BROKER

    return application(broker, OF_BROKER, keys=keys, mcp=mcp, hosts=hosts, origins=origins)


def application(
    service: Service,
    operations: Sequence[Operation],
    *,
    keys: ApiKeys | None = None,
    mcp: bool = False,
    hosts: Collection[str] | None = None,
    origins: Collection[str] = (),
) -> FastAPI:
    """What answers operations with a service; other arguments and errors as of `create_app`."""
    origins = read_origins(origins)
    if isinstance(keys, KeyFile):
        keys.expect(partial(_check_names, service))
        service.watched["the key file"] = keys
    model_context = _model_context(service, operations, keys) if mcp else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.warm_up()
        following = asyncio.create_task(service.follow())
        async with model_context.run() if model_context else nullcontext():
            yield
        service.stopping.set()
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await asyncio.to_thread(service.close)

    app = _Application(
        title="Tamis", version=version("tamis"), docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.router.redirect_slashes = False  # a redirect names no mistake, and may lead to another one
    app.state.service = service
    app.add_route("/", page(), ["GET"], include_in_schema=False)
    if model_context:
        app.router.routes.append(Route("/mcp", model_context, methods=["POST"]))
    document = describe(operations, service.limits, needs_key=keys is not None)
    app.openapi = lambda: document  # type: ignore[method-assign]
    app.add_route("/docs", docs(document), ["GET"], include_in_schema=False)
    _handle_errors(app)
    answer = _answering(service, keys)
    app.layers = lambda rest: _shared(
        RequestLog(
            HostGuard(Routes(rest, operations, answer, service.memory), hosts, origins),
            service.metrics,
        ),
        origins,
    )
    return app


def _check_names(service: Service, names: frozenset[str]) -> None:
    """Refuse keys of indexes that are not there, or tell of them where they may yet be made."""
    library = service.library
    known = {*library.names(), *library.aliases()}
    for name in sorted(names - known):
        if library.data is None:
            raise InputError(
                f"expected keys of the indexes {', '.join(library.names())}, found one of "
                f"{name!r}; correct the name in the file of keys"
            )
        LOG.warning("a key is of the index %s, which is not there yet", name)


def _shared(app: ASGIApp, origins: Collection[str]) -> ASGIApp:
    """An application whose answers pages of other sites may read, where there are any."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=[
            *("Authorization", "X-API-Key", "Content-Type", "Content-Encoding"),
            *(HEADER, "X-Request-ID"),
        ],
        expose_headers=["X-Request-ID", "Retry-After", "Location", REPLAYED],
    )


class _Application(FastAPI):
    """An application with layers of its own in place of the framework's, which cost too much.

    Attributes:
        layers: puts them around the framework's router.
    """

    layers: Callable[[ASGIApp], ASGIApp]

    def build_middleware_stack(self) -> ASGIApp:
        """What answers; called once, at the first request."""
        return self.layers(ExceptionMiddleware(self.router, self.exception_handlers))


def _answering(
    service: Service, keys: ApiKeys | None
) -> Callable[[Operation, Request], Awaitable[Response]]:
    """Carries operations out, for whoever may ask."""
    idempotency = Idempotency(service)

    async def answer(operation: Operation, request: Request) -> Response:
        if keys is None:
            request.scope[GRANT] = EVERYTHING
            return await carry_out(operation, request)
        grant = request.scope[GRANT] = keys.admit(request, operation.access)
        request.scope[CLIENT] = bearer(request)
        if operation.access == "open" or grant is None:
            return await carry_out(operation, request)
        check_operation(grant, operation, service.library, request.path_params)
        try:
            return await carry_out(operation, request)
        except RequestError as error:
            raise discreet(grant, error) from None

    async def carry_out(operation: Operation, request: Request) -> Response:
        if operation.once:
            return await idempotency.answer(request, operation.answer)
        return await operation.answer(service, request)

    return answer


def _model_context(
    service: Service, operations: Sequence[Operation], keys: ApiKeys | None
) -> ModelContext:
    from tamis.api.http.model_context import ModelContext

    def admit(request: Request) -> Grant:
        found = EVERYTHING if keys is None else keys.admit(request, "search")
        assert found is not None
        return found

    return ModelContext(service, operations, admit)


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
