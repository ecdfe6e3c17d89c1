"""Re-encoding: the documents of an index, encoded again by another encoder into another index.

Scores of two encoders cannot be compared, so no index ever holds both. The index that is read stays
as it is and answers meanwhile.
"""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson
from msgspec import structs

from tamis.index.collection import Collection
from tamis.index.errors import InputError, MismatchError
from tamis.index.files.progress import Progress, silent
from tamis.index.files.storage import Storage
from tamis.index.generations.manifest import CURRENT
from tamis.index.generations.parts import Origin
from tamis.retriever.corpus.chunking import Chunking
from tamis.retriever.editor import Editor, create_index
from tamis.retriever.indexing import CHUNK_DOCUMENTS
from tamis.retriever.words.lexical import LexicalConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tamis.index.generations.settings import CollectionSettings
    from tamis.index.index import Index
    from tamis.retriever.models.encoder import Encoder


class Reencoded(NamedTuple):
    """What `reencode` did.

    Attributes:
        encoded: documents that were encoded.
        kept: documents that were there already, by an earlier call.
        removed: documents that the index no longer holds.
    """

    encoded: int
    kept: int
    removed: int


def reencode(
    path: str | Path, out: str | Path, encoder: Encoder, progress: Progress | None = None
) -> Reencoded:
    """Make an index of another encoder out of the stored texts of an index.

    Fields, words, passages and query words are those of the index. It may be searched and written
    meanwhile: the documents of one generation are taken. A second call goes on where the first was
    stopped, and takes over what has changed since: documents whose records are equal are not
    encoded again.

    Args:
        path: the index that is read.
        out: folder of the other; new, or of an earlier call.
        encoder: makes the learned terms of the other.
        progress: told of each step, and may stop the work; see `Progress`.

    Raises:
        InputError: documents brought vectors, which no text can give again; or both are one folder.
        MismatchError: ``out`` holds an index of another encoder, or made otherwise.
    """
    path, out = Path(path), Path(out)
    if path.resolve() == out.resolve():
        raise InputError(f"{out}: expected another folder than the index's, found the same")
    with Collection.open(path) as collection:
        _refuse_given(collection)
        _begin(out, collection, encoder)
        with Editor.open(out, encoder) as editor:
            found = _take_over(collection, editor, progress or silent)
            editor.optimize(progress)
            words = collection.settings.query_words
            editor.writer.change_settings(
                structs.replace(editor.writer.settings, query_words=words)
            )
        return found


def _refuse_given(collection: Collection) -> None:
    """Refuse documents whose vectors did not come from their texts, or may not have."""
    given = sum(
        int(np.isin(part.origins()[part.live_docs], (Origin.GIVEN, Origin.UNKNOWN)).sum())
        for part in collection.index.parts
    )
    if given:
        raise InputError(
            f"{collection.path}: expected documents that were encoded from their texts, found "
            f"{given} that brought vectors, or of which it is not known; index them with vectors "
            "of the other encoder"
        )


def _begin(out: Path, collection: Collection, encoder: Encoder) -> None:
    """Make the index that is to be filled, or see that an earlier call made it."""
    made, wanted = collection.settings, _wanted(collection.settings)
    if Storage(out).exists(CURRENT):
        with Collection.open(out) as there:
            if _wanted(there.settings) != wanted:
                raise MismatchError(
                    f"{out}: expected an index that is made like {collection.path}, found one "
                    "with other fields, words or passages; name a new folder"
                )
        return
    create_index(
        out,
        encoder=encoder,
        lexical=LexicalConfig.of(made.lexical) if made.lexical is not None else None,
        source=made.source,
        fields=made.columns,
        chunking=Chunking.of(made),
        precision=collection.index.manifest.precision,
    )


def _wanted(settings: CollectionSettings) -> tuple[object, ...]:
    """What two indexes of the same documents share, whatever encoded them."""
    lexical = LexicalConfig.of(settings.lexical) if settings.lexical is not None else None
    return lexical, settings.columns, settings.chunk


def _take_over(collection: Collection, editor: Editor, tell: Progress) -> Reencoded:
    """Let the editor's index hold what the collection holds."""
    editor.commit()
    encoded = kept = 0
    with closing(editor.writer.index.again()) as there:
        stream = _records(collection.index)
        while records := list(islice(stream, CHUNK_DOCUMENTS)):
            new = [record for record in records if _record(there, record["_id"]) != record]
            if new:
                editor.put_again(new)
            encoded, kept = encoded + len(new), kept + len(records) - len(new)
            tell("encode", encoded + kept, len(collection))
        ids = (record["_id"] for record in _records(there))
        removed = editor.delete(doc_id for doc_id in ids if collection.doc(doc_id) is None)
    return Reencoded(encoded, kept, removed)


def _record(index: Index, doc_id: str) -> dict[str, Any] | None:
    """The stored document of an id."""
    doc = index.doc(doc_id)
    if doc is None:
        return None
    part, at = index.locate(doc)
    found: dict[str, Any] = orjson.loads(part.record(at, index.columns))
    return found


def _records(index: Index) -> Iterator[dict[str, Any]]:
    """All stored documents."""
    for part in index.parts:
        yield from map(orjson.loads, part.records(part.live_docs, index.columns))
