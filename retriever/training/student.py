"""The model in training: document side, query side, channel of words, temperatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from tamis.index.errors import InputError
from tamis.retriever.models.description import TableSide, read_checkpoint
from tamis.retriever.models.inference_free import read_weight_table
from tamis.retriever.models.tokenizer import Tokenizer, check_vocabulary
from tamis.retriever.training.lengths import check_lengths
from tamis.retriever.training.teachers import backbone_of
from tamis.retriever.training.trainable import base_side, trainable_model

if TYPE_CHECKING:
    from tamis.retriever.models.splade_model import SpladeModel
    from tamis.retriever.training.config import ModelConfig, TrainingConfig
    from tamis.retriever.training.device_rows import Ragged

FIRST_TEMPERATURE = 30.0  # scores are shares of the most a query could reach


class Scores(NamedTuple):
    """Scores of a batch.

    ranked: [Q, P] what an index would rank by, learned terms and words.
    scaled: [Q, P] the same in units of a query's weight, times a learned temperature.
    """

    ranked: torch.Tensor
    scaled: torch.Tensor


class Student(nn.Module):
    """A sparse encoder with what its training adds.

    Attributes:
        documents: the document side.
        query_model: the query side, which may be ``documents``; None where queries are looked up.
        tokenizer: of both.
        log_table: [V] log of the query weights, or None where a model encodes queries.
        log_channel: log of the weight of words in the score.
        log_temperatures: [2] with words and without.
        first_mass: mean sum of the weights of a query that a model encoded, in the first batch; 0
            before it.
        around: special ids before and after every text.
        padding_id: id of padding.
    """

    def __init__(
        self,
        documents: SpladeModel,
        query_model: SpladeModel | None,
        tokenizer: Tokenizer,
        *,
        channel: float,
    ) -> None:
        """Join the parts; the table starts from 1 for every term, see `start_table`."""
        super().__init__()
        self.documents = documents
        self.query_model = query_model
        self.tokenizer = tokenizer
        size = documents.vocab_size
        self.log_table = nn.Parameter(torch.zeros(size)) if query_model is None else None
        self.log_channel = nn.Parameter(torch.tensor(max(channel, 1e-4)).log())
        self.log_temperatures = nn.Parameter(torch.full((2,), FIRST_TEMPERATURE).log())
        self.first_mass = 0.0
        self.around = _special_ids_around(tokenizer)
        self.padding_id = documents.padding_id

    @property
    def models(self) -> list[SpladeModel]:
        """The models that are trained, each once."""
        both = (self.documents, self.query_model)
        return list(dict.fromkeys(one for one in both if one is not None))

    def start_table(self, weights: torch.Tensor, power: float) -> None:
        """Let the query table start from a power of ``weights`` [V], above zero."""
        if self.log_table is not None:
            with torch.no_grad():
                self.log_table.copy_(weights.clamp(min=1e-3).log() * power)

    def encode(
        self, model: SpladeModel, rows: Ragged, chosen: torch.Tensor, width: int
    ) -> torch.Tensor:
        """Term weights ``[n, V]`` float32 of some token rows, padded to ``width``."""
        ids, mask = rows.padded(chosen, self.around, self.padding_id, width)
        return model.weights(ids, mask)

    def look_up(self, rows: Ragged, chosen: torch.Tensor) -> torch.Tensor:
        """Weights ``[Q, V]`` of queries by the table."""
        return present(rows, chosen, self.documents.vocab_size) * self.table()

    def queries(self, rows: Ragged, chosen: torch.Tensor) -> torch.Tensor:
        """Weights ``[Q, V]`` of queries: looked up, or encoded all at once."""
        if self.query_model is None:
            return self.look_up(rows, chosen)
        longest = int(rows.lengths(chosen).max()) + sum(map(len, self.around))
        return self.encode(self.query_model, rows, chosen, longest)

    def passages(self, rows: Ragged, chosen: torch.Tensor) -> torch.Tensor:
        """Weights ``[n, V]`` of passages, encoded all at once."""
        longest = int(rows.lengths(chosen).max()) + sum(map(len, self.around))
        return self.encode(self.documents, rows, chosen, longest)

    def backbones(self) -> list[nn.Module]:
        """The parts of the models below their heads."""
        return [backbone_of(one.model) for one in self.models]

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
        mass = self._mass(queries.detach().float().sum(1))
        if words is not None and word_mass is not None:
            channel = self.log_channel.exp()
            ranked = ranked + channel * words
            mass = mass + channel.detach() * word_mass
        temperature = self.log_temperatures[int(words is None)].exp()
        return Scores(ranked, ranked * (temperature / (mass[:, None] + 1e-6)))

    def _mass(self, mass: torch.Tensor) -> torch.Tensor:
        """The unit of the learned scores, [Q], from the sums of the queries' weights [Q].

        Of a table it is each query's own sum. A model must find the scale of its queries: in units
        of their own sum, which passes no gradient on, smaller queries would never score less, and a
        loss that wants smaller scores would shrink them until none has a term.
        """
        if self.query_model is None:
            return mass
        self.first_mass = self.first_mass or float(mass.mean())
        return torch.full_like(mass, self.first_mass)


def load_student(config: TrainingConfig, device: torch.device) -> Student:
    """The student before its first step, in float32 on a device, without dropout.

    Raises:
        InputError, FormatError: a base model cannot be read, the two do not fit, or texts are
            longer than one has positions for.
    """
    model = config.model
    side = base_side(model)
    tokenizer = side.tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)  # of heads that start at random
        documents = trainable_model(model, side, tokenizer.special_ids)
        query_model = None if model.query_table else documents
        if model.query is not None:
            query_side = base_side(model.query)
            check_vocabulary(tokenizer, query_side.folder)
            query_model = trainable_model(model.query, query_side, tokenizer.special_ids)
    student = Student(documents, query_model, tokenizer, channel=config.lexical.weight)
    for one in student.models:
        readings = 2 if one.side.echo else 1
        around = sum(map(len, student.around))
        check_lengths(one.model, config.data, around, one.side.folder, readings=readings)
    if student.log_table is not None:
        student.log_table.requires_grad_(model.table_learned)
    return student.to(device)


def base_table(model: ModelConfig, tokenizer: Tokenizer) -> torch.Tensor:
    """The query weights ``[V]`` of a student's base.

    Raises:
        InputError: its queries are encoded by a model, not looked up.
        FormatError: they cannot be read.
    """
    files = read_checkpoint(model.base)
    if not isinstance(files.query, TableSide):
        raise InputError(
            f"{model.base}: table_from_base: expected a base whose queries are looked up, found "
            "one that encodes them; leave the setting out"
        )
    size = files.description.vocab_size
    return torch.from_numpy(read_weight_table(files.query.weights, tokenizer, size))


def present(rows: Ragged, chosen: torch.Tensor, size: int) -> torch.Tensor:
    """``[n, size]`` float32: 1 where a row holds a term, however often."""
    flat = rows.flat(chosen)
    terms = torch.zeros(len(chosen), size, device=chosen.device)
    terms[flat.row, rows.values[flat.entry].long()] = 1.0
    return terms


def _special_ids_around(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer puts before and after every text."""
    (bare,), (whole,) = tokenizer.bare_ids(["a"]), tokenizer.document_ids(["a"])
    start = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
    return whole[:start], whole[start + len(bare) :]
