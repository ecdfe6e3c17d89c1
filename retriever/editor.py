"""Editor: changes a collection by text. Passages in, vectors of both channels written.

The collection's own encoder and word settings make the vectors. The average length that words are
weighted by stays what it was when the collection was made, so that all its documents agree;
`Editor.optimize` measures it again.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec import structs

from tamis.index.errors import InputError, MismatchError
from tamis.index.files.progress import Progress, silent
from tamis.index.files.storage import Storage
from tamis.index.params import IndexConfig
from tamis.index.segment.dictionary import DictionaryWriter
from tamis.index.vectors import SparseVectors
from tamis.index.writing.creation import create_collection
from tamis.index.writing.durability import check_wait
from tamis.index.writing.switch_interval import short_switch_interval
from tamis.index.writing.writer import CollectionWriter
from tamis.retriever.corpus.advice import count_cut, warn_of_cut, warn_of_unknown_languages
from tamis.retriever.corpus.chunking import (
    NUMBER,
    PARENT,
    Chunking,
    chunked,
    counter_of,
    present_chunks,
    with_chunks,
)
from tamis.retriever.corpus.fields import check_fields, checked
from tamis.retriever.indexing import CHUNK_DOCUMENTS
from tamis.retriever.models.own_encoder import check_own, own_encoder
from tamis.retriever.recorded import collection_settings, lexical_settings, write_query_side
from tamis.retriever.renewal import renew
from tamis.retriever.types import content_of
from tamis.retriever.vocabulary import Numbers, Vocabulary, parse_word
from tamis.retriever.words.analysis import (
    SAME_ANALYSIS,
    analysed_otherwise,
    warn_of_other_analysis,
)
from tamis.retriever.words.bm25f import (
    Averages,
    LengthSums,
    RecordCounter,
    averages_of,
    weigh,
    with_averages,
)
from tamis.retriever.words.fields import check_texts
from tamis.retriever.words.lexical import LexicalConfig
from tamis.retriever.words.several_languages import analyzer_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from tamis.index.segment.quantize import Precision
    from tamis.index.segment.values import ColumnType
    from tamis.index.writing.build_process import BuildProcess
    from tamis.index.writing.durability import Wait
    from tamis.retriever.models.encoder import Encoder
    from tamis.retriever.types import Passage
    from tamis.retriever.words.analysis import Analyzer
    from tamis.retriever.words.fields import TextField


def create_index(
    path: str | Path,
    *,
    encoder: Encoder | None,
    lexical: LexicalConfig | None = LexicalConfig(),  # noqa: B008  frozen
    source: str = "",
    fields: Mapping[str, ColumnType] = {},
    chunking: Chunking | None = None,
    precision: Precision = "f32",
) -> None:
    """Write an index without documents, for an `Editor` to fill.

    Args:
        path: a folder that does not hold an index yet.
        encoder: gives the learned terms; None for words alone.
        lexical: settings of the lexical channel; None for learned terms alone.
        source: where documents will come from, recorded.
        fields: those that searches can be filtered by, and their types.
        chunking: divide documents into passages; None indexes them whole.
        precision: how weights are stored; see `tamis.index.IndexConfig`.

    Raises:
        InputError: the folder holds an index, there is neither encoder nor lexical channel, a
            field's type or the precision is unknown, or passages would be longer than the encoder
            reads.
        LockedError: another process writes there.
    """
    if encoder is None and lexical is None:
        raise InputError(
            "expected an encoder or the lexical channel, found neither; turn one of them on"
        )
    check_fields(fields)
    config = IndexConfig(precision)
    if chunking is not None:
        chunking.check(encoder)
    storage, learned = Storage(path), encoder.description.vocab_size if encoder else 0
    words = DictionaryWriter(learned).dictionary() if lexical else None
    made = None
    if lexical is not None and words is not None:  # the length is measured on the first documents
        made = lexical_settings(lexical, words, Averages(0.0), words_cut=0)
    storage.make_folder()
    create_collection(
        path,
        vocab_size=max(learned, 1),
        settings=collection_settings(encoder, made, source, fields, chunking),
        dictionary=words,
        files=write_query_side(storage, encoder),
        config=config,
    )


PASSAGES = (  # what may be done about long documents in an index that is there
    "how documents are divided is settled when an index is made: `tamis index --chunk 200:40` "
    "makes one of passages"
)
ENCODED = {"title", "text", "vector"}  # of a document, which a patch cannot change
REMEMBERED_CHUNKS = 1 << 17  # at most 18 MB; four times as many spare 2 % of the chunks of a text


def patch_documents(
    writer: CollectionWriter, changes: Mapping[str, Mapping[str, Any]], wait: Wait
) -> list[str]:
    """`Editor.patch`, which needs no encoder."""
    of_passages = (PARENT, NUMBER) if Chunking.of(writer.settings) is not None else ()
    names = writer.settings.text_fields
    searched = {name.split(".")[0] for name in names} if names else {"title", "text"}
    made = writer.settings.lexical
    if made is not None and (language := LexicalConfig.of(made).language_field) is not None:
        searched.add(language.split(".")[0])  # which decides the words of the text
    taken: dict[str, Mapping[str, Any]] = {}
    for doc_id, change in changes.items():
        refused = sorted(
            key for key in change if key in of_passages or key.split(".")[0] in searched | ENCODED
        )
        if refused:
            raise InputError(
                f"expected changes of fields that are not searched, found {', '.join(refused)} for "
                f"document {doc_id!r}; put the whole document to have it encoded"
            )
        there = [one for one in with_chunks(writer, [doc_id]) if writer.has(one)]
        taken |= dict.fromkeys(there or [doc_id], change)
    return writer.patch(taken, wait=wait)


def declare_fields(writer: CollectionWriter, fields: Mapping[str, ColumnType]) -> None:
    """`Editor.add_fields`, which needs no encoder."""
    check_fields(fields)
    writer.add_columns(fields)


class Editor:
    """The one writer of an index; safe to use from many threads."""

    def __init__(self, writer: CollectionWriter, encoder: Encoder | None) -> None:
        """Take over an open writer; `open` is the way in.

        Raises:
            MismatchError: the encoder is not the one that made the collection's vectors.
        """
        self.writer = writer
        self.encoder = encoder
        description = encoder.description if encoder is not None else None
        check_own(writer.index.path, writer.settings.encoder, description)
        self._chunking = Chunking.of(writer.settings)
        self._take_words()

    @staticmethod
    def open(
        path: str | Path,
        encoder: Encoder | str | Path | None = None,
        *,
        merge: bool = True,
        builder: BuildProcess | None = None,
    ) -> Editor:
        """Become the writer of an index.

        Args:
            path: its folder.
            encoder: the one it was made with, or another place of it; None loads it from the place
                that the index remembers.
            merge: merge segments in the background.
            builder: as for `CollectionWriter.open`.

        Raises:
            LockedError: another writer is there; the message names its process.
            FormatError: no index of this format.
            CorruptionError: a file or the log is damaged.
            MismatchError: the encoder is another one.
        """
        writer = CollectionWriter.open(path, merge=merge, builder=builder)
        try:
            own = own_encoder(writer.index.path, writer.settings.encoder, encoder)
            return Editor(writer, own)
        except BaseException:
            writer.abandon()
            raise

    @property
    def text_fields(self) -> tuple[TextField, ...]:
        """The fields that are searched; none where title and text are one."""
        return self._lexical.fields if self._lexical is not None else ()

    def put(
        self,
        passages: Iterable[Passage],
        *,
        wait: Wait = "durable",
        progress: Progress | None = None,
    ) -> int:
        """Add documents, replacing those of the same ids; how many were written.

        Each 256 documents are one write, which happens as a whole or not at all. In a collection
        of passages, all passages of a document are replaced.

        Args:
            passages: the documents.
            wait: when to return: "none", "durable" or "searchable".
            progress: told of each step, and may stop the work; see `Progress`.

        Raises:
            InputError: a passage is faulty; those of earlier writes are kept.
            StoppedError: the disk has failed.
        """
        check_wait(wait)
        tell, done, stream = progress or silent, 0, iter(passages)
        while chunk := list(islice(stream, CHUNK_DOCUMENTS)):
            self._put_chunk(chunk, "none" if wait == "none" else "durable")
            done += len(chunk)
            tell("add", done, None)
        if wait == "searchable":
            self.writer.commit()
        return done

    def put_weighted(
        self,
        passages: Sequence[Passage],
        weights: Sequence[Mapping[str, float]],
        *,
        wait: Wait = "durable",
    ) -> None:
        """Add documents whose vectors are given; all are one write. Their texts are only stored.

        Args:
            passages: the documents.
            weights: of each one's terms: word pieces as they are, words as ``=word``. New words
                join the dictionary.
            wait: when to return.

        Raises:
            InputError: a term is no piece of the encoder, or a word where there is no lexical
                channel; a weight is not finite or not above 0.
            StoppedError: the disk has failed.
        """
        check_wait(wait)
        passages = [checked(passage, self.writer.index.columns) for passage in passages]
        records = self._records(passages)
        for of_one in weights:
            for term in of_one:
                self._check_term(term)
        with self.writer.words_held():
            rows = [{self._term(name): of_one[name] for name in of_one} for of_one in weights]
            vectors = SparseVectors.from_dicts(rows, self.writer.vocab_size)
            ids = [passage.doc_id for passage in passages]
            gone = [old for doc_id in ids for old in present_chunks(doc_id, self.writer.has)]
            place = self.writer.stage(records, vectors, gone, given=True)
        self.writer.wait(place, wait)

    def _check_term(self, name: str) -> None:
        word = parse_word(name)
        if word is not None and self.writer.dictionary is not None:
            return
        if self._learned.term(name) is None:
            raise InputError(
                f"expected terms of this index, found {name!r}, which it cannot have; write "
                "word pieces as the encoder spells them, words as =word, and the terms of imported "
                f"vectors as numbers below {self.writer.vocab_size}, which `tamis index --vectors "
                "--vocab-size` sets"
            )

    def _term(self, name: str) -> int:
        """The term of a name that `_check_term` has let pass."""
        word = parse_word(name)
        if word is not None and self.writer.dictionary is not None:
            return self.writer.dictionary.add_word(word)
        found = self._learned.term(name)
        assert found is not None
        return found

    @property
    def _learned(self) -> Vocabulary:
        """The terms that are no words."""
        if self.encoder is not None:
            return self.encoder.vocabulary
        has_words = self.writer.dictionary is not None
        return Vocabulary(() if has_words else (Numbers(self.writer.vocab_size),))

    def patch(
        self, changes: Mapping[str, Mapping[str, Any]], *, wait: Wait = "durable"
    ) -> list[str]:
        """Change fields of documents, all or none, and encode nothing; the ids that are not there.

        In a collection of passages, a document's change is that of all its passages.

        Args:
            changes: by id: ``{"price": 7}`` sets a field, ``{"price": None}`` removes it, objects
                are merged, and a dot leads into one. Further fields may be any.
            wait: when to return.

        Raises:
            InputError: a change is of what is encoded or of passages themselves, or a value is not
                of its field's type; nothing is changed.
        """
        return patch_documents(self.writer, changes, wait)

    def add_fields(self, fields: Mapping[str, ColumnType]) -> None:
        """Declare further fields to filter by; the stored documents are read for their values.

        Raises:
            InputError: a type or name cannot be, a field is declared as another type, or a document
                holds a value of another.
        """
        declare_fields(self.writer, fields)

    def delete(self, ids: Iterable[str], *, wait: Wait = "durable") -> int:
        """Remove the documents of these ids; how many there were.

        In a collection of passages, an id of a document stands for all its passages.
        """
        return self.writer.delete(with_chunks(self.writer, ids), wait=wait)

    def delete_where(self, filter: Mapping[str, Any], *, wait: Wait = "durable") -> int:  # noqa: A002
        """Remove the documents that a filter admits, as in `Searcher.search`; how many.

        Raises:
            InputError: the filter is faulty, or has no condition; `delete_all` removes all.
        """
        return self.writer.delete_where(filter, wait=wait)

    def delete_all(self, *, wait: Wait = "durable") -> int:
        """Remove every document; how many there were."""
        return self.writer.delete_all(wait=wait)

    def commit(self) -> int:
        """Make all writes so far searchable; the generation that holds them."""
        return self.writer.commit()

    def optimize(self, progress: Progress | None = None) -> None:
        """Rebuild the index as `index_corpus` would; see `renew`."""
        with self.writer.alone():
            renew(self.writer, progress)
            self._take_words()

    def forget_words(self) -> None:
        """Drop the cache of texts whose words are counted; later documents fill it again."""
        with self.writer.words_held():
            if self._counter is not None:
                self._counter.forget()

    def close(self) -> None:
        """Commit, and let another writer in."""
        self.writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.writer.__exit__(kind)

    def _take_words(self) -> None:
        recorded = self.writer.settings.lexical
        if recorded is not None:
            warn_of_other_analysis(recorded)
        self._lexical = LexicalConfig.of(recorded) if recorded is not None else None
        self._counter: RecordCounter | None = None
        self._analyzer: Analyzer | None = None
        if self._lexical is not None and self.writer.dictionary is not None:
            self._analyzer, words = analyzer_of(self._lexical), self.writer.dictionary
            self._counter = RecordCounter(self._analyzer, words, REMEMBERED_CHUNKS)

    def _put_chunk(self, chunk: Sequence[Passage], wait: Wait) -> None:
        if self.encoder is None and self._counter is None:
            raise InputError(
                f"{chunk[0].place}expected documents with a vector, found a text: the index holds "
                "imported vectors, and neither words nor the encoder that made them; send each "
                "with its vector to `tamis serve --data`, or import them again with --encoder"
            )
        self._refuse_other_analysis()
        parents = [passage.doc_id for passage in chunk] if self._chunking is not None else []
        chunk = [checked(passage, self.writer.index.columns) for passage in self._divided(chunk)]
        records = self._records(chunk)
        texts = [content_of(record, self.writer.settings.text_fields) for record in records]
        source, cut = chunk[0].file or str(self.writer.index.path), count_cut(self.encoder, texts)
        warn_of_cut(self.encoder, source, cut, len(texts), PASSAGES)
        self._write(records, texts, parents, wait)

    def put_again(self, records: Sequence[Mapping[str, Any]], *, wait: Wait = "durable") -> None:
        """Add stored documents of another index as they are; all are one write.

        Args:
            records: passages where this is a collection of passages; they are not divided again.
            wait: when to return.

        Raises:
            InputError: a record is faulty.
            StoppedError: the disk has failed.
        """
        check_wait(wait)
        self._refuse_other_analysis()
        names = self.writer.settings.text_fields
        self._write(records, [content_of(record, names) for record in records], [], wait)

    def _write(
        self,
        records: Sequence[Mapping[str, Any]],
        texts: Sequence[str],
        parents: Sequence[str],
        wait: Wait,
    ) -> None:
        """Encode texts and store their records, in place of all passages of ``parents``."""
        with short_switch_interval():
            learned = self.encoder.encode_documents(texts) if self.encoder is not None else None
        with self.writer.words_held(), short_switch_interval():
            vectors = self._joined(records, texts, learned)
            gone = [old for parent in parents for old in present_chunks(parent, self.writer.has)]
            place = self.writer.stage(records, vectors, gone, given=False)
        if self._analyzer is not None:
            warn_of_unknown_languages(str(self.writer.index.path), self._analyzer)
        self.writer.wait(place, wait)

    def _records(self, passages: Iterable[Passage]) -> list[dict[str, Any]]:
        """Documents as they are stored, whose searched fields hold texts."""
        found = []
        for passage in passages:
            found.append(passage.record())
            try:
                check_texts(found[-1], self.writer.settings.text_fields)
            except InputError as error:
                raise InputError(f"{passage.place}{error}") from None
        return found

    def _refuse_other_analysis(self) -> None:
        """Refuse texts whose words would be spelled otherwise than those that are there."""
        made = self.writer.settings.lexical
        other = analysed_otherwise(made) if made is not None else None
        if other is not None:
            raise MismatchError(f"{self.writer.index.path}: {other}; {SAME_ANALYSIS}")

    def _divided(self, documents: Sequence[Passage]) -> Iterable[Passage]:
        """The passages of documents where the collection holds passages."""
        if self._chunking is None:
            return documents
        return chunked(documents, self._chunking, counter_of(self.encoder))

    def _joined(
        self,
        records: Sequence[Mapping[str, Any]],
        texts: Sequence[str],
        learned: SparseVectors | None,
    ) -> SparseVectors:
        """Both channels of documents; their new words join the dictionary."""
        counter, config = self._counter, self._lexical
        if counter is None or config is None:
            assert learned is not None
            return learned.over(self.writer.vocab_size)
        counts = counter.count(records, texts)
        averages, vocab_size = self._averages(counts, counter), self.writer.vocab_size
        words = weigh(counts, averages, config, counter.terms).over(vocab_size)
        return words if learned is None else SparseVectors.join(learned, words, vocab_size)

    def _averages(self, counts: SparseVectors, counter: RecordCounter) -> Averages:
        """The collection's mean lengths; measured on these documents where it has none yet."""
        recorded = self.writer.settings.lexical
        assert recorded is not None
        averages = averages_of(recorded)
        if not counts.nnz or all((averages.length, *averages.fields)):
            return averages
        sums = LengthSums(len(averages.fields))
        sums.take(counts, counter.terms)
        found = averages.filled(sums.averages)
        if found != averages:
            lexical = with_averages(recorded, found)
            self.writer.change_settings(structs.replace(self.writer.settings, lexical=lexical))
        return found
