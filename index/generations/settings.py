"""CollectionSettings: what a manifest records of how a collection was made.

The index passes most of it on unread: what the names mean is for those who make vectors of texts.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tamis.index.segment.values import ColumnType  # noqa: TC001  msgspec reads it at run time


class EncoderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The encoder that made the learned terms.

    Attributes:
        name: what people know it by.
        fingerprint: of all that decides a vector.
        licence: as the model states it, ``unknown`` if it does not.
        vocab_size: number of its terms, which are the first ones.
        max_length: longest document in tokens, special ones included.
        query_side: ``neural`` runs a model on queries, ``table`` looks weights up.
        location: where it was loaded from.
        arithmetic: what it computed with and where, such as ``int8 on cpu``; None where that is not
            known, or where nothing is computed.
    """

    name: str
    fingerprint: str
    licence: str = "unknown"
    vocab_size: int
    max_length: int
    query_side: Literal["neural", "table"]
    location: str
    arithmetic: str | None = None


class TextFieldSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A field whose words are searched.

    Attributes:
        name: of the field.
        weight: how often a word of it counts for one.
        b: how much of its length is discounted; None takes that of all words.
        average_length: its words in a document that has any there; 0 before there is one.
    """

    name: str
    weight: float
    b: float | None = None
    average_length: float = 0.0


class SeveralLanguagesSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How documents of several languages are told apart.

    Attributes:
        others: languages, beside that of the stemmer.
        field: of documents, that names theirs; None where it was found.
        finder: version of the package that found it.
    """

    others: list[str]
    field: str | None = None
    finder: str = ""


class LexicalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the words of the lexical channel were made and weighed.

    Attributes:
        language: of the stemmer.
        stop_words: whether they were left out.
        fold_marks: whether combining marks were.
        k1: how slowly repeated words saturate.
        b: how much of a document's length is discounted.
        weight: factor on the words of queries.
        analyzer: version of the analyser.
        stemmer: and of its stemmer; None where it was not recorded.
        unicode: and of the character database that it asked; None where it was not recorded.
        average_length: words of a document, by which counts were weighed; 0 before there are any.
        words: how many the dictionary held when the collection was made.
        words_cut: words too long to be kept whole.
        fingerprint: of the dictionary's first ``words`` words.
        fields: that are searched, in the order they are read in; without any, title and text as
            one.
        several_languages: that documents are in; not written where it is one.
    """

    language: str
    stop_words: bool
    fold_marks: bool
    k1: float
    b: float
    weight: float
    analyzer: int
    stemmer: str | None = None
    unicode: str | None = None
    average_length: float
    words: int
    words_cut: int = 0
    fingerprint: str
    fields: list[TextFieldSettings] = []
    several_languages: SeveralLanguagesSettings | msgspec.UnsetType = msgspec.UNSET


class ChunkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How documents were divided into passages.

    Attributes:
        tokens: of a passage, at most.
        overlap: tokens that a passage shares with the one before.
    """

    tokens: int
    overlap: int


class QueryWords(msgspec.Struct, frozen=True, kw_only=True):
    """What words of queries also mean, and which are left out.

    Attributes:
        synonyms: rules, see `tamis.retriever.words.synonyms`.
        stop_words: words that queries leave out, beside those of the language.
    """

    synonyms: list[str] = []
    stop_words: list[str] = []


class CollectionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a collection was made.

    Attributes:
        source: where its documents come from.
        encoder: None without learned terms.
        lexical: None without the lexical channel.
        columns: the declared fields and their types.
        chunk: None where documents are whole.
        truncated: documents longer than the encoder reads.
        query_words: synonyms and stop words; None where there have never been any.
    """

    source: str = ""
    encoder: EncoderSettings | None = None
    lexical: LexicalSettings | None = None
    columns: dict[str, ColumnType] = {}
    chunk: ChunkSettings | None = None
    truncated: int = 0
    query_words: QueryWords | None = None

    @property
    def text_fields(self) -> tuple[str, ...]:
        """Names of the fields that are searched; none where title and text are one."""
        return tuple(one.name for one in self.lexical.fields) if self.lexical is not None else ()
