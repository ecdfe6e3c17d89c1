"""What stands in URLs: the parameters of each operation, read into structs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from tamis.api.messages.requests import Count, Filter, PlainOptions, SearchRequest, invalid
from tamis.api.problems import RequestError
from tamis.index.errors import InputError
from tamis.index.files.strict_json import parse_json
from tamis.retriever.rerank.named import RerankerName  # noqa: TC001  msgspec reads it at run time

if TYPE_CHECKING:
    from starlette.requests import Request

Visible = Literal["none", "durable", "searchable"]
Asked = TypeVar("Asked", bound=Struct)
_LIST = "Separated by commas."


class SearchParameters(PlainOptions, frozen=True, kw_only=True):
    """A search in a URL."""

    q: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="The text to search for; may be left out beside a filter."),
    ] = None
    offset: Annotated[int, Meta(ge=0, description="How many hits to pass over.")] = 0
    cursor: Annotated[str | None, Meta(description="Of the answer to go on from.")] = None
    filter: Annotated[str | None, Meta(description="A filter as JSON.")] = None
    fields: Annotated[str | None, Meta(description=f"Of documents to give. {_LIST}")] = None
    facets: Annotated[
        str | None, Meta(description=f"Fields to count the values of. {_LIST} Or a JSON list.")
    ] = None
    sort: Annotated[str | None, Meta(description=f"Fields to order by, as price:desc. {_LIST}")] = (
        None
    )
    boosts: Annotated[
        str | None, Meta(description="What fields add to scores, as a JSON list.")
    ] = None
    rerank: Annotated[Count | None, Meta(description="Depth to rerank.")] = None
    reranker: Annotated[RerankerName | None, Meta(description="Which reranker, with rerank.")] = (
        None
    )


class ListParameters(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which documents to list, and how."""

    k: Annotated[Count, Meta(description="How many documents to give.")] = 10
    offset: Annotated[int, Meta(ge=0, description="How many documents to pass over.")] = 0
    cursor: Annotated[str | None, Meta(description="Of the answer to go on from.")] = None
    filter: Annotated[str | None, Meta(description="A filter as JSON.")] = None
    fields: Annotated[str | None, Meta(description=f"Of documents to give. {_LIST}")] = None
    sort: Annotated[str | None, Meta(description=f"Fields to order by, as price:desc. {_LIST}")] = (
        None
    )


class SuggestParameters(Struct, forbid_unknown_fields=True, frozen=True):
    """What was typed so far."""

    q: Annotated[
        str, Meta(min_length=1, description="Its last word is completed.", examples=["winter sp"])
    ]
    size: Annotated[int, Meta(ge=1, le=100, description="How many suggestions at most.")] = 10


class WaitParameters(Struct, forbid_unknown_fields=True, frozen=True):
    """When to answer a write."""

    wait: Annotated[
        Visible,
        Meta(
            description="none: at once; durable: when a power cut cannot lose it; searchable: when "
            "searches find it."
        ),
    ] = "durable"


class TaskParameters(Struct, forbid_unknown_fields=True, frozen=True):
    """Which tasks to list."""

    status: Annotated[
        Literal["waiting", "running", "done", "failed", "cancelled", "interrupted"] | None,
        Meta(description="Only tasks that stand so."),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="How many at most; the newest.")] = 100


def read_parameters(request: Request, kind: type[Asked]) -> Asked:
    """The parameters of a URL.

    Raises:
        RequestError: 422 when one is unknown, twice there, missing or of a wrong kind.
    """
    fields: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in fields:
            raise RequestError(
                422, "invalid_value", f"expected each parameter once, found {name!r} twice"
            )
        fields[name] = value
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error, fields) from error


def as_search(asked: SearchParameters | ListParameters) -> SearchRequest:
    """The search that a URL asks for.

    Raises:
        RequestError: 422 when its filter is no JSON object.
    """
    given = {name: getattr(asked, name) for name in asked.__struct_fields__}
    given["query"] = given.pop("q", None)
    if asked.filter is not None:
        given["filter"] = _parsed_filter(asked.filter)
    if asked.fields is not None:
        given["fields"] = _names(asked.fields)
    given["facets"] = _listed("facets", given.get("facets") or "")
    given["boosts"] = _listed("boosts", given.get("boosts") or "")
    given["sort"] = [sort_key(name) for name in _names(asked.sort or "")]
    reranker = given.pop("reranker", None)
    if given.get("rerank") is not None:
        given["rerank"] = {"depth": given["rerank"], "reranker": reranker or "block"}
    elif reranker is not None:
        raise RequestError(
            422,
            "invalid_value",
            "expected a depth to rerank beside reranker, found none; add rerank=50",
        )
    try:
        return msgspec.convert(given, SearchRequest)
    except msgspec.ValidationError as error:
        raise invalid(error, given) from error


def sort_key(text: str) -> dict[str, str]:
    """A field to order by, as ``price`` or ``price:desc``."""
    field, _, order = text.rpartition(":")
    return {"field": field, "order": order} if order in ("asc", "desc") else {"field": text}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _listed(what: str, text: str) -> list[Any]:
    if not text.startswith("["):
        return _names(text)
    try:
        return msgspec.convert(parse_json(text), list[Any])
    except (msgspec.MsgspecError, InputError) as error:
        raise RequestError(
            422, "invalid_value", f"expected {what} as a JSON list, found another ({error})"
        ) from error


def _parsed_filter(text: str) -> Filter:
    try:
        return msgspec.convert(parse_json(text), Filter)
    except (msgspec.MsgspecError, InputError) as error:
        raise RequestError(
            422, "invalid_value", f"expected a filter as a JSON object, found another ({error})"
        ) from error
