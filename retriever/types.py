"""The records that pass between the stages of retrieval. All are frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import numpy as np
from msgspec import Meta

from tamis.index.segment.identifiers import hashes_of
from tamis.retriever.words.fields import field_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.index.matches import Count

Counted = Literal["words", "filter"]
Relation = Literal["exact", "at_least"]
_HASH = np.dtype("<u8")
_Above = Annotated[float, Meta(gt=0, le=1e18)]


class Heading(NamedTuple):
    """A heading within a text.

    Attributes:
        start: its first character in the text.
        level: from 1, the outermost.
        text: of it.
    """

    start: int
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """One text of a corpus.

    Attributes:
        doc_id: the corpus's id.
        text: the body.
        title: may be empty.
        fields: further stored values, by name.
        line: where it stands in its file, from 1; 0 when it has no line.
        file: the file's name; empty when it comes from elsewhere.
        headings: within the text, in its order; passages of a long document are named after them.
    """

    doc_id: str
    text: str
    title: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    line: int = 0
    file: str = ""
    headings: tuple[Heading, ...] = ()

    @property
    def place(self) -> str:
        """``file:line: ``, to begin a message about it with; empty when it is in no file."""
        return f"{self.file}:{self.line}: " if self.file else ""

    @property
    def content(self) -> str:
        """Title and text, joined by a space as BEIR does: what is encoded and searched."""
        return f"{self.title} {self.text}" if self.title else self.text

    def record(self) -> dict[str, Any]:
        """The document as it is stored and returned."""
        return {"_id": self.doc_id, "title": self.title, "text": self.text, **self.fields}


@dataclass(frozen=True, slots=True)
class MatchedTerm:
    """Why a hit was found: one term of the query that the document holds.

    Attributes:
        term: a word piece as it is, or a stemmed word as ``=word``.
        query_weight: its weight in the query.
        doc_weight: its weight in the document.
        contribution: their product; the contributions of a hit sum to its score.
        expansion: the document's text does not hold the term; the encoder added it.
        fields: of a word in an index with searched fields, what of the contribution comes from
            each; None for other terms.
    """

    term: str
    query_weight: float
    doc_weight: float
    contribution: float
    expansion: bool
    fields: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class ScorePart:
    """One of the things that a reranker's score of a hit is the sum of.

    Attributes:
        name: such as ``first stage`` or ``dense``; of a late interaction, a token of the query.
        value: what was measured, such as a cosine.
        contribution: to the score.
        met: the token of the document that the query's token met best; empty elsewhere.
    """

    name: str
    value: float
    contribution: float
    met: str = ""


@dataclass(frozen=True, slots=True)
class Reranked:
    """What became of a search's second stage.

    Attributes:
        documents: how many were scored.
        not_stored: those of them that had to be read, though a store lies beside the collection:
            it has nothing of their texts, which are new or have changed.
    """

    documents: int
    not_stored: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer.

    Attributes:
        doc_id: the corpus's id.
        score: unbounded; not comparable between queries or encoders.
        rank: from 1.
        document: the stored record.
        matched_terms: largest contribution first; empty unless an explanation was asked for.
        group: the value of the field that a search groups by; None without one.
        passages: of a search that groups, the best hits of this one's group, itself the first.
        score_parts: what a reranker's score is the sum of; empty unless an explanation was asked
            for, and the reranker has one.
    """

    doc_id: str
    score: float
    rank: int
    document: Mapping[str, Any]
    matched_terms: tuple[MatchedTerm, ...] = ()
    group: str | int | float | bool | None = None
    passages: tuple[Hit, ...] = ()
    score_parts: tuple[ScorePart, ...] = ()


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Milliseconds spent on one query in each stage."""

    encode_ms: float
    retrieve_ms: float
    fetch_ms: float
    rerank_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        """All stages together."""
        return self.encode_ms + self.retrieve_ms + self.fetch_ms + self.rerank_ms


@dataclass(frozen=True, slots=True)
class Seen:
    """What has been found so far; a page after it holds the best of the rest.

    Documents are known by their ids alone. So those that come, go, or change between two pages
    neither hide another document nor bring one back.

    Attributes:
        documents: the xxh3-64 of the ids of all documents, 8 bytes each, little-endian.
        hits: how many hits there were; groups have several documents each.
        generation: of the collection that the first of them were found in; 0 before there are any.
    """

    documents: bytes = b""
    hits: int = 0
    generation: int = 0

    def after(self, hits: Sequence[Hit], generation: int) -> Seen:
        """This and further hits, with the passages of their groups, found in a generation."""
        ids = [one.doc_id for hit in hits for one in (hit.passages or (hit,))]
        found = self.passing(ids, len(hits))
        return Seen(found.documents, found.hits, self.generation or generation)

    def passing(self, ids: Iterable[str], hits: int) -> Seen:
        """This and further documents, which were so many hits."""
        more = hashes_of(ids).astype(_HASH).tobytes()
        return Seen(self.documents + more, self.hits + hits, self.generation)

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """``[documents]``, the hashes of the ids."""
        return np.frombuffer(self.documents, _HASH).astype(np.uint64)


NOTHING_SEEN = Seen()


class Recency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newer, the more.

    Attributes:
        half_life_days: age at which the boost is half of what it is at first.
        origin: the date that ages count from; null for now.
    """

    half_life_days: _Above
    origin: str | None = None


class Boost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a field adds to scores; just one of recency, saturation and log says how.

    Attributes:
        field: a declared field: a date for recency, else an integer or float.
        weight: what it adds at most.
        recency: the newer, the more.
        saturation: the number at which half of the weight is added.
        log: the number from which on the whole weight is added.
    """

    field: str
    weight: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    recency: Recency | None = None
    saturation: _Above | None = None
    log: _Above | None = None


Replacement = TypedDict("Replacement", {"from": str, "to": str})


@dataclass(frozen=True, slots=True)
class Prefix:
    """What the beginning of a word stands for.

    Attributes:
        prefix: as it was typed.
        words: how many words of the collection begin so.
        used: how many of them, those in most documents, documents are ranked by.
    """

    prefix: str
    words: int
    used: int


@dataclass(frozen=True, slots=True)
class Understood:
    """What a query's text was taken to mean, where it is more than its words.

    Attributes:
        text: what documents are ranked by.
        phrases: each stands in every hit.
        must: every hit holds each of these words, phrases and prefixes.
        must_not: and none of these.
        prefixes: what each beginning of a word stands for.
        also: what documents are ranked by too, and what word of the query for: synonyms, and words
            without a hyphen.
        left_out: words that the collection's own stop words leave out.
        notes: what was no operator after all, or could not be done, a sentence each.
    """

    text: str
    phrases: tuple[str, ...] = ()
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    prefixes: tuple[Prefix, ...] = ()
    also: tuple[Replacement, ...] = ()
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Total:
    """How many documents match.

    Attributes:
        value: how many.
        relation: ``at_least`` where counting all would take too long.
        count: what was counted: documents that pass the filter and hold at least one of the
            query's ``words``, or all that pass the ``filter``. Learned terms do not count.
    """

    value: int
    relation: Relation
    count: Counted


@dataclass(frozen=True, slots=True)
class Counts:
    """What is known of all documents that match.

    Attributes:
        total: how many there are.
        facets: by field, how many have each value.
        facets_cut: by field, how many further values are left out, where some are.
    """

    total: Total
    facets: Mapping[str, tuple[Count, ...]]
    facets_cut: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to one query.

    Attributes:
        hits: best first.
        times: by stage.
        generation: of the collection that was read.
        unknown_terms: terms of the query that no document of the index has, as they are printed;
            they add nothing.
        terms_cut: how many terms of a long query, the lightest, were left out.
        seen_before: what the pages before gave.
        understood: what the query's text was taken to mean; None for its words alone.
        counts: of all documents that match; None unless something was to be counted.
        corrections: words of the query that no document has, and what was searched instead.
        reranked: what became of the second stage; None without one.
    """

    hits: tuple[Hit, ...]
    times: StageTimes
    generation: int
    unknown_terms: tuple[str, ...] = ()
    terms_cut: int = 0
    seen_before: Seen = NOTHING_SEEN
    understood: Understood | None = None
    counts: Counts | None = None
    corrections: tuple[Replacement, ...] = ()
    reranked: Reranked | None = None

    @property
    def seen(self) -> Seen:
        """What this page and those before gave, for the search of the next one."""
        return self.seen_before.after(self.hits, self.generation)


def content_of(record: Mapping[str, Any], fields: Sequence[str] = ()) -> str:
    """The text of a stored document that is encoded and searched.

    Args:
        record: the document.
        fields: that are searched, in their order; without any, title and text are.
    """
    if fields:
        return " ".join(filter(None, field_texts(record, fields)))
    title, text = record.get("title") or "", record.get("text") or ""
    return f"{title} {text}" if title else text
