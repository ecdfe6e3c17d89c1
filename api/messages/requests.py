"""What the service takes, and reading it: every mistake is named, nothing is ignored.

msgspec decodes into these structs and refuses unknown fields; openapi.py describes them from
these definitions. Limits that an operator may set are checked after decoding.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from tamis.api.problems import RequestError
from tamis.index.errors import InputError
from tamis.index.files.strict_json import BYTE_ORDER_MARK, parse_json
from tamis.index.matches import Facet, SortKey  # noqa: TC001  msgspec reads them at run time
from tamis.index.segment.filters import JOINS
from tamis.retriever.first_stage.boosts import MOST_BOOSTS
from tamis.retriever.first_stage.counting import MOST_FIELDS
from tamis.retriever.rerank.named import RerankerName  # noqa: TC001
from tamis.retriever.search_options import SearchOptions
from tamis.retriever.types import Boost  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tamis.api.limits import Limits

Weight = Annotated[float, Meta(gt=0, le=1e9, description="Finite and above zero.")]
Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(gt=0, le=1)]
Factor = Annotated[float, Meta(ge=0, le=1e6)]
Milliseconds = Annotated[int, Meta(ge=1, le=600_000)]
Field = Annotated[str, Meta(min_length=1, max_length=256)]
TextBoosts = Annotated[dict[Field, Factor], Meta(max_length=64)]
Filter = dict[str, Any]
MOST_INDEXES = 32  # in one search
MOST_SHOWN = 80  # characters of a faulty value
_PLACE = re.compile(r" - at (?:`key` in )?`(?P<path>\$[^`]*)`$")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")
_ENUM = re.compile(r"^invalid enum value .*$")
_GOT = re.compile(r", got `.*`$")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<name>[^`]*)`")


class WeightedQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """A query as weights by term: word pieces as the encoder spells them, words as ``=word``."""

    vector: Annotated[dict[str, Weight], Meta(min_length=1)]


Query = str | WeightedQuery


class Rerank(Struct, forbid_unknown_fields=True, frozen=True):
    """A second stage over the best documents."""

    depth: Annotated[Count, Meta(description="How many documents the reranker scores.")] = 50
    reranker: Annotated[
        RerankerName,
        Meta(
            description="block: the server's own, which reads documents; dense: adds the scores of "
            "dense vectors that are stored beside the index."
        ),
    ] = "block"


class PlainOptions(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Options of a search that bodies and URLs spell alike."""

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
    group_by: Annotated[
        Field | None,
        Meta(
            description="Give the best hit of each value of this declared field; parent is the "
            "document of a passage."
        ),
    ] = None
    group_size: Annotated[
        int, Meta(ge=1, le=100, description="Passages of a group to give at most.")
    ] = 3
    syntax: Annotated[
        Literal["plain", "operators"],
        Meta(
            description='operators: in a text "two words" must stand in order, +word must be held, '
            "-word must not, jack* is all words that begin so; plain: these are text."
        ),
    ] = "plain"
    count: Annotated[
        Literal["words", "filter"] | None,
        Meta(
            description="Fill total: words counts the documents that pass the filter and hold at "
            "least one word of the query (learned terms do not count), filter all that pass it. "
            "Facets and sort are over the same documents; null counts words where there are any."
        ),
    ] = None
    min_score: Annotated[
        float | None,
        Meta(
            description="Leave out hits of lower scores. Scores compare within one query only: no "
            "bound suits all queries."
        ),
    ] = None
    typos: Annotated[
        Literal["auto", "off"],
        Meta(
            description="auto: words of a text that no document has are taken as typing errors of "
            "others; corrections in the answer tells which."
        ),
    ] = "off"
    language: Annotated[
        str | None,
        Meta(
            description="The language of the query, by name or code, of those that the words of "
            "the index are in; null for all of them."
        ),
    ] = None
    timeout_ms: Annotated[
        Milliseconds | None,
        Meta(description="Answer after so long with what there is, and partial set."),
    ] = None


class Options(PlainOptions, frozen=True, kw_only=True):
    """Options of a search in a body."""

    rerank: Annotated[
        Rerank | None, Meta(description="Order the best by a reranker; scores are then its own.")
    ] = None
    filter: Annotated[
        Filter | None,
        Meta(
            description="Which documents may be found, by declared fields: eq, in, all_of, "
            "range, exists or prefix of a field, or must, should and must_not of these.",
            examples=[
                {"field": "year", "range": {"gte": 1999}},
                {"should": [{"field": "tags", "eq": "owl"}, {"field": "sold", "eq": False}]},
            ],
        ),
    ] = None
    facets: Annotated[
        tuple[Field | Facet, ...],
        Meta(
            max_length=MOST_FIELDS,
            description="Count the values of declared fields, or those in ranges [from, to).",
            examples=[["brand", {"field": "price", "ranges": [[0, 10], [10, None]]}]],
        ),
    ] = ()
    sort: Annotated[
        tuple[Field | SortKey, ...],
        Meta(
            max_length=MOST_FIELDS,
            description="Declared fields to order by in place of scores; no value comes last.",
            examples=[[{"field": "price", "order": "asc"}]],
        ),
    ] = ()
    boosts: Annotated[
        tuple[Boost, ...],
        Meta(
            max_length=MOST_BOOSTS,
            description="What values of declared fields add to scores: weight times a number from "
            "0 to 1, by recency, saturation or log. Explained as the terms boost:FIELD.",
            examples=[
                [{"field": "published", "recency": {"half_life_days": 30}, "weight": 2}],
                [{"field": "sales", "saturation": 100}, {"field": "likes", "log": 10000}],
            ],
        ),
    ] = ()
    text_boosts: Annotated[
        TextBoosts | None,
        Meta(
            description="Searched fields in which the words of the query count again, and how many "
            "times.",
            examples=[{"title": 3}],
        ),
    ] = None
    fields: Annotated[
        Annotated[list[Field], Meta(max_length=256)] | TextBoosts | None,
        Meta(
            description="A list: fields of documents to give, null for all. An object: all are "
            "given, and it is taken as text_boosts."
        ),
    ] = None


class SearchRequest(Options, frozen=True, kw_only=True):
    """One query: its text, or weights by term; without one, all that the filter admits."""

    query: Annotated[
        Query | None,
        Meta(description="May be left out beside a filter, facets or sort: finds all, unscored."),
    ] = None
    offset: Annotated[int, Meta(ge=0, description="How many hits to pass over.")] = 0
    cursor: Annotated[
        str | None,
        Meta(description="Of an answer to the same search: shows the best of what was not shown."),
    ] = None


class SeveralRequest(Options, frozen=True, kw_only=True):
    """One query to several indexes, whose hits become one list."""

    indexes: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(min_length=1, max_length=MOST_INDEXES, description="Names or aliases, each once."),
    ]
    query: Annotated[
        Query | None,
        Meta(description="May be left out beside a filter or facets: finds all, unscored."),
    ] = None
    offset: Annotated[int, Meta(ge=0, description="How many hits to pass over.")] = 0
    cursor: Annotated[
        str | None,
        Meta(description="Of an answer to the same search: shows the best of what was not shown."),
    ] = None


class BatchRequest(Options, frozen=True, kw_only=True):
    """Many queries with the same options."""

    queries: Annotated[list[Query], Meta(min_length=1)]


class ExplainRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """Ask why a document has its score."""

    query: Query
    id: str
    lexical_weight: Factor | None = None
    syntax: Literal["plain", "operators"] = "plain"
    typos: Literal["auto", "off"] = "off"
    boosts: Annotated[tuple[Boost, ...], Meta(max_length=MOST_BOOSTS)] = ()
    text_boosts: TextBoosts | None = None
    language: str | None = None


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


Asked = TypeVar("Asked", bound=Struct)


def decode_body(body: bytes, kind: type[Asked]) -> Asked:
    """Read a JSON body.

    Raises:
        RequestError: 400 when it is not JSON or has a name twice, 422 when it is not such a
            request; the message names the field.
    """
    try:
        asked = msgspec.json.decode(body.removeprefix(BYTE_ORDER_MARK), type=kind)
    except msgspec.ValidationError as error:
        raise invalid(error, _values(body)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(
            400, "invalid_json", f"expected a JSON object as the body, found {error}; send JSON"
        ) from error
    plain_body(body)
    return asked


def plain_body(body: bytes) -> Any:  # noqa: ANN401  anything JSON can hold
    """What a JSON body holds; raises RequestError 400 when it is not JSON or has a name twice."""
    try:
        return parse_json(body)
    except InputError as error:
        raise RequestError(400, "invalid_json", f"{error} in the body of the request") from error


def _values(body: bytes) -> Any:  # noqa: ANN401
    """What a body holds; UNSET where it is too deep to be shown."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return UNSET


def plain(query: Query) -> str | Mapping[str, float]:
    """The query as `Searcher.search` takes it."""
    return query if isinstance(query, str) else query.vector


def search_options(asked: Options) -> SearchOptions:
    """How to search for a request; which page of the hits, and what of them is shown, is apart."""
    options = {
        name: getattr(asked, name)
        for name in SearchOptions.__slots__
        if name in asked.__struct_fields__
    }
    options["rerank"] = asked.rerank and asked.rerank.depth
    options["reranker"] = asked.rerank.reranker if asked.rerank else "block"
    if isinstance(asked.fields, dict):
        if asked.text_boosts is not None:
            raise RequestError(
                422,
                "invalid_value",
                "expected boosts once, found them in text_boosts and in fields; leave one out",
            )
        options["text_boosts"] = asked.fields
    return SearchOptions(**options)


def check_asked(asked: SearchRequest | SeveralRequest) -> None:
    """Refuse a search for nothing at all, which a forgotten query would be."""
    if asked.query is None and asked.filter is None and not (asked.facets or asked.sort):
        raise RequestError(
            422,
            "invalid_value",
            "expected the field `query` in `$`, found none; add it, or a filter to list by",
        )


def check_queries(queries: Iterable[Query | None], limits: Limits) -> None:
    """Refuse a query that is empty or beyond the limits."""
    for query in queries:
        if isinstance(query, str):
            check_text(query, limits)
        elif query is not None:
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


def check_filter(expression: Filter | None, limits: Limits) -> None:
    """Refuse a filter of too many conditions, too long lists, or too deep."""
    if expression is not None:
        clauses, depth = _size(expression)
        check_at_most("conditions and listed values in a filter", clauses, limits.filter_clauses)
        check_at_most("conditions inside each other in a filter", depth, limits.filter_depth)


def _size(expression: Any) -> tuple[int, int]:  # noqa: ANN401  whatever JSON holds
    """How many conditions and values there are, and how deep they stand; no recursion."""
    clauses, deepest, waiting = 0, 0, [(expression, 1)]
    while waiting:
        found, depth = waiting.pop()
        deepest = max(deepest, depth)
        if not isinstance(found, dict):
            continue
        clauses += 1
        for key in ("in", "all_of"):
            listed = found.get(key)
            clauses += len(listed) if isinstance(listed, list) else 0
        for key in JOINS:
            parts = found.get(key)
            waiting += [(part, depth + 1) for part in parts] if isinstance(parts, list) else []
    return clauses, deepest


def check_at_most(what: str, found: int, limit: int) -> None:
    """Refuse more of something than the limit."""
    if found > limit:
        raise RequestError(
            422, "limit_exceeded", f"expected at most {limit} {what}, found {found}; ask for less"
        )


def invalid(error: msgspec.ValidationError, given: Any) -> RequestError:  # noqa: ANN401
    """What is wrong with a request, by the name of its field.

    Args:
        error: of msgspec.
        given: the request as plain values; UNSET where they cannot be had.
    """
    message = str(error)
    unknown = _UNKNOWN_FIELD.search(message)
    if unknown is not None:
        name = unknown["name"]
        return RequestError(
            422, "unknown_field", f"expected no field {name!r}, found it ({message}); remove it"
        )
    expected, place = message[:1].lower() + message[1:], "$"
    if (at := _PLACE.search(expected)) is not None:
        expected, place = expected[: at.start()], at["path"]
    if (missing := _MISSING.search(expected)) is not None:
        detail = f"expected the field `{missing['name']}` in `{place}`, found none; add it"
    elif ", found " in expected:
        detail = f"{expected} (at `{place}`)"
    else:
        expected = _ENUM.sub("expected one of a few values", _GOT.sub("", expected))
        detail = f"{expected} at `{place}`, found {_found(given, place)}; see /docs"
    return RequestError(422, "invalid_value", detail)


def _found(given: Any, place: str) -> str:  # noqa: ANN401
    """What stands at a place such as ``$.queries[2]``, cut short; for ``[...]`` what is around."""
    for name, number in _STEP.findall(place):
        try:
            given = given[name] if name else given[int(number)] if number else given
        except (LookupError, TypeError):
            break
    try:
        shown = msgspec.json.encode(given).decode(errors="replace")
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError, TypeError):
        return "something else"
    return shown if len(shown) <= MOST_SHOWN else f"{shown[:MOST_SHOWN]}…"
