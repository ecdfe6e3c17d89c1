"""What the service takes, and reading it: every mistake is named, nothing is ignored.

msgspec decodes into these structs and refuses unknown fields; openapi.py describes them from
these definitions. Limits that an operator may set are checked after decoding.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from tamis.api.problems import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tamis.api.limits import Limits

Weight = Annotated[float, Meta(gt=0, le=1e9, description="Finite and above zero.")]
Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(gt=0, le=1)]
Factor = Annotated[float, Meta(ge=0, le=1e6)]
_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<name>[^`]*)`")


class WeightedQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """A query as weights by term: word pieces as the encoder spells them, words as ``=word``."""

    vector: Annotated[dict[str, Weight], Meta(min_length=1)]


Query = str | WeightedQuery


class Rerank(Struct, forbid_unknown_fields=True, frozen=True):
    """A second stage over the best documents."""

    depth: Annotated[Count, Meta(description="How many documents are ordered anew.")] = 50


class _Options(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    k: Annotated[Count, Meta(description="How many hits to give.")] = 10
    exact: Annotated[bool, Meta(description="Precisely the exhaustive top k.")] = False
    recall: Annotated[
        Share, Meta(description="Share of the true top k to find at least; exact ignores it.")
    ] = 0.99
    lexical_weight: Annotated[
        Factor | None,
        Meta(description="Factor on the words of a text; null takes the index's own, 0 is off."),
    ] = None
    explain: Annotated[bool, Meta(description="Fill matched_terms.")] = False
    highlight: Annotated[bool, Meta(description="Fill highlights.")] = False
    rerank: Annotated[
        Rerank | None, Meta(description="Order the best anew; scores are then the reranker's.")
    ] = None


class SearchRequest(_Options, frozen=True, kw_only=True):
    """One query: its text, or weights by term."""

    query: Query


class BatchRequest(_Options, frozen=True, kw_only=True):
    """Many queries with the same options."""

    queries: Annotated[list[Query], Meta(min_length=1)]


class ExplainRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """Ask why a document has its score."""

    query: Query
    id: str
    lexical_weight: Factor | None = None


class EncodeRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """Texts to turn into query vectors; ``index`` may be left out where there is but one."""

    texts: Annotated[list[str], Meta(min_length=1)]
    index: str | UnsetType = UNSET


class RerankRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """Documents to order by how well they answer a query."""

    query: str
    documents: Annotated[list[str], Meta(description="Texts; may be empty.")]
    top_n: Annotated[Count | None, Meta(description="How many to give; null for all.")] = None
    return_documents: Annotated[bool, Meta(description="Give each document back.")] = False


Request = TypeVar(
    "Request", SearchRequest, BatchRequest, ExplainRequest, EncodeRequest, RerankRequest
)


def decode_body(body: bytes, kind: type[Request]) -> Request:
    """Read a JSON body.

    Raises:
        RequestError: 400 when it is not JSON, 422 when it is not such a request; the message
            names the field.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(
            400, "invalid_json", f"expected a JSON object as the body, found {error}; send JSON"
        ) from error


def decode_parameters(parameters: Sequence[tuple[str, str]]) -> SearchRequest:
    """Read a search from the parameters of a URL, where the query is called ``q``.

    Raises:
        RequestError: 422 when a parameter is unknown, twice there, missing or of a wrong kind.
    """
    fields: dict[str, Any] = {}
    for name, value in parameters:
        if name == "query" or (name == "q" and "query" in fields) or name in fields:
            problem = "unknown_field" if name == "query" else "invalid_value"
            raise RequestError(
                422, problem, f"expected each parameter once and the query as q, found {name!r}"
            )
        fields["query" if name == "q" else name] = value
    if "query" not in fields:
        raise RequestError(
            422, "invalid_value", "expected the parameter q, found none; add ?q=your+query"
        )
    try:
        return msgspec.convert(fields, SearchRequest, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error


def plain(query: Query) -> str | Mapping[str, float]:
    """The query as `Searcher.search` takes it."""
    return query if isinstance(query, str) else query.vector


def check_queries(queries: Iterable[Query], limits: Limits) -> None:
    """Refuse a query that is empty or beyond the limits."""
    for query in queries:
        if isinstance(query, str):
            check_text(query, limits)
        else:
            check_at_most("terms in a query", len(query.vector), limits.query_terms)


def check_text(text: str, limits: Limits) -> None:
    """Refuse a text that is blank, too long, or no Unicode text."""
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        raise RequestError(
            422, "invalid_value", f"expected Unicode text, found a lone surrogate ({error.reason})"
        ) from error
    if not text.strip():
        raise RequestError(
            422, "invalid_value", "expected a query with some text, found a blank one; add words"
        )
    check_at_most("bytes of query text", size_bytes, limits.query_bytes)


def check_at_most(what: str, found: int, limit: int) -> None:
    """Refuse more of something than the limit."""
    if found > limit:
        raise RequestError(
            422, "limit_exceeded", f"expected at most {limit} {what}, found {found}; ask for less"
        )


def _invalid(error: msgspec.ValidationError) -> RequestError:
    message = str(error)
    unknown = _UNKNOWN_FIELD.search(message)
    if unknown is not None:
        name = unknown["name"]
        return RequestError(
            422, "unknown_field", f"expected no field {name!r}, found it ({message}); remove it"
        )
    return RequestError(422, "invalid_value", message[:1].lower() + message[1:])
