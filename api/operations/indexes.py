"""Operations on whole indexes: list, create, show, remove, optimize; and their aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tamis.api.body import read_body
from tamis.api.messages import answers, write_answers
from tamis.api.messages.requests import check_at_most, decode_body
from tamis.api.messages.write_requests import AliasRequest, CreateRequest
from tamis.api.operations.operation import IN_BODY, IN_INDEX, Operation
from tamis.api.problems import RequestError
from tamis.api.serving.catalog import check_name
from tamis.api.serving.service import json_answer
from tamis.index.errors import InputError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from tamis.api.serving.data_folder import DataFolder
    from tamis.api.serving.library import Library
    from tamis.api.serving.service import Service

BM25 = "bm25"


async def list_indexes(service: Service, request: Request) -> Response:
    """All indexes."""
    found = tuple(_described(service.library, name) for name in service.library.names())
    return json_answer(answers.IndexesAnswer(found))


async def get_index(service: Service, request: Request) -> Response:
    """One index."""
    name, _ = service.searcher(request)
    return json_answer(_described(service.library, name))


async def create_index(service: Service, request: Request) -> Response:
    """Make an index; a second time changes nothing."""
    data = service.library.writable()
    name = new_name(request.path_params["name"])
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    asked = words_alone(decode_body(body or b"{}", CreateRequest))
    if asked.encoder is not None and not data.has_encoder(asked.encoder):
        known = ", ".join(data.encoder_names)
        raise RequestError(
            422,
            "unknown_encoder",
            f"expected an encoder of {known}, or bm25 for words alone, found {asked.encoder!r}; "
            "set others up with the server's setting encoders",
        )
    if name in data.indexes:
        _refuse_other(data, name, asked)
        return json_answer(_described(service.library, name))
    refuse_taken(service.library, name)
    check_at_most("indexes", len(data.indexes) + 1, service.limits.indexes)

    def create() -> answers.IndexAnswer:
        refuse_taken(service.library, name)
        data.create(name, asked)
        return _described(service.library, name)

    return await service.change(request, create, 201)


async def remove_index(service: Service, request: Request) -> Response:
    """Remove an index and all its documents; its snapshots stay."""
    data, name = service.library.writable(), request.path_params["name"]
    if name not in data.broken:
        name = service.library.living(name).name
    if name != request.path_params["name"]:
        raise RequestError(
            409, "is_alias", f"expected an index, found an alias of {name!r}; delete the alias"
        )
    pointing = sorted(a for a, index in service.library.aliases().items() if index == name)
    if pointing:
        raise RequestError(
            409,
            "has_aliases",
            f"expected an index without aliases, found {', '.join(pointing)}; "
            "point them elsewhere or delete them first",
        )

    def remove() -> write_answers.RemovedAnswer:
        data.remove(name)
        return write_answers.RemovedAnswer(name)

    return await service.change(request, remove)


async def list_aliases(service: Service, request: Request) -> Response:
    """All aliases."""
    found = sorted(service.library.aliases().items())
    return json_answer(
        write_answers.AliasesAnswer(tuple(write_answers.AliasAnswer(*one) for one in found))
    )


async def put_alias(service: Service, request: Request) -> Response:
    """Let an alias stand for an index from now on; searches under way end where they began."""
    data = service.library.writable()
    alias = new_name(request.path_params["alias"])
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    index = decode_body(body, AliasRequest).index
    if alias in service.library.names() or alias in data.broken:
        raise RequestError(
            409, "name_taken", f"expected a free name, found the index {alias!r}; choose another"
        )
    if index not in service.library.names():
        service.library.searcher(index)  # says that there is none
        raise RequestError(409, "is_alias", f"expected an index, found the alias {index!r}")

    def point() -> write_answers.AliasAnswer:
        service.library.point(alias, index)
        return write_answers.AliasAnswer(alias, index)

    return await service.change(request, point)


async def remove_alias(service: Service, request: Request) -> Response:
    """Remove an alias; its index stays."""
    alias = request.path_params["alias"]
    service.library.writable()
    if alias not in service.library.aliases():
        known = ", ".join(sorted(service.library.aliases())) or "none yet"
        raise RequestError(
            404, "unknown_alias", f"expected one of the aliases {known}; found {alias!r}"
        )

    def remove() -> write_answers.RemovedAnswer:
        service.library.point(alias, None)
        return write_answers.RemovedAnswer(alias)

    return await service.change(request, remove)


def words_alone(asked: CreateRequest) -> CreateRequest:
    """What is asked for, without an encoder where that is called bm25, as on the command line."""
    return msgspec.structs.replace(asked, encoder=None) if asked.encoder == BM25 else asked


def new_name(name: str) -> str:
    """A name that something may be given; raises RequestError 422 for others."""
    try:
        return check_name(name)
    except InputError as error:
        raise RequestError(422, "invalid_name", str(error)) from None


def refuse_taken(library: Library, name: str) -> None:
    """Raise RequestError 409 when an index or an alias has this name."""
    if name in library.names() or name in library.aliases() or _is_broken(library.data, name):
        raise RequestError(
            409, "name_taken", f"expected a free name, found {name!r} taken; choose another"
        )


def _is_broken(data: DataFolder | None, name: str) -> bool:
    return data is not None and name in data.broken


def _described(library: Library, name: str) -> answers.IndexAnswer:
    index = library.resolved(name)
    aliases = [alias for alias, target in library.aliases().items() if target == index]
    writable = library.data is not None and index in library.data.indexes
    return answers.index_answer(index, library.searcher(name), writable=writable, aliases=aliases)


def _refuse_other(data: DataFolder, name: str, asked: CreateRequest) -> None:
    """Raise RequestError 409 unless an index is what is asked for."""
    if data.made_as(name) != asked:
        raise RequestError(
            409,
            "exists_differently",
            f"expected the settings that index {name!r} was made with, found others; "
            "delete it first, or choose another name",
        )


OPERATIONS = (
    Operation(
        "GET", "/v1/indexes", "list_indexes", "All indexes.", list_indexes, answers.IndexesAnswer
    ),
    Operation(
        "GET",
        "/v1/indexes/{name}",
        "get_index",
        "One index.",
        get_index,
        answers.IndexAnswer,
        IN_INDEX,
    ),
    Operation(
        "PUT",
        "/v1/indexes/{name}",
        "create_index",
        "Make an index; asked a second time, it changes nothing.",
        create_index,
        answers.IndexAnswer,
        (*IN_BODY, 409),
        CreateRequest,
        example={"encoder": "default", "fields": {"year": "integer", "language": "string"}},
        access="admin",
        status=201,
        also=(200,),
    ),
    Operation(
        "DELETE",
        "/v1/indexes/{name}",
        "remove_index",
        "Remove an index and all its documents; its snapshots stay.",
        remove_index,
        write_answers.RemovedAnswer,
        (*IN_INDEX, 409),
        access="admin",
    ),
    Operation(
        "GET",
        "/v1/aliases",
        "list_aliases",
        "All aliases.",
        list_aliases,
        write_answers.AliasesAnswer,
    ),
    Operation(
        "PUT",
        "/v1/aliases/{alias}",
        "put_alias",
        "Let an alias stand for an index, in one step; the next search goes there.",
        put_alias,
        write_answers.AliasAnswer,
        (*IN_BODY, 409),
        AliasRequest,
        example={"index": "papers-2026"},
        access="admin",
    ),
    Operation(
        "DELETE",
        "/v1/aliases/{alias}",
        "remove_alias",
        "Remove an alias; its index stays.",
        remove_alias,
        write_answers.RemovedAnswer,
        (*IN_INDEX, 409),
        access="admin",
    ),
)
