"""LazyEncoder: an encoder whose document side is loaded when the first document comes."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

from tamis.index.errors import MismatchError
from tamis.retriever.models.description import read_checkpoint
from tamis.retriever.models.encoder import load_encoder, load_query_encoder, load_token_counter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tamis.index.vectors import SparseVectors
    from tamis.retriever.models.description import EncoderDescription
    from tamis.retriever.models.encoder import Encoder, QueryEncoder
    from tamis.retriever.models.tokenizer import TokenCounter
    from tamis.retriever.vocabulary import Vocabulary


class LazyEncoder:
    """Encodes queries at once, documents after a load; safe to share between threads.

    Attributes:
        location: what the document side is loaded by.
    """

    def __init__(self, location: str, query_side: QueryEncoder) -> None:
        """Remember what to load.

        Args:
            location: a folder, hub name or ``default``.
            query_side: of the same encoder.
        """
        self.location = location
        self._query_side = query_side
        self._lock = threading.Lock()
        self._loaded: Encoder | None = None

    @staticmethod
    def of(name_or_path: str) -> LazyEncoder:
        """One whose query side is loaded now; raises as `load_query_encoder`."""
        location = read_checkpoint(name_or_path).location
        return LazyEncoder(location, load_query_encoder(name_or_path))

    @property
    def description(self) -> EncoderDescription:
        """Identity of the whole encoder."""
        return self._query_side.description

    def query_side(self) -> QueryEncoder:
        """The part that encodes queries."""
        return self._query_side

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """The vectors of queries, one row each."""
        return self._query_side.encode_queries(texts)

    def encode_documents(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> SparseVectors:
        """The vectors of documents, one row each.

        Raises:
            InputError: torch is not installed, or there is no such model any more.
            MismatchError: the model is another one by now.
        """
        with self._lock:  # one batch at a time: torch uses all threads it is given
            return self._encoder().encode_documents(texts, progress=progress)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of documents as the model would read them; loads no model.

        Raises:
            InputError: there is no such model any more.
            MismatchError: the model is another one by now.
        """
        return self._counter(texts)

    @property
    def vocabulary(self) -> Vocabulary:
        """What its terms are called."""
        return self._query_side.vocabulary

    @cached_property
    def _counter(self) -> TokenCounter:
        counter, description = load_token_counter(self.location)
        self._check(description)
        return counter

    def _encoder(self) -> Encoder:
        if self._loaded is None:
            loaded = load_encoder(self.location)
            self._check(loaded.description)
            self._loaded = loaded
        return self._loaded

    def _check(self, found: EncoderDescription) -> None:
        expected = self.description.fingerprint
        if found.fingerprint != expected:
            raise MismatchError(
                f"expected encoder {self.location} with fingerprint {expected}, found "
                f"{found.fingerprint}; give a folder of that version as --encoder, or encode the "
                "stored texts again with `tamis upgrade DIR --encoder E --out NEW`"
            )
