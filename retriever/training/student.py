"""The model in training: document side, query side, channel of words, temperatures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from tamis.kernels.ops import splade_head
from tamis.retriever.checkpoint import NeuralSide, read_checkpoint
from tamis.retriever.language_model import SpladeModel, load_language_model
from tamis.retriever.tokenizer import Tokenizer
from tamis.retriever.training.teachers import backbone_of

if TYPE_CHECKING:
    from tamis.retriever.training.config import TrainingConfig
    from tamis.retriever.training.ragged import Ragged

FIRST_TEMPERATURE = 30.0  # scores are shares of the most a query could reach


class Scores(NamedTuple):
    """Scores of a batch.

    ranked: [Q, P] what an index would rank by, learned terms and words.
    scaled: [Q, P] the same in units of the query's weight, times a learned temperature.
    """

    ranked: torch.Tensor
    scaled: torch.Tensor


class Student(nn.Module):
    """A sparse encoder with what its training adds.

    Attributes:
        documents: the document side (and the query side where there is no table).
        tokenizer: of the base model.
        log_table: [V] log of the query weights, or None where the model encodes queries.
        log_channel: log of the weight of words in the score.
        log_temperatures: [2] with words and without.
        around: special ids before and after every text.
        padding_id: id of padding.
    """

    def __init__(
        self, documents: SpladeModel, tokenizer: Tokenizer, *, query_table: bool, channel: float
    ) -> None:
        """Join the parts; the table starts from 1 for every term, see `start_table`."""
        super().__init__()
        self.documents = documents
        self.tokenizer = tokenizer
        size = documents.vocab_size
        self.log_table = nn.Parameter(torch.zeros(size)) if query_table else None
        self.log_channel = nn.Parameter(torch.tensor(max(channel, 1e-4)).log())
        self.log_temperatures = nn.Parameter(torch.full((2,), FIRST_TEMPERATURE).log())
        self.around = _special_ids_around(tokenizer)
        config: Any = documents.model.config
        self.padding_id = int(config.pad_token_id or 0)

    def start_table(self, weights: torch.Tensor) -> None:
        """Let the query table start from ``weights`` [V], above zero."""
        if self.log_table is not None:
            with torch.no_grad():
                self.log_table.copy_(weights.clamp(min=1e-3).log())

    def encode(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Term weights ``[B, V]`` float32 of padded texts; special terms are 0."""
        hidden = self.documents(ids, mask)
        decoder = self.documents.decoder
        weights = splade_head(
            hidden,
            decoder.weight,
            decoder.bias,
            mask=mask.bool(),
            activation=self.documents.activation,
            logit_scale=self.documents.side.logit_scale,
        )
        return weights.masked_fill(self.documents.excluded, 0.0)

    def encode_rows(self, rows: Ragged, chosen: torch.Tensor, width: int) -> torch.Tensor:
        """Term weights ``[n, V]`` of some token rows, padded to ``width``."""
        ids, mask = rows.padded(chosen, self.around, self.padding_id, width)
        return self.encode(ids, mask)

    def queries(self, rows: Ragged, chosen: torch.Tensor) -> torch.Tensor:
        """Weights ``[Q, V]`` of queries: looked up, or encoded like documents."""
        if self.log_table is None:
            longest = int(rows.lengths(chosen).max()) + sum(map(len, self.around))
            return self.encode_rows(rows, chosen, longest)
        return present(rows, chosen, self.documents.vocab_size) * self.table()

    def backbone(self) -> nn.Module:
        """The part of the document model below its head."""
        return backbone_of(self.documents.model)

    def table(self) -> torch.Tensor:
        """The weight of every term in a query, [V], 0 for special terms."""
        if self.log_table is None:
            raise ValueError("expected a student with a query table, found a neural query side")
        return self.log_table.exp().masked_fill(self.documents.excluded, 0.0)

    def learned(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Inner products ``[Q, P]`` float32 of weights ``[Q, V]`` and ``[P, V]``."""
        with torch.autocast(queries.device.type, enabled=False):  # scores are sums of many terms
            return queries @ documents.T

    def score(
        self,
        queries: torch.Tensor,
        learned: torch.Tensor,
        words: torch.Tensor | None,
        word_mass: torch.Tensor | None,
    ) -> Scores:
        """Scores of all queries for all documents of a batch.

        Args:
            queries: [Q, V] weights.
            learned: [Q, P] what `learned` gave.
            words: [Q, P] BM25, or None to do without.
            word_mass: [Q] sums of the queries' word weights, with ``words``.
        """
        ranked = learned
        mass = queries.detach().float().sum(1)
        if words is not None and word_mass is not None:
            channel = self.log_channel.exp()
            ranked = ranked + channel * words
            mass = mass + channel.detach() * word_mass
        temperature = self.log_temperatures[int(words is None)].exp()
        return Scores(ranked, ranked * (temperature / (mass[:, None] + 1e-6)))


def load_student(config: TrainingConfig, device: torch.device) -> Student:
    """The student before its first step, in float32 on a device, without dropout.

    Raises:
        InputError, FormatError: the base model cannot be read.
    """
    side = replace(read_checkpoint(config.model.base).document, double_log=config.model.double_log)
    tokenizer = Tokenizer.load(side.folder, side.max_length)
    model = _trainable(side, tokenizer)
    student = Student(
        model, tokenizer, query_table=config.model.query_table, channel=config.lexical.weight
    )
    return student.to(device)


def present(rows: Ragged, chosen: torch.Tensor, size: int) -> torch.Tensor:
    """``[n, size]`` float32: 1 where a row holds a term, however often."""
    flat = rows.flat(chosen)
    terms = torch.zeros(len(chosen), size, device=chosen.device)
    terms[flat.row, rows.values[flat.entry].long()] = 1.0
    return terms


def _trainable(side: NeuralSide, tokenizer: Tokenizer) -> SpladeModel:
    """The model in float32, its dropout switched off: the teachers are noise enough."""
    model = load_language_model(side, tokenizer.special_ids, torch.device("cpu"))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model.float().train().requires_grad_()  # half precision would lose small updates


def _special_ids_around(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer puts before and after every text."""
    (bare,), (whole,) = tokenizer.bare_ids(["a"]), tokenizer.document_ids(["a"])
    start = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
    return whole[:start], whole[start + len(bare) :]
