"""Operations on documents: stream them in, get, put and delete single ones, delete many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tamis.api.body import read_body
from tamis.api.messages import answers, write_answers
from tamis.api.messages.ndjson import read_document
from tamis.api.messages.parameters import WaitParameters, read_parameters
from tamis.api.messages.requests import check_at_most, check_filter, decode_body, plain_body
from tamis.api.messages.write_requests import ChangeRequest, DeleteRequest, DocumentRequest
from tamis.api.operations.operation import IN_BODY, IN_INDEX, NDJSON, Operation
from tamis.api.operations.searching import known_doc
from tamis.api.problems import RequestError
from tamis.api.serving.ingestion import Ingestion, Patching, write
from tamis.api.serving.service import json_answer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from tamis.api.serving.living_index import LivingIndex
    from tamis.api.serving.service import Service


async def get_document(service: Service, request: Request) -> Response:
    """One stored document."""
    name, searcher = service.searcher(request)
    doc_id = request.path_params["id"]
    doc = known_doc(name, searcher, doc_id)
    collection = searcher.collection
    return await service.answer(
        request,
        lambda: answers.DocumentAnswer(doc_id, collection.generation, collection.document(doc)),
    )


async def add_documents(service: Service, request: Request) -> Response:
    """Add or replace documents, a line each."""
    index = service.library.living(request.path_params["name"])
    return await _streamed(request, Ingestion(service, request, index))


async def _streamed(request: Request, ingestion: Ingestion) -> Response:
    wait = read_parameters(request, WaitParameters).wait
    try:
        await ingestion.read()
    except RequestError as error:
        if not ingestion.written:
            raise
        await ingestion.finish("durable")
        detail = f"{error.detail} ({ingestion.written} documents before that are written)"
        raise RequestError(error.status, error.code, detail, error.headers) from error
    return json_answer(await ingestion.finish(wait))


async def put_document(service: Service, request: Request) -> Response:
    """Add or replace one document."""
    index = service.library.living(request.path_params["name"])
    wait, doc_id = read_parameters(request, WaitParameters).wait, request.path_params["id"]
    body = await read_body(request, service.limits.line_bytes, service.limits.idle_s)
    fields = index.searcher.collection.settings.text_fields
    document = read_document(1, _with_id(body, doc_id), service.limits, fields)

    def put() -> write_answers.WriteAnswer:
        with index.writes() as writes:
            replaced = writes.has(doc_id)
            write(writes, [document], document.weights is not None)
            writes.settle(wait)
        return write_answers.WriteAnswer(doc_id, replaced, _generation(index))

    return await service.change(request, put)


async def patch_document(service: Service, request: Request) -> Response:
    """Change fields of one document; nothing is encoded."""
    name = request.path_params["name"]
    index = service.library.living(name)
    wait, doc_id = read_parameters(request, WaitParameters).wait, request.path_params["id"]
    body = await read_body(request, service.limits.line_bytes, service.limits.idle_s)
    change = _with_id(body, doc_id)
    del change["_id"]  # passages have ids of their own

    def patch() -> write_answers.WriteAnswer:
        with index.writes() as writes:
            missing = writes.patch({doc_id: change})
            writes.settle(wait)
        if missing:
            raise RequestError(
                404, "unknown_document", f"expected an id of index {name}, found {doc_id!r}"
            )
        return write_answers.WriteAnswer(doc_id, True, _generation(index))

    return await service.change(request, patch)


async def patch_documents(service: Service, request: Request) -> Response:
    """Change fields of documents, a line each."""
    index = service.library.living(request.path_params["name"])
    return await _streamed(request, Patching(service, request, index))


async def delete_document(service: Service, request: Request) -> Response:
    """Remove one document."""
    name = request.path_params["name"]
    index = service.library.living(name)
    wait, doc_id = read_parameters(request, WaitParameters).wait, request.path_params["id"]

    def delete() -> write_answers.DeleteAnswer:
        with index.writes() as writes:
            deleted = writes.delete([doc_id])
            writes.settle(wait)
        if not deleted:
            raise RequestError(
                404, "unknown_document", f"expected an id of index {name}, found {doc_id!r}"
            )
        return write_answers.DeleteAnswer(deleted, _generation(index))

    return await service.change(request, delete)


async def delete_documents(service: Service, request: Request) -> Response:
    """Remove the documents of some ids, those that a filter admits, or all."""
    index = service.library.living(request.path_params["name"])
    wait = read_parameters(request, WaitParameters).wait
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    asked = decode_body(body, DeleteRequest)
    if [asked.ids is not None, asked.filter is not None, asked.all].count(True) != 1:
        raise RequestError(
            422,
            "invalid_value",
            'expected ids, a filter or "all": true, found none or several; give one of them',
        )
    check_at_most("ids to delete", len(asked.ids or ()), service.limits.delete_ids)
    check_filter(asked.filter, service.limits)

    def delete() -> write_answers.DeleteAnswer:
        with index.writes() as writes:
            if asked.all:
                deleted = writes.delete_all()
            elif asked.filter is not None:
                deleted = writes.delete_where(asked.filter)
            else:
                deleted = writes.delete(asked.ids or ())
            writes.settle(wait)
        return write_answers.DeleteAnswer(deleted, _generation(index))

    return await service.change(request, delete)


def _generation(index: LivingIndex) -> int:
    return index.searcher.collection.generation


def _with_id(body: bytes, doc_id: str) -> dict[str, Any]:
    """The JSON object of a body, with the id that its URL gives.

    Raises:
        RequestError: it is none, or has another id; as `plain_body`.
    """
    row = plain_body(body)
    if not isinstance(row, dict):
        raise RequestError(
            422, "invalid_value", f"expected a JSON object, found {type(row).__name__}"
        )
    if row.setdefault("_id", doc_id) != doc_id:
        raise RequestError(
            422, "invalid_value", f"expected no _id but {doc_id!r}, found another; leave it out"
        )
    return row


_DOCUMENTS = "/v1/indexes/{name}/documents"
_ONE = f"{_DOCUMENTS}/{{id}}"
OPERATIONS = (
    Operation(
        "POST",
        _DOCUMENTS,
        "add_documents",
        "Add or replace documents: a JSON object a line, as it is, in gzip or in zstd.",
        add_documents,
        write_answers.IngestAnswer,
        (*IN_BODY, 409),
        DocumentRequest,
        parameters=WaitParameters,
        example={"_id": "doc-1", "title": "Owls", "text": "Owls hunt at night.", "year": 2024},
        access="write",
        accepts=NDJSON,
        once=True,
    ),
    Operation(
        "GET",
        _ONE,
        "get_document",
        "One stored document.",
        get_document,
        answers.DocumentAnswer,
        IN_INDEX,
    ),
    Operation(
        "PUT",
        _ONE,
        "put_document",
        "Add or replace one document.",
        put_document,
        write_answers.WriteAnswer,
        (*IN_BODY, 409),
        DocumentRequest,
        parameters=WaitParameters,
        example={"title": "Owls", "text": "Owls hunt at night.", "year": 2024},
        access="write",
    ),
    Operation(
        "PATCH",
        _ONE,
        "patch_document",
        "Change fields of one document without encoding it again.",
        patch_document,
        write_answers.WriteAnswer,
        (*IN_BODY, 409),
        ChangeRequest,
        parameters=WaitParameters,
        example={"price": 7.5, "tags": ["owl"], "maker": {"city": None}},
        access="write",
    ),
    Operation(
        "PATCH",
        _DOCUMENTS,
        "patch_documents",
        "Change fields of documents: a JSON object a line, with the id as _id.",
        patch_documents,
        write_answers.IngestAnswer,
        (*IN_BODY, 409),
        ChangeRequest,
        parameters=WaitParameters,
        example={"_id": "doc-1", "price": 7.5},
        access="write",
        accepts=NDJSON,
        once=True,
    ),
    Operation(
        "DELETE",
        _ONE,
        "delete_document",
        "Remove one document.",
        delete_document,
        write_answers.DeleteAnswer,
        (*IN_INDEX, 409, 422),
        parameters=WaitParameters,
        access="write",
    ),
    Operation(
        "POST",
        f"{_DOCUMENTS}/delete",
        "delete_documents",
        "Remove documents by their ids, or by a filter.",
        delete_documents,
        write_answers.DeleteAnswer,
        (*IN_BODY, 409),
        DeleteRequest,
        parameters=WaitParameters,
        example={"filter": {"field": "year", "range": {"lt": 2000}}},
        access="write",
        once=True,
    ),
)
