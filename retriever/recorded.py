"""What a collection records of its encoder and its words, beside the vectors they made."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from tamis.index.collection import QUERY_SIDE
from tamis.index.generations.settings import (
    ChunkSettings,
    CollectionSettings,
    EncoderSettings,
    LexicalSettings,
    SeveralLanguagesSettings,
    TextFieldSettings,
)
from tamis.retriever.models.inference_free import TableQueryEncoder
from tamis.retriever.words.analysis import RECORDED, stemmer_version, unicode_version
from tamis.retriever.words.finding_languages import finder_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.index.files.file_entry import FileEntry
    from tamis.index.files.storage import Storage
    from tamis.index.segment.dictionary import Dictionary
    from tamis.index.segment.values import ColumnType
    from tamis.retriever.corpus.chunking import Chunking
    from tamis.retriever.models.encoder import Encoder
    from tamis.retriever.words.bm25f import Averages
    from tamis.retriever.words.lexical import LexicalConfig


def collection_settings(
    encoder: Encoder | None,
    lexical: LexicalSettings | None,
    source: str,
    columns: Mapping[str, ColumnType],
    chunking: Chunking | None,
    truncated: int = 0,
) -> CollectionSettings:
    """What a collection records of its making.

    Args:
        encoder: makes the learned terms; None without any.
        lexical: what is recorded of the words; None without the lexical channel.
        source: where the documents come from.
        columns: the declared fields and their types.
        chunking: how documents are divided; None where they are whole.
        truncated: documents longer than the encoder reads.
    """
    made_by = None
    if encoder is not None:
        made_by = EncoderSettings(
            **asdict(encoder.description),
            location=encoder.location,
            arithmetic=getattr(encoder, "arithmetic", None),
        )
    return CollectionSettings(
        source=source,
        encoder=made_by,
        lexical=lexical,
        columns=dict(columns),
        chunk=ChunkSettings(**asdict(chunking)) if chunking is not None else None,
        truncated=truncated,
    )


def lexical_settings(
    config: LexicalConfig, dictionary: Dictionary, averages: Averages, words_cut: int
) -> LexicalSettings:
    """What a collection records of its words when they are made.

    Args:
        config: how words are made and weighed.
        dictionary: the words.
        averages: by which their counts were weighed.
        words_cut: words too long to be kept whole.
    """
    of_fields = averages.fields or (0.0,) * len(config.fields)
    return LexicalSettings(
        **{name: getattr(config, name) for name in RECORDED},
        fields=[
            TextFieldSettings(name=one.name, weight=one.weight, b=one.b, average_length=length)
            for one, length in zip(config.fields, of_fields, strict=True)
        ],
        stemmer=stemmer_version(),
        unicode=unicode_version(),
        average_length=averages.length,
        words=len(dictionary),
        words_cut=words_cut,
        fingerprint=dictionary.fingerprint,
        several_languages=_several_languages(config),
    )


def _several_languages(config: LexicalConfig) -> SeveralLanguagesSettings | UnsetType:
    if not config.languages:
        return UNSET
    field = config.language_field
    return SeveralLanguagesSettings(
        others=list(config.languages), field=field, finder="" if field else finder_version()
    )


def write_query_side(storage: Storage, encoder: Encoder | None) -> dict[str, FileEntry]:
    """Keep a copy of a query side that needs no model, so that the collection is enough."""
    side = encoder.query_side() if encoder is not None else None
    if not isinstance(side, TableQueryEncoder):
        return {}
    storage.remove_folder(QUERY_SIDE)
    side.save(storage.path(QUERY_SIDE))
    return {
        f"{QUERY_SIDE}/{name}": storage.adopt(f"{QUERY_SIDE}/{name}")
        for name in storage.names(QUERY_SIDE)
    }
