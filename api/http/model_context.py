"""The Model Context Protocol endpoint: read-only tools over the operations of the REST API.

Streamable HTTP without sessions: each POST is answered by itself, in JSON. The protocol is the
official `mcp` package's; this file only says what the tools are. Limits, mistakes and workers are
those of the REST API, whose handlers do the work.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
import orjson
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolResult,
    ListToolsResult,
    TextContent,
    Tool,
    ToolAnnotations,
)
from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.requests import Request

from tamis.api import problems
from tamis.api.http.request_log import ROUTE
from tamis.api.memory import HOLDING
from tamis.api.operations.grants import GRANT, check_operation, discreet, grant_of
from tamis.api.problems import RequestError
from tamis.index.errors import TamisError
from tamis.retriever.types import Boost  # noqa: TC001  msgspec reads it at run time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from mcp.server.context import ServerRequestContext
    from mcp_types import CallToolRequestParams, PaginatedRequestParams
    from starlette.types import Message, Receive, Scope, Send

    from tamis.api.operations.grants import Grant
    from tamis.api.operations.operation import Operation
    from tamis.api.serving.service import Service

LOG = logging.getLogger("tamis.api")
PATH = "/mcp"
INSTRUCTIONS = (
    "Search collections of documents by learned and written words. Call list_indexes once to see "
    "what there is, search for passages, get_document for the whole text of a hit, and explain to "
    "see which words made a document's score."
)
RERANK_DEPTH = 50
IndexName = Annotated[
    str | UnsetType, Meta(description="Name of the index; may be left out where there is but one.")
]
DocumentId = Annotated[str, Meta(description="Id of the document, as a search gives it.")]


class ListIndexesTool(Struct, forbid_unknown_fields=True, frozen=True):
    """List the indexes that can be searched, with their sizes and encoders."""

    name: ClassVar[str] = "list_indexes"


class SearchTool(Struct, forbid_unknown_fields=True, frozen=True):
    """Find the documents that answer a query, best first: id, score, title, snippet."""

    name: ClassVar[str] = "search"
    query: Annotated[str, Meta(min_length=1, description="What to look for, in plain words.")]
    index: IndexName = UNSET
    indexes: Annotated[
        list[str] | UnsetType,
        Meta(description="Names of several indexes to search at once, in place of index."),
    ] = UNSET
    k: Annotated[int, Meta(ge=1, le=100, description="How many hits to give.")] = 10
    rerank: Annotated[
        bool, Meta(description=f"Order the best {RERANK_DEPTH} by reading them: slower.")
    ] = False
    filter: Annotated[
        dict[str, Any] | UnsetType,
        Meta(
            description="Which documents may be found, by the fields that list_indexes names: "
            "a range, a list of values, or must and must_not of these.",
            examples=[
                {"field": "year", "range": {"gte": 1999, "lt": 2005}},
                {"must": [{"field": "language", "in": ["en"]}]},
            ],
        ),
    ] = UNSET
    boosts: Annotated[
        list[Boost] | UnsetType,
        Meta(
            description="What fields add to scores: recency of a date, saturation or log of a "
            "number, each at most its weight.",
            examples=[[{"field": "published", "recency": {"half_life_days": 30}, "weight": 2}]],
        ),
    ] = UNSET


class ExplainTool(Struct, forbid_unknown_fields=True, frozen=True):
    """Tell which terms of a query made one document's score, and which it lacks."""

    name: ClassVar[str] = "explain"
    query: Annotated[str, Meta(min_length=1, description="The query that was searched for.")]
    id: DocumentId
    index: IndexName = UNSET


class GetDocumentTool(Struct, forbid_unknown_fields=True, frozen=True):
    """Read one document whole: its title, text and further fields."""

    name: ClassVar[str] = "get_document"
    id: DocumentId
    index: IndexName = UNSET


Arguments = ListIndexesTool | SearchTool | ExplainTool | GetDocumentTool
TOOLS: Mapping[str, type[Arguments]] = {
    kind.name: kind for kind in (ListIndexesTool, SearchTool, ExplainTool, GetDocumentTool)
}


class ModelContext:
    """The ASGI application at ``/mcp``."""

    def __init__(
        self,
        service: Service,
        operations: Sequence[Operation],
        admit: Callable[[Request], Grant],
    ) -> None:
        """Bind the tools to operations.

        Args:
            service: that answers.
            operations: of the REST API; `search`, `search_indexes`, `explain`, `get_document` and
                `list_indexes`.
            admit: what a request may do; raises where it may do nothing.
        """
        by_name = {operation.name: operation for operation in operations}
        self._tools = _Tools(service, by_name)
        self._body_bytes, self._admit = service.limits.search_body_bytes, admit
        self._sessions: StreamableHTTPSessionManager | None = None

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Answer requests between entering and leaving."""
        server = Server(
            "tamis",
            version=version("tamis"),
            instructions=INSTRUCTIONS,
            on_list_tools=self._tools.list,
            on_call_tool=self._tools.call,
        )
        sessions = StreamableHTTPSessionManager(
            server, json_response=True, stateless=True, max_request_body_size=self._body_bytes
        )
        async with sessions.run():
            self._sessions = sessions
            yield
        self._sessions = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one message."""
        scope[ROUTE] = PATH
        scope[GRANT] = self._admit(Request(scope))
        assert self._sessions is not None
        await self._sessions.handle_request(scope, receive, send)


@dataclass(frozen=True)
class _Tools:
    """What the protocol's server asks for."""

    service: Service
    operations: Mapping[str, Operation]

    async def list(
        self, context: ServerRequestContext[Any], page: PaginatedRequestParams | None
    ) -> ListToolsResult:
        return ListToolsResult(tools=[_described(kind) for kind in TOOLS.values()])

    async def call(
        self, context: ServerRequestContext[Any], asked: CallToolRequestParams
    ) -> CallToolResult:
        if asked.name not in TOOLS:
            raise MCPError(
                INVALID_PARAMS, f"expected one of the tools {', '.join(TOOLS)}, found {asked.name}"
            )
        assert context.request is not None
        try:
            arguments = msgspec.convert(asked.arguments or {}, TOOLS[asked.name])
            answer = await _Tool(self, grant_of(context.request)).answer(arguments)
        except msgspec.ValidationError as error:
            return _mistake("invalid_value", str(error))
        except RequestError as error:
            told = discreet(grant_of(context.request), error)
            return _mistake(told.code, told.detail)
        except (TamisError, OSError, MemoryError) as error:
            refused = problems.of_error(error)
            return _mistake(refused.code, refused.detail)
        except Exception:
            LOG.exception("tool %s failed", asked.name)
            return _mistake("internal_error", "expected to answer, failed; see the server's log")
        text = TextContent(type="text", text=orjson.dumps(answer).decode())
        return CallToolResult(content=[text], structured_content=answer)


@dataclass(frozen=True)
class _Tool:
    """One call of a tool, by the bearer of a key."""

    tools: _Tools
    grant: Grant

    async def answer(self, asked: Arguments) -> dict[str, Any]:
        if isinstance(asked, ListIndexesTool):
            return await self._do("list_indexes")
        if isinstance(asked, SearchTool):
            return await self._search(asked)
        name = await self._index(asked.index)
        if isinstance(asked, GetDocumentTool):
            return await self._do("get_document", name=name, id=asked.id)
        return await self._do("explain", {"query": asked.query, "id": asked.id}, name=name)

    async def _search(self, asked: SearchTool) -> dict[str, Any]:
        body: dict[str, Any] = {"query": asked.query, "k": asked.k, "highlight": True}
        if asked.rerank:
            body["rerank"] = {"depth": RERANK_DEPTH}
        for name in ("filter", "boosts"):
            if getattr(asked, name) is not UNSET:
                body[name] = msgspec.to_builtins(getattr(asked, name))
        if asked.indexes is not UNSET:
            if asked.index is not UNSET:
                raise RequestError(
                    422, "invalid_value", "expected index or indexes, found both; leave one out"
                )
            if asked.rerank:
                body["rerank"] = {"depth": max(RERANK_DEPTH, asked.k)}  # all hits, to compare them
            found = await self._do("search_indexes", {**body, "indexes": asked.indexes})
            where: dict[str, Any] = {"indexes": asked.indexes, "merged": found["merged"]}
        else:
            index = await self._index(asked.index)
            found = await self._do("search", body, name=index)
            where = {"index": index}
        hits = [_brief(hit) for hit in found["hits"]]
        return {**where, "hits": hits, "unknown_terms": found["unknown_terms"]}

    async def _index(self, given: str | UnsetType) -> str:
        if isinstance(given, str):
            return given
        names = [index["name"] for index in (await self._do("list_indexes"))["indexes"]]
        if len(names) != 1:
            raise RequestError(
                422, "invalid_value", "expected the argument index, found none; see list_indexes"
            )
        return str(names[0])

    async def _do(
        self, name: str, body: Mapping[str, Any] | None = None, /, **parameters: str
    ) -> dict[str, Any]:
        """Answer by an operation of the REST API, as if it had been asked there."""
        service, operation = self.tools.service, self.tools.operations[name]
        check_operation(self.grant, operation, service.library, parameters)
        scope: dict[str, Any] = {
            "type": "http",
            "method": operation.method,
            "path": operation.path.format_map(parameters),
            "path_params": parameters,
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            GRANT: self.grant,
        }
        content = b"" if body is None else orjson.dumps(body)

        messages = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> Message:
            if not messages:  # what follows would be that the client has left
                await asyncio.get_running_loop().create_future()
            return messages.pop()

        with service.memory.holding() as holding:
            scope[HOLDING] = holding
            response = await operation.answer(service, Request(scope, receive))
            found: dict[str, Any] = orjson.loads(response.body)
            return found


def _described(kind: type[Arguments]) -> Tool:
    _, schemas = msgspec.json.schema_components((kind,))
    schema = schemas.pop(kind.__name__)
    if schemas:  # structs within its own
        schema["$defs"] = schemas
    return Tool(
        name=kind.name,
        description=schema.pop("description"),
        input_schema={key: value for key, value in schema.items() if key != "title"},
        annotations=ToolAnnotations(
            read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        ),
    )


def _brief(hit: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader needs to choose: the best stretch of the text, not all of it."""
    title = hit["document"].get("title")
    spans = hit["highlights"].get("text", ())
    snippet = "".join(span["text"] for span in spans)
    return {
        "rank": hit["rank"],
        **({"index": hit["index"]} if "index" in hit else {}),
        "id": hit["id"],
        "score": hit["score"],
        **({"title": title} if title else {}),
        "snippet": snippet,
    }


def _mistake(code: str, detail: str) -> CallToolResult:
    """For the model to read: it may ask again, better."""
    return CallToolResult(
        content=[TextContent(type="text", text=f"{code}: {detail}")], is_error=True
    )
