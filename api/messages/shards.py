"""What a broker asks of the server of a shard, and is told. Users need none of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from tamis.api.messages.requests import Options, search_options
from tamis.retriever.answers import SearchAnswer  # noqa: TC001  openapi.py reads annotations
from tamis.retriever.first_stage.queries import PreparedQuery
from tamis.retriever.types import Seen

if TYPE_CHECKING:
    from tamis.retriever.search_options import SearchOptions

_HASH_BYTES = 8


class ShardSearchRequest(Options, frozen=True, kw_only=True, omit_defaults=True):
    """A query that a broker has read, with the statistics of all shards.

    Options that say how a text is read have no effect.
    """

    weights: Annotated[
        dict[str, Annotated[float, Meta(gt=0)]] | None,
        Meta(description="By term, which the shard may lack; null finds all, unscored."),
    ] = None
    text: Annotated[
        str, Meta(description="Whose quotes and signs say what documents must hold.")
    ] = ""
    words: Annotated[
        tuple[str, ...] | None, Meta(description="Of which documents that are counted hold one.")
    ] = None
    seen: Annotated[
        bytes, Meta(description="The xxh3-64 of ids that are not to be found, in base64.")
    ] = b""

    @property
    def query(self) -> PreparedQuery | None:
        """As `Searcher.search_with` takes it."""
        if self.weights is None:
            return None
        return PreparedQuery(self.weights, self.text, self.words)

    def options(self, generation: int) -> SearchOptions:
        """How to search a generation, for the best that was not seen yet."""
        hits = len(self.seen) // _HASH_BYTES
        seen = Seen(self.seen, hits, generation) if hits else None
        return replace(search_options(self), seen=seen)


@dataclass(frozen=True, slots=True)
class ShardSearchAnswer:
    """What a shard found.

    Attributes:
        answer: as to anybody.
        order: of each hit, its values of the fields to order by, null for none; empty without
            ``sort``.
    """

    answer: SearchAnswer
    order: tuple[tuple[Any, ...], ...]


class StatisticsParameters(Struct, forbid_unknown_fields=True, frozen=True):
    """What a broker knows of a shard already."""

    generation: Annotated[int, Meta(ge=0, description="Of the last answer; 0 for none.")] = 0
    words: Annotated[int, Meta(ge=0, description="How many words are known.")] = 0
    fingerprint: Annotated[str, Meta(description="Of these words.")] = ""


class StatisticsAnswer(Struct, frozen=True):
    """What a shard is, and how many of its documents hold which word.

    Attributes:
        version: of the program.
        identity: of the collection.
        generation: that is searched.
        documents: how many.
        with_words: how many of them hold a word.
        vocab_size: terms of both channels.
        size_bytes: of all its files.
        awaiting: documents whose learned vectors are still to come.
        settings: how it was made, but for places on its disk.
        first_word: the number of learned terms before the first word; null without words.
        known: how many of the words that were known stand.
        words: those after them.
        fingerprint: of all its words.
        frequencies: of all its words, int32 little-endian, in base64; empty where the generation
            is the one that was known.
    """

    version: str
    identity: str
    generation: int
    documents: int
    with_words: int
    vocab_size: int
    size_bytes: int
    awaiting: int
    settings: dict[str, Any]
    first_word: int | None
    known: int
    words: tuple[str, ...]
    fingerprint: str
    frequencies: bytes


class TextsParameters(Struct, forbid_unknown_fields=True, frozen=True):
    """A word whose written forms are wanted."""

    word: Annotated[str, Meta(min_length=1, description="As the index has it.")]


@dataclass(frozen=True, slots=True)
class TextsAnswer:
    """The beginnings of a few documents that hold a word."""

    texts: tuple[str, ...]
