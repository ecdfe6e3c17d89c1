"""Operations on whole indexes: list, create, show, remove, optimize; and their aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tamis.api.body import read_body
from tamis.api.messages import answers, write_answers
from tamis.api.messages.requests import check_at_most, decode_body
from tamis.api.messages.write_requests import AliasRequest, CreateRequest, FieldsRequest
from tamis.api.operations.grants import grant_of, opened
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
    names = opened(grant_of(request), service.library)
    found = tuple(_described(service.library, name) for name in names)
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

    def create() -> tuple[answers.IndexAnswer, int]:
        with data.claimed(name):
            if name in data.indexes:
                _refuse_other(data, name, asked)
                return _described(service.library, name), 200
            refuse_taken(service.library, name)
            check_at_most("indexes", len(data.indexes) + 1, service.limits.indexes)
            data.create(name, asked)
        return _described(service.library, name), 201

    answer, status = await service.written(request, create)
    return json_answer(answer, status)


async def remove_index(service: Service, request: Request) -> Response:
    """Remove an index and all its documents; its snapshots stay."""
    data, name = service.library.writable(), request.path_params["name"]

    def remove() -> write_answers.RemovedAnswer:
        with data.claimed(name):
            _refuse_in_use(service.library, name)
            data.remove(name)
        return write_answers.RemovedAnswer(name)

    return await service.change(request, remove)


async def add_fields(service: Service, request: Request) -> Response:
    """Declare further fields of an index; nothing is encoded."""
    name = service.library.resolved(request.path_params["name"])
    index = service.library.living(name)
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    asked = decode_body(body, FieldsRequest)

    def declare() -> answers.IndexAnswer:
        with index.writes() as writes:
            writes.add_fields(asked.fields)
            writes.settle("searchable")
        return _described(service.library, name)

    return await service.change(request, declare)


async def reopen_index(service: Service, request: Request) -> Response:
    """Open an index again that could not be opened or written; does nothing where all is well."""
    data = service.library.writable()
    name = service.library.resolved(request.path_params["name"])

    def reopen() -> answers.IndexAnswer:
        with data.claimed(name):
            if name not in data.broken:
                service.library.living(name)  # says that there is none
            data.reopen(name)
        return _described(service.library, name)

    return await service.change(request, reopen)


async def list_aliases(service: Service, request: Request) -> Response:
    """All aliases."""
    grant, aliases = grant_of(request), service.library.aliases()
    found = sorted(pair for pair in aliases.items() if grant.admits("search", pair))
    return json_answer(
        write_answers.AliasesAnswer(tuple(write_answers.AliasAnswer(*one) for one in found))
    )


async def put_alias(service: Service, request: Request) -> Response:
    """Let an alias stand for an index from now on; searches under way end where they began."""
    data = service.library.writable()
    alias = new_name(request.path_params["alias"])
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    index = decode_body(body, AliasRequest).index

    def point() -> write_answers.AliasAnswer:
        with data.claimed(alias, index):
            if alias in service.library.names() or is_promised(data, alias):
                raise RequestError(
                    409,
                    "name_taken",
                    f"expected a free name, found the index {alias!r}; choose another",
                )
            if index not in service.library.names():
                service.library.searcher(index)  # says that there is none
                raise RequestError(409, "is_alias", f"expected an index, found the alias {index!r}")
            service.library.point(alias, index)
        return write_answers.AliasAnswer(alias, index)

    return await service.change(request, point)


async def remove_alias(service: Service, request: Request) -> Response:
    """Remove an alias; its index stays."""
    data, alias = service.library.writable(), request.path_params["alias"]

    def remove() -> write_answers.RemovedAnswer:
        with data.claimed(alias):
            if alias not in service.library.aliases():
                known = ", ".join(sorted(service.library.aliases())) or "none yet"
                raise RequestError(
                    404, "unknown_alias", f"expected one of the aliases {known}; found {alias!r}"
                )
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
    if name in (*library.names(), *library.aliases()) or is_promised(library.writable(), name):
        raise RequestError(
            409, "name_taken", f"expected a free name, found {name!r} taken; choose another"
        )


def is_promised(data: DataFolder, name: str) -> bool:
    """Whether a name is that of an index which could not be opened, or is being restored."""
    return name in data.broken or data.tasks.has(restoring(name))


def restoring(name: str) -> str:
    """The key of a task that makes an index of this name."""
    return f"index {name}"


def _refuse_in_use(library: Library, name: str) -> None:
    """Raise RequestError unless an index has this very name, and no alias."""
    if name not in library.writable().broken and library.living(name).name != name:
        raise RequestError(
            409, "is_alias", f"expected an index, found the alias {name!r}; delete the alias"
        )
    pointing = sorted(alias for alias, index in library.aliases().items() if index == name)
    if pointing:
        raise RequestError(
            409,
            "has_aliases",
            f"expected an index without aliases, found {', '.join(pointing)}; "
            "point them elsewhere or delete them first",
        )


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
        "GET",
        "/v1/indexes",
        "list_indexes",
        "All indexes.",
        list_indexes,
        answers.IndexesAnswer,
        narrows=True,
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
        access="all",
        status=201,
        also=(200,),
    ),
    Operation(
        "PATCH",
        "/v1/indexes/{name}",
        "add_fields",
        "Declare further fields to filter by; the stored documents are read for their values.",
        add_fields,
        answers.IndexAnswer,
        (*IN_BODY, 409),
        FieldsRequest,
        example={"fields": {"price": "float", "tags": "string[]"}},
        access="all",
    ),
    Operation(
        "DELETE",
        "/v1/indexes/{name}",
        "remove_index",
        "Remove an index and all its documents; its snapshots stay.",
        remove_index,
        write_answers.RemovedAnswer,
        (*IN_INDEX, 409),
        access="all",
    ),
    Operation(
        "POST",
        "/v1/indexes/{name}/reopen",
        "reopen_index",
        "Open an index again that could not be opened or written; done by itself now and then.",
        reopen_index,
        answers.IndexAnswer,
        (*IN_INDEX, 409),
        access="all",
    ),
    Operation(
        "GET",
        "/v1/aliases",
        "list_aliases",
        "All aliases.",
        list_aliases,
        write_answers.AliasesAnswer,
        narrows=True,
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
        access="all",
    ),
    Operation(
        "DELETE",
        "/v1/aliases/{alias}",
        "remove_alias",
        "Remove an alias; its index stays.",
        remove_alias,
        write_answers.RemovedAnswer,
        (*IN_INDEX, 409),
        access="all",
    ),
)
