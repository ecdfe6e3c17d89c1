"""Statistics: what the shards' servers tell of their words, put together as of one index.

A query is read by a `Searcher` over a collection without documents, whose words are counted over
all shards. Exact searches then find what one index of all documents would.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from tamis.index.collection import Collection
from tamis.index.errors import FormatError, InputError, MismatchError
from tamis.index.files.file_entry import FileEntry
from tamis.index.generations.manifest import Pin, SegmentEntry
from tamis.index.generations.settings import CollectionSettings
from tamis.index.index import Index
from tamis.index.segment.dictionary import Dictionary, DictionaryWriter
from tamis.index.writing.creation import create_collection
from tamis.retriever.first_stage.query_words import lexical_queries
from tamis.retriever.first_stage.written_forms import READ, WrittenForms
from tamis.retriever.fusion.shared_statistics import why_made_differently
from tamis.retriever.models.encoder import load_query_encoder
from tamis.retriever.searcher import Searcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.api.broker.shard_map import ShardMap
    from tamis.api.messages.shards import StatisticsAnswer
    from tamis.index.generations.settings import EncoderSettings
    from tamis.retriever.models.encoder import QueryEncoder

    TextsWith = Callable[[str], list[str]]


@dataclass(slots=True)
class HeldShard:
    """What is known of a shard: its last answer, and its words as terms of all."""

    answer: StatisticsAnswer
    terms: NDArray[np.int32]
    counts: NDArray[np.int64]


class Statistics:
    """Those of all shards. `take` may be called on any thread, one at a time."""

    def __init__(
        self,
        shard_map: ShardMap,
        encoder: str | QueryEncoder | None,
        texts_with: TextsWith,
    ) -> None:
        """Know nothing yet.

        Args:
            shard_map: names the index and its shards.
            encoder: the index's own encoder, or where it lies; None for the bundled one.
            texts_with: beginnings of documents that hold a word, of all shards.
        """
        self._map, self._given, self._texts_with = shard_map, encoder, texts_with
        self._held: dict[int, HeldShard] = {}
        self._words: DictionaryWriter | None = None
        self._encoder: QueryEncoder | None = None
        self._folder = ExitStack()
        self._empty: Collection | None = None
        self._current: Searcher | None = None

    @property
    def searcher(self) -> Searcher:
        """Reads queries, as of the last `take`."""
        assert self._current is not None
        return self._current

    def known(self, shard: int) -> HeldShard | None:
        """What is known of a shard; None before its first answer."""
        return self._held.get(shard)

    def take(self, answers: dict[int, StatisticsAnswer]) -> None:
        """Count the words anew, of the shards that answered and the last answers of others.

        Raises:
            MismatchError: shards were not made alike.
            InputError: their encoder is not to be had.
        """
        if all(self._has(shard, answer) for shard, answer in answers.items()):
            return
        self.check(answers)
        self._check_agreed(answers)
        for shard, answer in sorted(answers.items()):
            self._held[shard] = self._taken(answer, self._held.get(shard))
        self._current = self._made_searcher()

    def check(self, answers: Mapping[int, StatisticsAnswer]) -> None:
        """Refuse (MismatchError) an answer that can never go with the others."""

        def why(one: CollectionSettings, other: CollectionSettings) -> str | None:
            if one.chunk != other.chunk:
                return "they divide documents differently"
            return why_made_differently([one, other])

        self._compare(answers, why)

    def _check_agreed(self, answers: Mapping[int, StatisticsAnswer]) -> None:
        """Refuse (MismatchError) shards that were not all given the last change."""

        def why(one: CollectionSettings, other: CollectionSettings) -> str | None:
            if one.columns != other.columns:
                return f"their fields differ, {one.columns} and {other.columns}; declare them again"
            if one.query_words != other.query_words:
                return "their synonyms differ; put them again"
            return None

        self._compare(answers, why)

    def _compare(
        self,
        answers: Mapping[int, StatisticsAnswer],
        why: Callable[[CollectionSettings, CollectionSettings], str | None],
    ) -> None:
        known = {shard: held.answer for shard, held in self._held.items()} | {**answers}
        settings = [(shard, _settings(one)) for shard, one in sorted(known.items())]
        (first, expected), *others = settings
        for shard, found in others:
            if (said := why(expected, found)) is not None:
                names = [self._map.shards[one].name for one in (first, shard)]
                raise MismatchError(
                    f"expected shards of {self._map.index} that are made alike, found of "
                    f"{' and '.join(names)}: {said}"
                )

    def close(self) -> None:
        """Remove what was written."""
        self._folder.close()

    def _has(self, shard: int, answer: StatisticsAnswer) -> bool:
        """Whether an answer says that nothing has changed."""
        held = self._held.get(shard)
        return (
            held is not None
            and not answer.frequencies
            and (
                (held.answer.identity, held.answer.generation)
                == (answer.identity, answer.generation)
            )
        )

    def _taken(self, answer: StatisticsAnswer, before: HeldShard | None) -> HeldShard:
        if before is not None and not answer.frequencies:
            return HeldShard(answer, before.terms, before.counts)
        if answer.first_word is None:
            return HeldShard(answer, np.zeros(0, np.int32), np.zeros(0, np.int64))
        if self._words is None:
            self._words = DictionaryWriter(answer.first_word)
        new = self._words.add(answer.words)
        old = before.terms[: answer.known] if before is not None else new[:0]
        counts = np.frombuffer(answer.frequencies, "<i4").astype(np.int64)
        answer = msgspec.structs.replace(answer, words=(), frequencies=b"")
        return HeldShard(answer, np.concatenate([old, new]), counts)

    def _made_searcher(self) -> Searcher:
        answers = [self._held[shard].answer for shard in sorted(self._held)]
        settings = _settings(answers[0])
        if self._empty is None:
            self._encoder = self._own_encoder(settings)
            self._empty = self._empty_collection(settings)
        dictionary = self._dictionary()
        collection = self._whole(self._empty, settings, answers, dictionary)
        before = self._current
        lexical = lexical_queries(
            collection, (before.collection, before.lexical) if before is not None else None
        )
        forms = None
        if lexical is not None:
            forms = _FormsInShards(collection, lexical.analyzer, self._texts_with)
        return Searcher(self._encoder, collection, lexical, forms=forms)

    def _dictionary(self) -> Dictionary | None:
        if self._words is None:
            return None
        counts = np.zeros(len(self._words), np.int64)
        for held in self._held.values():
            counts[held.terms[: held.counts.size] - self._words.first_term] += held.counts
        arrays = self._words.arrays()
        return Dictionary.from_arrays({**arrays, "document_frequency": counts.astype(np.int32)})

    def _empty_collection(self, settings: CollectionSettings) -> Collection:
        folder = self._folder.enter_context(TemporaryDirectory(prefix="tamis-broker-"))
        first = self._words.first_term if self._words is not None else None
        words = DictionaryWriter(first).dictionary() if first is not None else None
        create_collection(folder, vocab_size=max(first or 0, 1), dictionary=words)
        return self._folder.enter_context(Collection.open(folder))

    def _whole(
        self,
        empty: Collection,
        settings: CollectionSettings,
        answers: Sequence[StatisticsAnswer],
        dictionary: Dictionary | None,
    ) -> Collection:
        documents = sum(one.documents for one in answers)
        with_words = sum(one.with_words for one in answers)
        vocab_size = max(one.vocab_size for one in answers)
        size = FileEntry(sum(one.size_bytes for one in answers), "")
        files = {**empty.index.manifest.files, "shards": size}
        manifest = replace(
            empty.index.manifest,
            generation=sum(one.generation for one in answers),
            documents=documents,
            vocab_size=max(vocab_size, dictionary.vocab_size if dictionary is not None else 1),
            settings=settings,
            files=files,
            segments=(SegmentEntry("shards", documents, with_words=with_words),),
        )
        index = Index(empty.path, manifest, (), Pin.of(empty.storage, empty.generation))
        return Collection(empty.storage, index, dictionary)

    def _own_encoder(self, settings: CollectionSettings) -> QueryEncoder | None:
        recorded, given = settings.encoder, self._given
        if recorded is None:
            return None
        place = given or "default"
        try:
            found = load_query_encoder(place) if isinstance(place, str) else place
        except (InputError, FormatError) as error:
            raise self._no_encoder(recorded, f"none at {place} ({error})") from error
        if found.description.fingerprint != recorded.fingerprint:
            there = f"{found.description.name} with fingerprint {found.description.fingerprint}"
            raise self._no_encoder(recorded, there)
        return found

    def _no_encoder(self, recorded: EncoderSettings, found: str) -> MismatchError:
        return MismatchError(
            f"expected the encoder of {self._map.index}, {recorded.name} with fingerprint "
            f"{recorded.fingerprint}, found {found}; name its place as encoder in the map of shards"
        )


@dataclass(frozen=True, slots=True)
class _FormsInShards(WrittenForms):
    """Looks into documents of the shards."""

    elsewhere: TextsWith

    def texts_with(self, term: int) -> list[str]:
        """The beginnings of a few documents that hold a word."""
        assert self.collection.dictionary is not None
        found = self.elsewhere(self.collection.dictionary.word(term))
        return found[:READ]


def _settings(answer: StatisticsAnswer) -> CollectionSettings:
    return msgspec.convert(answer.settings, CollectionSettings)
