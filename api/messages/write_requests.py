"""What the service takes to change things: indexes, documents, aliases, snapshots.

Structs that msgspec decodes into, as in requests.py.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from tamis.api.messages.requests import Field, Filter  # noqa: TC001  msgspec reads these at run time
from tamis.index.segment.quantize import Precision  # noqa: TC001
from tamis.index.segment.values import ColumnType  # noqa: TC001
from tamis.retriever.corpus.chunking import Chunking  # noqa: TC001
from tamis.retriever.words.lexical import LexicalConfig

Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}\Z",
        description="1 to 64 of a-z, 0-9, _ and -, the first no sign.",
    ),
]


class CreateRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """How an index is to be made."""

    encoder: Annotated[
        Annotated[str, Meta(min_length=1, max_length=64)] | None,
        Meta(
            description="default, or a name that this server was set up with; bm25 or null for "
            "words alone.",
        ),
    ] = "default"
    lexical: Annotated[
        LexicalConfig | None,
        Meta(
            description="Of the words, with the fields that are searched; null for learned terms "
            "alone.",
            examples=[{"fields": [{"name": "title", "weight": 3}, {"name": "text"}]}],
        ),
    ] = msgspec.field(default_factory=LexicalConfig)
    fields: Annotated[
        dict[Field, ColumnType],
        Meta(max_length=64, description="Fields that searches can be filtered and grouped by."),
    ] = msgspec.field(default_factory=dict)
    chunk: Annotated[
        Chunking | None,
        Meta(description="Divide documents into passages of so many tokens; null keeps them."),
    ] = None
    precision: Annotated[
        Precision,
        Meta(description="How weights are stored: f32 as they are; the others rounded, in less."),
    ] = "f32"


class DeleteRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """Which documents to delete: by ids, by a filter over declared fields, or all."""

    ids: Annotated[list[str] | None, Meta(description="Unknown ones are passed over.")] = None
    filter: Annotated[
        Filter | None, Meta(description="As in a search, with at least one condition.")
    ] = None
    all: Annotated[bool, Meta(description="Every document.")] = False


class DocumentRequest(Struct, frozen=True):
    """A document: its text, title and further fields, stored as they are.

    ``vector`` gives its whole vector: word pieces as the encoder spells them, words as ``=word``.
    Nothing is then encoded, and its text is only stored.
    """

    text: str = ""
    title: str = ""


class ChangeRequest(Struct, frozen=True):
    """Fields of a document to change, as a JSON Merge Patch (RFC 7396).

    Null removes a field, objects are merged, anything else takes its place. Title, text and vector
    cannot be changed so: put the document.
    """


class FieldsRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """What to change of an index."""

    fields: Annotated[
        dict[Field, ColumnType],
        Meta(
            min_length=1,
            max_length=64,
            description="Further fields to filter by; the stored documents are read for them.",
        ),
    ]


class AliasRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """The index that an alias is to stand for."""

    index: Name


class SnapshotRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """A snapshot to take; its name is made of the time unless it is given."""

    name: Name | None = None


class RestoreRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """A snapshot to make an index of."""

    index: Annotated[Name, Meta(description="The index that the snapshot is of.")]
    snapshot: Name
    to: Annotated[Name, Meta(description="The new index.")]


class SynonymsRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """What words of queries also mean, and which are left out; replaces all that there was."""

    synonyms: Annotated[
        list[str],
        Meta(
            description="Rules: 'sofa, couch' works both ways, 'nyc => new york' one way.",
            examples=[["sofa, couch", "nyc => new york"]],
        ),
    ]
    stop_words: Annotated[
        list[str], Meta(description="Words that queries leave out, beside those of the language.")
    ] = []
