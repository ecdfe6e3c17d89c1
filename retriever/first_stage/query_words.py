"""Synonyms and stop words that a collection has of its own, kept in its manifest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import structs

from tamis.index.errors import InputError
from tamis.index.files.storage import Storage
from tamis.index.generations.manifest import read_current
from tamis.index.generations.settings import QueryWords
from tamis.index.writing.writer import CollectionWriter
from tamis.retriever.words.analysis import LexicalConfig
from tamis.retriever.words.lexical import LexicalQueries
from tamis.retriever.words.several_languages import analyzer_of
from tamis.retriever.words.synonyms import OwnWords

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.index.collection import Collection

NO_WORDS = QueryWords()


def query_words(path: str | Path) -> QueryWords:
    """The rules and stop words of a collection's own; raises as `Collection.open`."""
    return read_current(Storage(path)).settings.query_words or NO_WORDS


def set_query_words(path: str | Path, words: QueryWords) -> None:
    """Replace the rules and stop words of a collection's own; nothing is built again.

    Raises:
        InputError: a rule is none, there are too many, or the collection has no words.
        LockedError: another process writes there.
    """
    with CollectionWriter.open(path) as writer:
        change_query_words(writer, words)


def change_query_words(writer: CollectionWriter, words: QueryWords) -> None:
    """As `set_query_words`, of a collection that is open for writing."""
    with writer.words_held():
        settings = writer.settings
        if settings.lexical is None:
            raise InputError(
                "expected an index with words to give synonyms for, found one without the lexical "
                "channel; build it with one"
            )
        OwnWords.of(words, analyzer_of(LexicalConfig.of(settings.lexical)))  # refuses faulty ones
        writer.change_settings(structs.replace(settings, query_words=words))


def lexical_queries(
    collection: Collection,
    before: tuple[Collection, LexicalQueries | None] | None = None,
) -> LexicalQueries | None:
    """What makes texts to words of a collection; None where it has none.

    Args:
        collection: one generation of it.
        before: another generation, and what this gave for it.
    """
    recorded, words = collection.settings.lexical, collection.settings.query_words
    if recorded is None or collection.dictionary is None:
        return None
    older, known = before if before is not None else (None, None)
    found = LexicalQueries.from_settings(
        recorded,
        collection.dictionary,
        collection.with_words,
        known.analyzer if known is not None else None,
    )
    if words is None:
        return found
    if older is not None and known is not None and older.settings.query_words == words:
        return replace(found, own=known.own)
    return replace(found, own=OwnWords.of(words, found.analyzer))
