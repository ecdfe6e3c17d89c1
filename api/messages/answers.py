"""What the service answers beside `tamis.retriever.answers`. Knows nothing of HTTP.

orjson writes the dataclasses as they are, msgspec the structs, and openapi.py describes them from
these definitions.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec

from tamis.index.interrupts import check_for_interrupts
from tamis.retriever.answers import SearchAnswer, by_weight
from tamis.retriever.first_stage.completion import Suggestion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tamis.retriever.searcher import Searcher

TEXTS_AT_ONCE = 32  # encoded between two checks for interrupts


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """The answers to a batch of queries, in their order."""

    took_ms: float
    results: tuple[SearchAnswer, ...]


@dataclass(frozen=True, slots=True)
class DocumentAnswer:
    """A stored document."""

    id: str
    generation: int
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EncodeAnswer:
    """The query vectors of texts, in their order: weights by term, as a search takes them."""

    took_ms: float
    index: str
    vectors: tuple[dict[str, float], ...]


@dataclass(frozen=True, slots=True)
class SuggestAnswer:
    """How a text may go on, those words first that most documents hold."""

    took_ms: float
    generation: int
    suggestions: tuple[Suggestion, ...]


@dataclass(frozen=True, slots=True)
class SynonymsAnswer:
    """What words of queries also mean, and which are left out, by rules of the index's own."""

    generation: int
    synonyms: tuple[str, ...]
    stop_words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """``ok``."""

    status: str


class ReadyAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """``ready``.

    Attributes:
        status: searches are answered.
        codes: what is not well all the same, by the codes of problems; left out when all is.
    """

    status: str
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InfoAnswer:
    """What a server is, the limits it keeps, and the names of its indexes.

    Attributes:
        name: of the program.
        version: of the program.
        limits: on what requests may ask for.
        indexes: by name.
        awaiting: of each index that has any, documents whose learned vectors are still to come.
        statistics_age_s: of a broker, seconds since the words of the shard that it looked at
            longest ago were counted; null for a server of its own indexes.
    """

    name: str
    version: str
    limits: dict[str, int]
    indexes: tuple[str, ...]
    awaiting: dict[str, int]
    statistics_age_s: float | None = None


@dataclass(frozen=True, slots=True)
class IndexAnswer:
    """What is known of one index.

    Attributes:
        name: as it stands in the paths.
        documents: how many there are.
        generation: counts the collection's changes, from 1.
        size_bytes: of all its files.
        vocab_size: terms of both channels.
        fields: those that searches can be filtered by, and their types.
        encoder: identity and licence of the encoder; null for words alone.
        lexical: settings of the lexical channel; null without it.
        chunk: how documents were divided into passages, found as one with `group_by` parent;
            null where they are whole.
        writable: whether documents can be added and deleted through this server.
        aliases: other names that it is found by.
        awaiting: documents that are found by their words alone, as their learned vectors are
            still to come.
        encoded: how many of those have been encoded; all are searched together at the end.
    """

    name: str
    documents: int
    generation: int
    size_bytes: int
    vocab_size: int
    fields: dict[str, str]
    encoder: dict[str, Any] | None
    lexical: dict[str, Any] | None
    chunk: dict[str, Any] | None
    writable: bool
    aliases: tuple[str, ...]
    awaiting: int = 0
    encoded: int = 0


@dataclass(frozen=True, slots=True)
class IndexesAnswer:
    """All indexes of this server."""

    indexes: tuple[IndexAnswer, ...]


def encode_answer(searcher: "Searcher", name: str, texts: "Sequence[str]") -> EncodeAnswer:
    """The query vectors of texts over the terms of one index."""
    began = perf_counter()
    vectors: list[dict[str, float]] = []
    for first in range(0, len(texts), TEXTS_AT_ONCE):
        check_for_interrupts()
        rows = searcher.encode(texts[first : first + TEXTS_AT_ONCE]).to_dicts()
        vectors += (by_weight(searcher, row) for row in rows)
    return EncodeAnswer((perf_counter() - began) * 1000, name, tuple(vectors))


def index_answer(
    name: str, searcher: "Searcher", *, writable: bool = False, aliases: "Sequence[str]" = ()
) -> IndexAnswer:
    """What is known of an index."""
    collection = searcher.collection
    made: dict[str, Any] = msgspec.to_builtins(collection.settings)
    if made["encoder"] is not None:
        del made["encoder"]["location"]  # which tells of the server's disk
    if made["lexical"] is not None and collection.dictionary is not None:
        made["lexical"]["words"] = len(collection.dictionary)  # recorded are those of the making
    return IndexAnswer(
        name=name,
        documents=len(collection),
        generation=collection.generation,
        size_bytes=collection.size_bytes,
        vocab_size=collection.index.vocab_size,
        fields=dict(collection.index.columns),
        encoder=made["encoder"],
        lexical=made["lexical"],
        chunk=made["chunk"],
        writable=writable,
        aliases=tuple(sorted(aliases)),
        awaiting=collection.index.awaiting,
        encoded=collection.encoded,
    )
