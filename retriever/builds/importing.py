"""Importing: documents whose vectors other programs made become a collection.

What a line holds beside its vector is stored with the document. Terms are numbers, or the pieces of
the encoder that made the vectors; with that encoder the collection is searched by text too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tamis.index.collection import Collection
from tamis.index.errors import InputError
from tamis.index.exchange.ciff import CIFF, read_ciff, renumbered
from tamis.index.exchange.json_vectors import JsonVectors, number_of
from tamis.index.exchange.matrices import MATRICES, read_ids, read_vectors
from tamis.index.writing.collection_build import CollectionBuild
from tamis.retriever.corpus.fields import typed
from tamis.retriever.corpus.passages import TEXT_KEYS, TITLE_KEY
from tamis.retriever.recorded import collection_settings, write_query_side
from tamis.retriever.types import Passage
from tamis.retriever.vocabulary import piece_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tamis.index.exchange.json_vectors import JsonDocument
    from tamis.index.segment.quantize import Precision
    from tamis.index.vectors import SparseVectors
    from tamis.retriever.corpus.fields import FieldTypes
    from tamis.retriever.models.encoder import Encoder

    TermId = Callable[[str], int | None]

_TEXTS = (*TEXT_KEYS, "content")  # Seismic's
_RESERVED = ("_id", TITLE_KEY, "text")


@dataclass(frozen=True, slots=True)
class VectorSource:
    """Documents with vectors that can be read from any document on.

    Attributes:
        plan: what they are, as JSON; a build goes on with the same alone.
        vocab_size: number of terms.
        passages: gives the documents.
        batches: gives their vectors from a document on, in batches that depend on it alone.
    """

    plan: Mapping[str, Any]
    vocab_size: int
    passages: Callable[[], Iterable[Passage]]
    batches: Callable[[int], Iterable[SparseVectors]]


def import_vectors(
    path: Path,
    out: str | Path,
    *,
    encoder: Encoder | None = None,
    vocab_size: int | None = None,
    fields: FieldTypes = {},  # noqa: B006  a Mapping
    precision: Precision = "f32",
    resume: bool = False,
) -> Collection:
    """Write a collection of a file, or folder of files, with vectors, and open it.

    Args:
        path: a ``.safetensors`` file of `SparseVectors.save`, a ``.npz`` file of scipy, inverted
            lists (``.ciff``, also ``.gz``), or JSON vectors of Anserini, Seismic, OpenSearch or
            Qdrant.
        out: a folder that does not hold an index yet.
        encoder: the one that made the vectors; None takes terms that are numbers.
        vocab_size: number of terms, where no encoder says it; None takes the largest and one.
        fields: to filter searches by, and their types; None infers one.
        precision: how weights are stored; see `tamis.index.IndexConfig`.
        resume: go on with an unfinished build of the same file.

    Raises:
        InputError: there is no such file, a document is faulty, an id is there twice, or the
            folder holds an index, or an unfinished build without ``resume``.
        FormatError: the file is something else, or damaged.
        MismatchError: the unfinished build was begun with other settings.
        LockedError: another process builds there.
    """
    term_id: TermId = number_of
    if encoder is not None:
        vocab_size, names = encoder.description.vocab_size, encoder.vocabulary

        def term_id(piece: str) -> int | None:
            return names.term(piece_name(piece))

    source = read_source(path, vocab_size, term_id)
    made_by = asdict(encoder.description) if encoder is not None else None
    plan = {**source.plan, "encoder": made_by, "fields": dict(fields)}
    with CollectionBuild.begin(out, plan, precision=precision, resume=resume) as build:
        if build.stored is None:
            columns, passages = typed(source.passages(), fields)
            with build.texts(columns) as texts:
                for passage in passages:
                    texts.append(passage.doc_id, passage.record(), passage.place)
            settings = collection_settings(encoder, None, str(path), columns, None)
            build.store(texts, None, settings)
        _publish(build, source, encoder)
    return Collection.open(out)


def _publish(build: CollectionBuild, source: VectorSource, encoder: Encoder | None) -> None:
    """Keep the vectors batch by batch, those of an earlier run first, and make them an index."""
    kept, count, documents = build.batches("vectors"), 0, 0
    while count in kept:
        documents += len(kept[count])
        count += 1
    for batch in source.batches(documents):
        kept.put(count, batch)
        count += 1
    build.publish(
        lambda: map(kept.__getitem__, range(count)),
        source.vocab_size,
        write_query_side(build.storage, encoder),
    )


def read_source(
    path: Path, vocab_size: int | None = None, term_id: TermId = number_of
) -> VectorSource:
    """What a file, or folder of files, with vectors holds; arguments as in `import_vectors`."""
    if not path.exists():
        raise InputError(
            f"{path}: expected vectors ({', '.join(MATRICES)}, {CIFF[0]}, .jsonl or a folder of "
            "those), found no such file; check the path"
        )
    if path.suffix in MATRICES:
        vectors = read_vectors(path)
        return _whole(path, _over(path, vectors, vocab_size), read_ids(path))
    if path.name.endswith(CIFF):
        found = read_ciff(path)
        return _whole(path, renumbered(found, vocab_size, term_id), found.ids)
    lines = JsonVectors.survey(path, vocab_size, term_id)
    return VectorSource(
        lines.plan, lines.vocab_size, lambda: map(_passage, lines.documents()), lines.batches
    )


def _over(path: Path, vectors: SparseVectors, vocab_size: int | None) -> SparseVectors:
    if vocab_size is None:
        return vectors
    if vectors.vocab_size > vocab_size:
        raise InputError(
            f"{path}: expected vectors over at most {vocab_size} terms, found "
            f"{vectors.vocab_size}; name the encoder that made them, or a larger --vocab-size"
        )
    return vectors.over(vocab_size)


def _whole(path: Path, vectors: SparseVectors, ids: Sequence[str] | None) -> VectorSource:
    """Vectors that were read at once; without ids their rows are numbered."""
    names = ids if ids is not None else [str(row) for row in range(len(vectors))]
    if len(names) != len(vectors):
        raise InputError(
            f"{path}: expected one id a vector, found {len(names)} ids and {len(vectors)} "
            "vectors; give both in the same order"
        )
    plan = {"files": {str(path): path.stat().st_size}, "vocab_size": vectors.vocab_size}

    def batches(first: int) -> Iterator[SparseVectors]:
        if first == 0:
            yield vectors

    return VectorSource(
        plan, vectors.vocab_size, lambda: (Passage(name, "") for name in names), batches
    )


def _passage(document: JsonDocument) -> Passage:
    """The document of a line: its text, its title, and all else that it holds as fields."""
    given = dict(document.fields)
    key = next((key for key in _TEXTS if given.get(key) is not None), _TEXTS[0])
    text, title = given.pop(key, None), given.pop(TITLE_KEY, None)
    for name, value in ((key, text), (TITLE_KEY, title)):
        if value is not None and not isinstance(value, str):
            raise InputError(
                f"{document.place}: expected a string as {name}, found {type(value).__name__}; "
                "write it as a string"
            )
    fields = {name: value for name, value in given.items() if name not in _RESERVED}
    return Passage(document.doc_id, text or "", title or "", fields, document.line, document.file)
