"""Texts to sparse vectors: what an encoder is, how one is loaded, and the neural one.

Importing this module needs no torch; loading a neural side does.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from tamis.index.errors import InputError
from tamis.index.interrupts import check_for_interrupts
from tamis.index.vectors import SparseVectors
from tamis.retriever.models.batch_memory import lanes_within
from tamis.retriever.models.description import (
    Checkpoint,
    EncoderDescription,
    NeuralSide,
    TableSide,
    read_checkpoint,
)
from tamis.retriever.models.inference_free import (
    TableQueryEncoder,
    TableReading,
    read_weight_table,
)
from tamis.retriever.models.tokenizer import Pieces, TokenCounter
from tamis.retriever.vocabulary import Latents, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import torch

    from tamis.retriever.models.arithmetic import Arithmetic
    from tamis.retriever.models.int8_encoder import Int8Model
    from tamis.retriever.models.splade_model import SpladeModel
    from tamis.retriever.models.tokenizer import Tokenizer

__all__ = [
    "Encoder",
    "EncoderDescription",
    "QueryEncoder",
    "SparseEncoder",
    "load_encoder",
    "load_query_encoder",
    "load_token_counter",
]

ARITHMETIC_VARIABLE = "TAMIS_ARITHMETIC"
WINDOW_TEXTS = 1024  # tokenised at once
SORTED_TEXTS = 4096  # the same where batches are padded: sorted by length together
TOKENISING = 2  # one window's ids become Python lists while the next one's are made

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class _Batch(NamedTuple):
    """Texts to run at once: their numbers, their ids, and the lane they take."""

    texts: list[int]
    ids: list[list[int]]
    lane: int


@runtime_checkable
class QueryEncoder(Protocol):
    """Turns queries into vectors that an index can be searched with."""

    @property
    def description(self) -> EncoderDescription:
        """Identity of the whole encoder: an index is searched with the one that filled it."""

    @property
    def vocabulary(self) -> Vocabulary:
        """What its terms are called; of ``description.vocab_size`` terms."""

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """The vectors of queries, one row each, weights above zero."""


@runtime_checkable
class Encoder(QueryEncoder, Protocol):
    """A query encoder with the document side that belongs to it."""

    @property
    def location(self) -> str:
        """What `load_encoder` finds this encoder by: a folder, a hub name or ``default``."""

    def query_side(self) -> QueryEncoder:
        """The part that encodes queries; a `TableQueryEncoder` where that needs no model."""

    def encode_documents(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> SparseVectors:
        """The vectors of documents, one row each, in order; ``progress(n)``: n more are done."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of documents as the model would read them uncut, special ones included."""


def load_encoder(
    name_or_path: str = "default",
    *,
    device: str | None = None,
    arithmetic: str | None = None,
    memory_bytes: int | None = None,
) -> Encoder:
    """Load an encoder by folder or hub name; ``default`` is the bundled one.

    Args:
        name_or_path: of a model in any format that `tamis.retriever.models.description` reads.
        device: such as ``cpu`` or ``cuda:0``; None takes CUDA where there is a device.
        arithmetic: ``float32``, ``bfloat16`` or ``int8``; None takes what the device multiplies
            fastest. ``TAMIS_ARITHMETIC`` says the same for every command.
        memory_bytes: that the process may take: where they are few, fewer batches are under way at
            once on a processor. No bound where None.

    Raises:
        InputError: there is no such model, device or arithmetic, torch is not installed, or there
            is no room for a batch.
        FormatError: the model is of no format that can be read.
    """
    return SparseEncoder(
        read_checkpoint(name_or_path),
        device=device,
        arithmetic=arithmetic,
        memory_bytes=memory_bytes,
    )


def load_query_encoder(name_or_path: str = "default") -> QueryEncoder:
    """Load the query side alone; without torch where it is a table.

    Raises:
        InputError: there is no such model, or it needs torch and torch is not installed.
        FormatError: the model is of no format that can be read.
    """
    files = read_checkpoint(name_or_path)
    if isinstance(files.query, TableSide):
        return _table_encoder(files, files.query)
    return SparseEncoder(files)


def load_token_counter(name_or_path: str = "default") -> tuple[TokenCounter, EncoderDescription]:
    """What counts the tokens of an encoder's documents, and whose it is; loads no model.

    Raises:
        InputError: there is no such model.
        FormatError: the model is of no format that can be read.
    """
    files = read_checkpoint(name_or_path)
    side = files.document
    return TokenCounter(side.tokenizer(), side.prompt), files.description


class SparseEncoder:
    """Any Hugging Face masked or causal language model as an encoder.

    Attributes:
        files: what was loaded.
        description: its identity.
        tokenizer: of the document side.
    """

    def __init__(
        self,
        files: Checkpoint,
        *,
        device: str | None = None,
        arithmetic: str | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        """Load a model; arguments and errors as of `load_encoder`.

        Args:
            files: what `read_checkpoint` found.
            device: such as ``cpu`` or ``cuda:0``; None takes CUDA where there is a device.
            arithmetic: see `load_encoder`.
            memory_bytes: see `load_encoder`.
        """
        self.files = files
        self.description = files.description
        self.tokenizer = files.document.tokenizer()
        self._device = choose_device(device)
        self._asked = arithmetic or os.environ.get(ARITHMETIC_VARIABLE) or None
        self._documents = self._load_side(files.document, self.tokenizer)
        self._queries = self._query_side()
        self._documents.lanes = lanes_within(memory_bytes, self.document_model)

    @staticmethod
    def load(name_or_path: str = "default", *, device: str | None = None) -> SparseEncoder:
        """Load an encoder by folder or hub name, as `load_encoder` does."""
        return SparseEncoder(read_checkpoint(name_or_path), device=device)

    @property
    def device(self) -> str:
        """Where the model runs."""
        return str(self._device)

    @property
    def arithmetic(self) -> str:
        """What it computes with, and where: ``int8 on cpu``; either moves weights a little."""
        return f"{self.document_model.arithmetic} on {self._device.type}"

    def encode_documents(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> SparseVectors:
        """The vectors of documents, one row each, in the order of ``texts``.

        Texts longer than ``description.max_length`` tokens are cut there; a text without tokens
        has an empty row.

        Args:
            texts: documents, titles and bodies already joined.
            progress: called with the number of documents done since the last call.
        """
        return self._documents.encode(texts, progress)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of documents as the model would read them uncut, special ones included."""
        return self._counter(texts)

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """The vectors of queries, one row each."""
        if isinstance(self._queries, TableQueryEncoder):
            return self._queries.encode_queries(texts)
        return self._queries.encode(texts, None)

    @property
    def vocabulary(self) -> Vocabulary:
        """What its terms are called."""
        size, head = self.description.vocab_size, self.files.document.head
        terms = Pieces(self.tokenizer, size) if head.over_pieces else Latents(size)
        return Vocabulary((terms,))

    @property
    def location(self) -> str:
        """What `load_encoder` finds this encoder by: a folder, a hub name or ``default``."""
        return self.files.location

    def query_side(self) -> QueryEncoder:
        """The part that encodes queries; a `TableQueryEncoder` where that needs no model."""
        return self._queries if isinstance(self._queries, TableQueryEncoder) else self

    @cached_property
    def _counter(self) -> TokenCounter:
        return TokenCounter(self.tokenizer, self.files.document.prompt)

    @property
    def document_model(self) -> SpladeModel | Int8Model:
        """What encodes the document side."""
        return self._documents.model

    def _load_side(self, side: NeuralSide, tokenizer: Tokenizer) -> _NeuralEncoder:
        from tamis.retriever.models.arithmetic import choose_arithmetic, faster_float

        tokenizer.check_prompt(side.prompt, side.folder)
        chosen = choose_arithmetic(side, self._device, self._asked)
        if chosen == "int8":
            from tamis.retriever.models.int8_encoder import Int8Model

            whole = Int8Model(side, tokenizer.special_ids, faster_float())
            return _NeuralEncoder(whole, tokenizer, side.prompt)
        return _NeuralEncoder(self._language_model(side, tokenizer, chosen), tokenizer, side.prompt)

    def _language_model(
        self, side: NeuralSide, tokenizer: Tokenizer, arithmetic: Arithmetic
    ) -> SpladeModel:
        import torch

        from tamis.retriever.models.language_model import load_language_model

        dtype: torch.dtype = getattr(torch, arithmetic)
        model = load_language_model(side, tokenizer.special_ids, self._device, dtype)
        return model.prepare_to_encode()

    def _query_side(self) -> _NeuralEncoder | TableQueryEncoder:
        query, document = self.files.query, self.files.document
        if isinstance(query, TableSide):
            return _table_encoder(self.files, query)
        tokenizer = query.tokenizer()
        tokenizer.check_prompt(query.prompt, query.folder)
        if query.runs_as(document):
            return _NeuralEncoder(self._documents.model, tokenizer, query.prompt)
        return self._load_side(query, tokenizer)


class _NeuralEncoder:
    """One side: tokenise ahead, run batches, give the rows in the order of the texts."""

    def __init__(self, model: SpladeModel | Int8Model, tokenizer: Tokenizer, prompt: str) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.prompt = prompt
        self.lanes = model.lanes

    def encode(self, texts: Sequence[str], progress: Callable[[int], None] | None) -> SparseVectors:
        if isinstance(texts, str):
            raise InputError("expected a list of texts, found one string; write [text]")
        parts, numbers = [SparseVectors.empty(self.model.vocab_size)], []
        windows = _windows(texts, WINDOW_TEXTS if self.model.packs else SORTED_TEXTS)
        with ThreadPoolExecutor(max_workers=TOKENISING) as tokenising:
            batches = self._batches(ahead(tokenising, self._ids, windows, TOKENISING))
            for batch, rows in self._encoded(batches):
                check_for_interrupts()
                parts.append(rows)
                numbers.extend(batch)
                if progress is not None:
                    progress(len(batch))
        vectors = SparseVectors.concatenate(parts)
        return vectors if self.model.packs else vectors.take(np.argsort(numbers))

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids with special ones around them; none for a blank text."""
        rows = self.tokenizer.document_ids([self.prompt + text for text in texts])
        return [ids if text.strip() else [] for text, ids in zip(texts, rows, strict=True)]

    def _batches(self, windows: Iterable[list[list[int]]]) -> Iterator[_Batch]:
        """The texts' numbers and ids, batch by batch."""
        group = batches_in_order if self.model.packs else batches_by_length
        start = made = 0
        for ids in windows:
            for batch in group([len(row) for row in ids], self.model.batch_tokens):
                yield _Batch([start + i for i in batch], [ids[i] for i in batch], made)
                made += 1
            start += len(ids)

    def _encoded(self, batches: Iterable[_Batch]) -> Iterator[tuple[list[int], SparseVectors]]:
        """Each batch's numbers and vectors; on a GPU, launches hide behind another's arithmetic."""
        import torch

        count, threads = self.lanes, self.model.lane_threads
        if count == 1:
            yield from map(self._encode_batch, batches)
            return
        with ThreadPoolExecutor(count, "encode", torch.set_num_threads, (threads,)) as lanes:
            yield from ahead(lanes, self._encode_batch, batches, count)

    def _encode_batch(self, batch: _Batch) -> tuple[list[int], SparseVectors]:
        if not any(batch.ids):
            blank = SparseVectors.empty(self.model.vocab_size, len(batch.ids))
            return batch.texts, blank
        return batch.texts, self.model.encode(batch.ids, batch.lane)


def _windows(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[_In], _Out], items: Iterable[_In], depth: int
) -> Iterator[_Out]:
    """``map`` that keeps ``depth`` results under way beside the one in use."""
    pending: deque[Future[_Out]] = deque()
    for item in items:
        pending.append(pool.submit(work, item))
        if len(pending) > depth:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def batches_in_order(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Group texts as they come, for models that need no padding.

    Args:
        lengths: tokens of each text.
        budget: tokens a batch may have; one longer text is a batch of its own.

    Yields:
        The numbers of a batch's texts.
    """
    batch: list[int] = []
    tokens = 0
    for i, length in enumerate(lengths):
        if batch and tokens + length > budget:
            yield batch
            batch, tokens = [], 0
        batch.append(i)
        tokens += length
    if batch:
        yield batch


def batches_by_length(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Group texts of like length, longest first, so that little is padded.

    Args:
        lengths: tokens of each text.
        budget: padded tokens a batch may have; one longer text is a batch of its own.

    Yields:
        The numbers of a batch's texts; texts without tokens are never mixed with others.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batch: list[int] = []
    for i in order:
        ends_here = batch and (
            lengths[batch[0]] * (len(batch) + 1) > budget or (lengths[batch[0]] > 0) > lengths[i]
        )
        if ends_here:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _table_encoder(files: Checkpoint, side: TableSide) -> TableQueryEncoder:
    description = files.description
    tokenizer = side.tokenizer(description.max_length)
    tokenizer.check_prompt(side.prompt, side.folder)
    weights = read_weight_table(side.weights, tokenizer, description.vocab_size)
    reading = TableReading(side.prompt, side.top_n, side.max_length)
    return TableQueryEncoder(tokenizer, weights, description, reading)


def choose_device(name: str | None) -> torch.device:
    """The device asked for, else the first CUDA device, else the processor.

    Raises:
        InputError: torch is not installed, or there is no such device to compute on.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError(
            "expected torch and transformers, which encode documents, found none; "
            "install them with: pip install 'tamis[encode]'"
        ) from error
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"expected a device such as cpu or cuda:0, found {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"expected a CUDA device, found none; use device='cpu' for {name!r}")
    try:
        float(torch.ones(1, device=device))
    except Exception as error:  # no such card, a back end that is not built in, or no memory of it
        raise InputError(
            f"expected a device that torch can compute on here, found {name!r}, which it cannot; "
            "use cpu, or cuda:0 where there is a CUDA device"
        ) from error
    return device
