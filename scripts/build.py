"""Building an index of texts, as the command line spells its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tamis.scripts.corpus import Reading, chunking_of, count_passages
from tamis.scripts.progress import START_UP, progress_on_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.index.segment.quantize import Precision
    from tamis.index.segment.values import ColumnType
    from tamis.retriever.words.fields import TextField
    from tamis.retriever.words.lexical import LexicalConfig

WORDS_ALONE = "bm25"


class TextSettings(NamedTuple):
    """How texts become documents and words, as the command line spells it.

    Attributes:
        language: of the lexical channel, several by commas; None leaves the channel out.
        fields: to filter by, as ``--fields``.
        chunk: how documents are divided, as ``--chunk``.
        precision: how weights are stored, as ``--precision``.
        reading: under which names a corpus holds what.
        searched: the text fields of the lexical channel; none where title and text are one.
        language_field: that says a document's language, where there are several.
    """

    language: str | None = "english"
    fields: str | None = None
    chunk: str | None = None
    precision: Precision = "f32"
    reading: Reading = Reading()
    searched: tuple[TextField, ...] = ()
    language_field: str | None = None


def index_corpus_of(
    corpus: str,
    out: Path,
    encoder: str,
    settings: TextSettings = TextSettings(),  # noqa: B008  frozen
    memory: str | None = None,
    device: str | None = None,
    *,
    resume: bool = False,
) -> None:
    """Read, encode and index, with progress on a terminal."""
    from tamis.retriever.corpus.passages import read_passages
    from tamis.retriever.indexing import index_corpus

    options = index_options(corpus, encoder, settings, memory, device, resume=resume)
    START_UP.over()
    with progress_on_terminal(lambda: count_passages(corpus)) as progress:
        passages = read_passages(corpus, **settings.reading)
        index_corpus(passages, out, progress=progress, **options)


def index_options(
    corpus: str,
    encoder: str,
    settings: TextSettings,
    memory: str | None,
    device: str | None,
    *,
    resume: bool,
) -> dict[str, Any]:
    """What `index_corpus` and `index_piece` take beside the passages and a place."""
    from tamis.index.files.lines import refuse
    from tamis.retriever.memory import parse_bytes
    from tamis.retriever.models.encoder import load_encoder

    limit = parse_bytes(memory) if memory else None
    model = None
    if encoder != WORDS_ALONE:
        model = load_encoder(encoder, device=device, memory_bytes=limit)
    return {
        "encoder": model,
        "lexical": lexical_config(settings.language, settings.searched, settings.language_field),
        "source": corpus,
        "fields": declared(settings.fields),
        "chunking": chunking_of(settings.chunk, corpus, model),
        "precision": settings.precision,
        "memory_bytes": limit,
        "resume": resume,
        "fault": settings.reading.get("fault", refuse),
    }


def lexical_config(
    spelled: str | None, searched: tuple[TextField, ...] = (), language_field: str | None = None
) -> LexicalConfig | None:
    """The lexical channel of languages as ``--language english,german``; None without one."""
    from tamis.retriever.words.language_names import CODES
    from tamis.retriever.words.lexical import LexicalConfig

    if spelled is None:
        return None
    first, *others = (CODES.get(name.strip(), name.strip()) for name in spelled.split(","))
    return LexicalConfig(
        language=first,
        fields=searched,
        languages=tuple(others),
        language_field=language_field,
    )


def declared(fields: str | None) -> dict[str, ColumnType | None]:
    """The fields of ``--fields``, with their types where they are given."""
    from tamis.retriever.corpus.fields import parse_fields

    return parse_fields(fields) if fields else {}
