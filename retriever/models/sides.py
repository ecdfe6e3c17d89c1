"""The two sides of an encoder, as its folder states them: one fills an index, one asks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path  # noqa: TC003  dataclasses resolve it
from typing import Literal

from tamis.index.errors import FormatError
from tamis.retriever.models.head_kinds import HeadKind
from tamis.retriever.models.tokenizer import Tokenizer


class Architecture(StrEnum):
    """What kind of model gives the head its hidden states."""

    MASKED = "masked language model"
    CAUSAL = "causal language model"
    HEADLESS = "token weights"  # a backbone without a vocabulary head, as of bge-m3


Pooling = Literal["mean", "cls"]


@dataclass(frozen=True, slots=True)
class Code:
    """A sparse code of a text's embedding, whose terms are latents (CSR, arXiv 2503.01776).

    Attributes:
        folder: of the weights that code.
        pieces: rows of the language model's embeddings, as many as its tokenizer may use.
        pooling: of the hidden states of a text's tokens.
        scaled: embeddings are scaled to length 1.
        standardised: after that, each is given mean 0 and deviation 1.
    """

    folder: Path
    pieces: int
    pooling: Pooling
    scaled: bool
    standardised: bool


@dataclass(frozen=True, slots=True)
class NeuralSide:
    """A model that turns texts into vectors.

    Attributes:
        folder: config.json, safetensors and tokenizer.
        architecture: of the model in ``folder``.
        vocab_size: rows of its vocabulary head, or latents of its code.
        max_length: texts are cut after this many tokens.
        adapter: folder of a PEFT adapter to merge in.
        head: makes weights of terms of hidden states.
        double_log: log1p(log1p(relu(x))) in place of log1p(relu(x)).
        prompt: put before every text.
        top_n: only the heaviest terms of a text are kept.
        bidirectional: a causal model in which every token sees every other.
        logit_scale: above zero; logits are multiplied by it before the activation.
        linear_head: of BERT; the head's transform is a matrix and a norm, without its activation.
        echo: the model reads every text twice, and the second reading gives the weights.
        lower_case: texts are lower-cased, whatever the tokenizer does.
        tokenizer_folder: where the tokenizer lies, if not in ``folder``.
        code: what the head of that kind computes.
    """

    folder: Path
    architecture: Architecture
    vocab_size: int
    max_length: int
    adapter: Path | None = None
    head: HeadKind = HeadKind.MAX
    double_log: bool = False
    prompt: str = ""
    top_n: int | None = None
    bidirectional: bool = False
    logit_scale: float = 1.0
    linear_head: bool = False
    echo: bool = False
    lower_case: bool = False
    tokenizer_folder: Path | None = None
    code: Code | None = None

    @property
    def tokenizer_place(self) -> Path:
        """The folder of its tokenizer."""
        return self.tokenizer_folder or self.folder

    def tokenizer(self) -> Tokenizer:
        """Read its tokenizer.

        Raises:
            FormatError: there is none that can be read.
        """
        place = self.tokenizer_place
        tokenizer = Tokenizer.load(place, self.max_length, lower_case=self.lower_case)
        rows = self.vocab_size if self.code is None else self.code.pieces
        if tokenizer.count > rows:
            raise FormatError(
                f"{place}: expected a tokenizer of at most {rows} tokens, the rows of "
                f"the model's vocabulary, found {tokenizer.count}; copy both from one source"
            )
        return tokenizer

    def runs_as(self, other: NeuralSide) -> bool:
        """Whether both sides run one model: they may differ in how they read texts."""
        reads = {name: getattr(other, name) for name in OF_TEXTS}
        return replace(self, **reads) == other


OF_TEXTS = ("prompt", "max_length", "lower_case", "tokenizer_folder")


@dataclass(frozen=True, slots=True)
class TableSide:
    """A query side without a model: a tokenizer and a weight for each term.

    Attributes:
        folder: of the tokenizer.
        weights: file of the table.
        max_length: queries are cut after this many tokens; None cuts where documents are cut.
        prompt: put before every query.
        top_n: only the heaviest terms of a query are kept.
    """

    folder: Path
    weights: Path
    max_length: int | None = None
    prompt: str = ""
    top_n: int | None = None

    @property
    def tokenizer_place(self) -> Path:
        """The folder of its tokenizer."""
        return self.folder

    def tokenizer(self, document_length: int) -> Tokenizer:
        """Read its tokenizer.

        Args:
            document_length: where documents are cut.

        Raises:
            FormatError: there is none that can be read.
        """
        return Tokenizer.load(self.folder, self.max_length or document_length)
