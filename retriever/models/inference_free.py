"""Queries without a model, torch or transformers: a tokenizer and one weight a term."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import FormatError, InputError
from tamis.index.vectors import SparseVectors
from tamis.retriever.models.description import QUERY_WEIGHT_FILES, EncoderDescription
from tamis.retriever.models.inventory import ModelWarning
from tamis.retriever.models.tensor_files import load_arrays, save_arrays
from tamis.retriever.models.tokenizer import Pieces, Tokenizer
from tamis.retriever.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DESCRIPTION_FILE = "description.json"
READING = "reading"  # a key of that file, where queries are read in a way of their own


@dataclass(frozen=True, slots=True)
class TableReading:
    """How queries are read beside their tokenizer.

    Attributes:
        prompt: put before every query.
        top_n: only the heaviest terms of a query are kept; of equal ones the lower.
        max_length: queries are cut after this many tokens; None cuts where documents are cut.
    """

    prompt: str = ""
    top_n: int | None = None
    max_length: int | None = None


class TableQueryEncoder:
    """A query's vector is the weight of each term that occurs in it (most often an IDF).

    How often or where a term occurs does not matter: the document side was trained for that.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        weights: NDArray[np.float32],
        description: EncoderDescription,
        reading: TableReading = TableReading(),
    ) -> None:
        """Join a tokenizer and a table.

        Args:
            tokenizer: gives the terms of a text; cuts queries where ``reading`` says.
            weights: ``[vocab_size]`` float32, finite; a term of weight 0 or less is left out.
            description: of the whole encoder, whose document side filled the index.
            reading: what else decides the terms of a query.

        Raises:
            FormatError: the table's size is not the description's, or a weight is not finite.
        """
        if weights.shape != (description.vocab_size,) or not np.isfinite(weights).all():
            raise FormatError(
                f"encoder {description.name}: expected {description.vocab_size} finite query "
                f"weights, found shape {weights.shape}; use the table made for this model"
            )
        if tokenizer.count > weights.size:
            raise FormatError(
                f"encoder {description.name}: expected a tokenizer of at most {weights.size} "
                f"tokens, the query weights, found {tokenizer.count}; use files of one model"
            )
        self.tokenizer = tokenizer
        self.description = description
        self.reading = reading
        self.weights = np.maximum(weights, 0, dtype=np.float32)
        self.weights[list(tokenizer.special_ids)] = 0

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """The vectors of queries, one row each; a text without known terms has an empty row."""
        rows = self._terms(_checked(texts))
        terms = np.array([term for row in rows for term in row], np.int32)
        weights = self.weights[terms]
        kept = weights > 0
        counts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=counts[1:])
        kept_before = np.zeros(terms.size + 1, np.int64)
        np.cumsum(kept, out=kept_before[1:])
        return SparseVectors.trusted(
            kept_before[counts], terms[kept], weights[kept], self.description.vocab_size
        )

    def _terms(self, texts: Sequence[str]) -> list[list[int]]:
        """The terms of each query, rising; a blank one has none, whatever the prompt."""
        prompt, top_n = self.reading.prompt, self.reading.top_n
        prompted = [prompt + text if text.strip() else "" for text in texts]
        rows = [sorted(set(ids)) for ids in self.tokenizer.bare_ids(prompted)]
        if top_n is not None:
            heaviest = [sorted(row, key=lambda term: -self.weights[term])[:top_n] for row in rows]
            rows = list(map(sorted, heaviest))
        return rows

    @property
    def vocabulary(self) -> Vocabulary:
        """What its terms are called."""
        return Vocabulary((Pieces(self.tokenizer, self.description.vocab_size),))

    def save(self, folder: str | Path) -> None:
        """Write all that `load` needs into an existing or new folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(folder)
        save_arrays({"weight": self.weights}, folder / QUERY_WEIGHT_FILES[0])
        about = asdict(self.description)
        if self.reading != TableReading():
            about[READING] = asdict(self.reading)
        (folder / DESCRIPTION_FILE).write_text(json.dumps(about, indent=2))

    @staticmethod
    def load(folder: str | Path) -> TableQueryEncoder:
        """Read what `save` wrote.

        Raises:
            FormatError: a file is missing or is not what it should be.
        """
        path = Path(folder) / DESCRIPTION_FILE
        try:
            about = json.loads(path.read_text())
            reading = TableReading(**about.pop(READING, {}))
            description = EncoderDescription(**about)
        except (OSError, ValueError, TypeError) as error:
            raise FormatError(
                f"{path}: expected the description of a query encoder, found none ({error}); "
                "save the encoder again"
            ) from error
        tokenizer = Tokenizer.load(Path(folder), reading.max_length or description.max_length)
        weights = read_weight_table(
            Path(folder) / QUERY_WEIGHT_FILES[0], tokenizer, description.vocab_size
        )
        return TableQueryEncoder(tokenizer, weights, description, reading)


def read_weight_table(path: Path, tokenizer: Tokenizer, vocab_size: int) -> NDArray[np.float32]:
    """The query weights ``[vocab_size]`` of a safetensors, JSON or text file.

    A table shorter than the vocabulary is filled with zeros: models pad their vocabulary.

    Args:
        path: safetensors with a tensor ``weight``; JSON that maps pieces to weights (OpenSearch's
            ``idf.json``); or lines of piece, tab, weight (``query_token_weights.txt``).
        tokenizer: gives the ids of pieces; pieces it does not know are left out and told
            (ModelWarning).
        vocab_size: size of the result.

    Raises:
        FormatError: the file is missing or is none of these.
    """
    try:
        if path.suffix == ".safetensors":
            table = load_arrays(path)["weight"].astype(np.float32).reshape(-1)
        else:
            pieces = _pieces_of_json(path) if path.suffix == ".json" else _pieces_of_lines(path)
            table = _by_id(pieces, tokenizer, path)
    except (OSError, FormatError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{path}: expected query weights (safetensors with a tensor `weight`, JSON of piece to "
            f"weight, or lines of piece, tab, weight), found something else ({error!r}); "
            "copy the file again from the model's source"
        ) from error
    if not np.isfinite(table).all() or not (table > 0).any():
        raise FormatError(
            f"{path}: expected finite query weights, some of them above 0 for terms of the model's "
            "tokenizer, found none such; use the table made for this model"
        )
    if table.size > vocab_size:
        raise FormatError(
            f"{path}: expected at most {vocab_size} query weights, found {table.size}; "
            "use the table made for this model"
        )
    return np.pad(table, (0, vocab_size - table.size))


def _pieces_of_json(path: Path) -> dict[str, float]:
    return {piece: float(weight) for piece, weight in json.loads(path.read_text("utf-8")).items()}


def _pieces_of_lines(path: Path) -> dict[str, float]:
    lines = path.read_text("utf-8").split("\n")  # splitlines would cut at pieces such as U+2028
    pairs = (line.rstrip("\r").rsplit("\t", 1) for line in lines if line)
    return {piece: float(weight) for piece, weight in pairs}


def _by_id(pieces: dict[str, float], tokenizer: Tokenizer, path: Path) -> NDArray[np.float32]:
    unknown = [piece for piece in pieces if tokenizer.backend.token_to_id(piece) is None]
    if unknown and len(unknown) < len(pieces):
        warnings.warn(
            f"{path}: expected weights of pieces of the model's tokenizer, found {len(unknown)} of "
            f"{len(pieces)} others, such as {unknown[0]!r}, which are left out",
            ModelWarning,
            stacklevel=3,
        )
    table = np.zeros(tokenizer.size, np.float32)
    for piece, weight in pieces.items():
        term = tokenizer.term_id(piece)
        if term is not None:
            table[term] = weight
    return table


def _checked(texts: Sequence[str]) -> Sequence[str]:
    if isinstance(texts, str):
        raise InputError("expected a list of texts, found one string; write [text]")
    return texts
