"""What the owner of a corpus should know before hours are spent on encoding it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from tamis.index.errors import TamisWarning
from tamis.retriever.corpus.languages import advice, languages_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tamis.retriever.models.encoder import Encoder
    from tamis.retriever.words.analysis import Analyzer
    from tamis.retriever.words.lexical import LexicalConfig


class CorpusWarning(TamisWarning):
    """Something about a corpus that its owner should know, though it can be indexed."""


def count_cut(encoder: Encoder | None, texts: Sequence[str]) -> int:
    """How many documents an encoder does not read to their end."""
    if encoder is None:
        return 0
    longest = encoder.description.max_length
    long = [text for text in texts if 2 * len(text.encode()) > longest]  # few tokens are shorter
    return sum(tokens > longest for tokens in encoder.count_tokens(long)) if long else 0


def warn_of_cut(
    encoder: Encoder | None, source: str, cut: int, documents: int, remedy: str
) -> None:
    """Warn (CorpusWarning) where `count_cut` has counted any; ``remedy`` says what to do."""
    if encoder is not None and cut:
        warnings.warn(
            f"{source}: {cut:,} of {documents:,} documents are longer than the "
            f"{encoder.description.max_length} tokens that the encoder reads, and the rest of them "
            f"adds no learned terms; {remedy}",
            CorpusWarning,
            stacklevel=3,
        )


def warn_of_empty_fields(source: str, names: Sequence[str], lengths: Sequence[float]) -> None:
    """Warn (CorpusWarning) of searched fields in which no document has words."""
    for name in (name for name, length in zip(names, lengths, strict=False) if not length):
        warnings.warn(
            f"{source}: no document has words in the text field {name!r}; correct its name, if "
            "later documents are not to have any either",
            CorpusWarning,
            stacklevel=3,
        )


def warn_of_unknown_languages(source: str, analyzer: Analyzer) -> None:
    """Warn (CorpusWarning) of languages that documents have named and their collection has not."""
    unknown, config = analyzer.take_unknown_languages(), analyzer.config
    if not unknown:
        return
    listed = ", ".join(f"{name} ({count:,})" for name, count in unknown.most_common(5))
    warnings.warn(
        f"{source}: expected {config.language} or {', '.join(config.languages)} in the field "
        f"{config.language_field!r}, found {listed}: {unknown.total():,} documents are read as "
        f"{config.language}",
        CorpusWarning,
        stacklevel=3,
    )


def warn_of_language(
    encoder: Encoder | None, lexical: LexicalConfig | None, source: str, texts: Sequence[str]
) -> None:
    """Warn (CorpusWarning) where the settings do not suit the language of a sample of texts."""
    location = encoder.location if encoder else ""
    is_one = lexical is not None and not lexical.languages
    said = advice(languages_of(texts), location, lexical.language if lexical and is_one else None)
    if said:
        warnings.warn(f"{source}: {said}", CorpusWarning, stacklevel=3)
