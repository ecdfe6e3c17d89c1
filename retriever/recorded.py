"""What a collection records of its encoder and its words, beside the vectors they made."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tamis.index.collection import QUERY_SIDE
from tamis.retriever.models.inference_free import TableQueryEncoder

if TYPE_CHECKING:
    from tamis.index.files.file_entry import FileEntry
    from tamis.index.files.storage import Storage
    from tamis.index.segment.dictionary import Dictionary
    from tamis.retriever.models.encoder import Encoder
    from tamis.retriever.words.lexical import LexicalConfig


def encoder_settings(encoder: Encoder | None) -> dict[str, Any] | None:
    """What a collection records of the encoder that made its vectors."""
    if encoder is None:
        return None
    return {**asdict(encoder.description), "location": encoder.location}


def lexical_settings(
    config: LexicalConfig, dictionary: Dictionary, average_length: float, words_cut: int
) -> dict[str, Any]:
    """What a collection records of its words when they are made.

    Args:
        config: how words are made and weighed.
        dictionary: the words.
        average_length: words of a document, by which their counts were weighed.
        words_cut: words too long to be kept whole.
    """
    return {
        **config.to_json(),
        "average_length": average_length,
        "words": len(dictionary),
        "words_cut": words_cut,
        "fingerprint": dictionary.fingerprint,
    }


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
