"""Everything a step reads, on the training device: texts, words, teachers, batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from tamis.index.vectors import SparseVectors
from tamis.retriever.models.description import TableSide, find_folder, read_checkpoint
from tamis.retriever.models.inference_free import read_weight_table
from tamis.retriever.models.language_model import load_headless, load_language_model
from tamis.retriever.models.tokenizer import check_vocabulary
from tamis.retriever.training.batches import Batches
from tamis.retriever.training.cached_scores import CachedScores
from tamis.retriever.training.data.invented import invent_queries
from tamis.retriever.training.data.token_rows import TokenRows
from tamis.retriever.training.data.training_data import Pairs, TrainingData
from tamis.retriever.training.device_rows import Ragged
from tamis.retriever.training.homes import Homes
from tamis.retriever.training.lengths import check_lengths
from tamis.retriever.training.lexical_scores import LexicalScorer, count_words
from tamis.retriever.training.sparse_scores import SparseScorer
from tamis.retriever.training.teachers import (
    DenseTeacher,
    Teacher,
    backbone_of,
    embed,
    sparse_rows,
)
from tamis.retriever.words.lexical import idf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import nn

    from tamis.retriever.models.tokenizer import Tokenizer
    from tamis.retriever.training.config import TrainingConfig
    from tamis.retriever.training.student import Student


class TrainingSet:
    """The data of a training on its device.

    Attributes:
        passages: token rows.
        queries: token rows, invented ones included.
        words: BM25 of all texts.
        dense: the dense teacher, None where no loss uses it.
        teachers: weight and scores of those of the ensemble, BM25 apart.
        batches: by step.
        homes: queries that hard negatives can be found for.
        listed: candidates that came with the sources.
        table: [V] inverse document frequency of every term, where the query table starts.
    """

    def __init__(
        self, data: TrainingData, config: TrainingConfig, student: Student, device: torch.device
    ) -> None:
        """Invent queries, embed and weigh all texts, and give every query a passage."""
        queries, pairs = _with_invented(data, config)
        self.passages = Ragged.of(data.passages, device)
        self.queries = Ragged.of(queries, device)
        self.words = LexicalScorer(
            data.words.words(data.passages),
            data.words.words(queries),
            data.words.stem_count,
            device,
        )
        self.dense = self._dense_teacher(config, student, device)
        self.listed = data.listed
        self.teachers = list(self._teachers(config, student, device))
        if self.dense is not None:
            pairs = _with_homes(pairs, len(queries), self.dense)
        self.homes = Homes(pairs, data.listed)
        lengths = self.passages.lengths(torch.arange(self.passages.rows, device=device))
        self.batches = Batches(pairs, lengths, self.dense, config.batch, config.run.seed)
        frequency = document_frequency(data.passages, student.documents.vocab_size)
        self.table = torch.from_numpy(idf(frequency, len(data.passages))).to(device)

    def _teachers(
        self, config: TrainingConfig, student: Student, device: torch.device
    ) -> Iterator[tuple[float, Teacher]]:
        loss = config.loss
        if self.dense is not None:
            yield loss.dense, self.dense
        if loss.sparse:
            yield loss.sparse, self._sparse_teacher(config, student, device)
        if loss.cached:
            yield loss.cached, CachedScores(self.listed, self.passages.rows, device)

    def _sparse_teacher(
        self, config: TrainingConfig, student: Student, device: torch.device
    ) -> SparseScorer:
        """An encoder whose queries may be looked up, or encoded by its document side."""
        files = read_checkpoint(config.loss.sparse_teacher)
        check_vocabulary(student.tokenizer, files.document.folder)
        model = load_language_model(files.document, student.tokenizer.special_ids, device)
        around = sum(map(len, student.around))
        check_lengths(model.model, config.data, around, config.loss.sparse_teacher)
        documents = sparse_rows(model, self.passages, student.around, config.data.passage_tokens)
        if not isinstance(files.query, TableSide):
            longest = config.data.query_tokens + around
            asked = sparse_rows(model, self.queries, student.around, longest)
            return SparseScorer(asked, documents, device)
        weights = read_weight_table(files.query.weights, student.tokenizer, model.vocab_size)
        return SparseScorer(_looked_up(self.queries, weights), documents, device)

    def _dense_teacher(
        self, config: TrainingConfig, student: Student, device: torch.device
    ) -> DenseTeacher | None:
        if config.loss.dense == 0:
            return None
        name, around = config.loss.dense_teacher or config.model.base, student.around
        backbone = load_backbone(name, student.tokenizer).to(device)
        check_lengths(backbone, config.data, sum(map(len, around)), name)
        shared = (around, student.padding_id)
        longest = (config.data.passage_tokens, config.data.query_tokens + sum(map(len, around)))
        return DenseTeacher(
            embed(backbone, self.passages, *shared, longest[0]),
            embed(backbone, self.queries, *shared, longest[1]),
        )


def load_backbone(name: str, tokenizer: Tokenizer) -> nn.Module:
    """The backbone of a sparse encoder or of a dense one of sentence-transformers, on the host.

    Raises:
        InputError: there is no such model, or its vocabulary is not the tokenizer's.
        FormatError: it is of no format that can be read.
    """
    folder = find_folder(name)
    if (folder / "1_Pooling").is_dir():
        check_vocabulary(tokenizer, folder)
        return load_headless(folder)
    side = read_checkpoint(name).document
    check_vocabulary(tokenizer, side.folder)
    model = load_language_model(side, tokenizer.special_ids, torch.device("cpu"))
    return backbone_of(model.model)


def _looked_up(queries: Ragged, table: NDArray[np.float32]) -> SparseVectors:
    """The vectors of queries: the weight of each term that they hold, however often."""
    counts = count_words(
        TokenRows(queries.offsets.cpu().numpy(), queries.values.cpu().numpy()), len(table)
    )
    weights = table[counts.terms]
    kept = np.concatenate([[0], np.cumsum(weights > 0)])
    offsets = kept[counts.offsets].astype(np.int64)
    return SparseVectors(offsets, counts.terms[weights > 0], weights[weights > 0], len(table))


def document_frequency(rows: TokenRows, size: int) -> NDArray[np.int64]:
    """In how many rows each term occurs, [size]."""
    keys = np.repeat(np.arange(len(rows), dtype=np.int64), rows.lengths) * size + rows.ids
    keys.sort()  # a tenth of the time of np.unique, which hashes
    held = keys[np.diff(keys, prepend=-1) > 0] % size
    return np.bincount(held, minlength=size).astype(np.int64)


def _with_invented(data: TrainingData, config: TrainingConfig) -> tuple[TokenRows, Pairs]:
    """The queries of the data and those cut out of its passages, with their pairs."""
    parts, pairs = [data.queries], [data.pairs]
    for i in range(config.data.invented_queries):
        seed = config.run.seed + i
        rows, home = invent_queries(data.passages, data.words.continues, seed)
        first = sum(map(len, parts))
        numbers = np.arange(first, first + len(rows), dtype=np.int32)
        parts.append(rows)
        pairs.append(Pairs(numbers, home, np.zeros(len(rows), bool)))
    return TokenRows.concatenate(parts), _joined(pairs)


def _with_homes(pairs: Pairs, queries: int, teacher: DenseTeacher) -> Pairs:
    """The pairs, and for every query in none its most similar passage."""
    alone = np.setdiff1d(np.arange(queries), pairs.queries)
    device = teacher.passages.device
    homes = teacher.nearest_passage(torch.from_numpy(alone).to(device)).cpu().numpy()
    found = Pairs(alone.astype(np.int32), homes.astype(np.int32), np.zeros(len(alone), bool))
    return _joined([pairs, found])


def _joined(parts: list[Pairs]) -> Pairs:
    queries = np.concatenate([part.queries for part in parts])
    order = queries.argsort(kind="stable")
    return Pairs(
        queries[order],
        np.concatenate([part.passages for part in parts])[order],
        np.concatenate([part.judged for part in parts])[order],
    )
