"""Everything a step reads, on the training device: texts, words, teachers, batches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from tamis.retriever.checkpoint import read_checkpoint
from tamis.retriever.language_model import load_language_model
from tamis.retriever.lexical import idf
from tamis.retriever.training.batches import Batches
from tamis.retriever.training.invented import invent_queries
from tamis.retriever.training.lexical_scores import LexicalScorer
from tamis.retriever.training.prepared import Pairs, TrainingData
from tamis.retriever.training.ragged import Ragged
from tamis.retriever.training.teachers import DenseTeacher, backbone_of, embed
from tamis.retriever.training.token_rows import TokenRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tamis.retriever.training.config import TrainingConfig
    from tamis.retriever.training.student import Student


class TrainingSet:
    """The data of a training on its device.

    Attributes:
        passages: token rows.
        queries: token rows, invented ones included.
        words: BM25 of all texts.
        dense: the dense teacher, None where no loss uses it.
        batches: by step.
        table: [V] inverse document frequency of every term, where the query table starts.
        continues: ``[vocabulary]`` bool of the word table.
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
        if self.dense is not None:
            pairs = _with_homes(pairs, len(queries), self.dense)
        lengths = self.passages.lengths(torch.arange(self.passages.rows, device=device))
        self.batches = Batches(pairs, lengths, self.dense, config.batch, config.run.seed)
        frequency = document_frequency(data.passages, student.documents.vocab_size)
        self.table = torch.from_numpy(idf(frequency, len(data.passages))).to(device)

    def _dense_teacher(
        self, config: TrainingConfig, student: Student, device: torch.device
    ) -> DenseTeacher | None:
        if config.loss.dense == 0:
            return None
        side = read_checkpoint(config.loss.dense_teacher or config.model.base).document
        special = student.tokenizer.special_ids
        model = load_language_model(replace(side), special, torch.device("cpu"))
        backbone = backbone_of(model.model).to(device)
        shared = (student.around, student.padding_id)
        longest = (config.data.passage_tokens, config.data.query_tokens + 2)
        return DenseTeacher(
            embed(backbone, self.passages, *shared, longest[0]),
            embed(backbone, self.queries, *shared, longest[1]),
        )


def document_frequency(rows: TokenRows, size: int) -> NDArray[np.int64]:
    """In how many rows each term occurs, [size]."""
    row = np.repeat(np.arange(len(rows), dtype=np.int64), rows.lengths)
    held = np.unique(row * size + rows.ids) % size
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
