"""JSON vectors of other programs: documents with their vectors, checked line by line.

Read are `Anserini's JsonVectorCollection <https://github.com/castorini/anserini>`_ and the lines
of Seismic, of OpenSearch's bulk API and of Qdrant; see `tamis.index.exchange.engines`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from tamis.index.errors import InputError
from tamis.index.exchange.engines import documents_of
from tamis.index.exchange.interchange import JSON_ENDINGS, JSON_KINDS
from tamis.index.files.lines import json_file, json_lines, open_bytes
from tamis.index.vectors import MAX_TERMS, SparseVectors, checked_weight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tamis.index.files.lines import Rows

    TermId = Callable[[str], int | None]

ENDINGS = (*JSON_ENDINGS, *(f"{kind}.zst" for kind in JSON_KINDS))
_ROWS = 10_000  # of a batch


def number_of(term: str) -> int | None:
    """The number that a term is spelled as; None for any other term."""
    is_number = term.isascii() and term.isdecimal() and len(term) <= len(str(MAX_TERMS))
    return int(term) if is_number else None


@dataclass(frozen=True, slots=True)
class JsonDocument:
    """A document with its vector.

    Attributes:
        file: where it stands.
        line: in the file, from 1.
        doc_id: its id.
        weights: above zero, by term.
        fields: what it holds beside these.
    """

    file: str
    line: int
    doc_id: str
    weights: Mapping[int, float]
    fields: Mapping[str, Any]

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class JsonVectors:
    """JSON vectors that were read once: every line is good, and what a build must know is known.

    Attributes:
        files: in the order of their names.
        count: of all documents.
        vocab_size: number of terms there are.
        term_id: the number of a term that is spelled out, None where it is unknown.
    """

    files: tuple[Path, ...]
    count: int
    vocab_size: int
    term_id: TermId

    @staticmethod
    def survey(
        path: Path, vocab_size: int | None = None, term_id: TermId = number_of
    ) -> JsonVectors:
        """Read a file, or all such files of a folder, and check every line.

        Args:
            path: of the file or folder.
            vocab_size: number of terms there are; None takes the largest number and one.
            term_id: the number of a term that is spelled out, None where it is unknown. Numbers
                by default; it says the same of a term whatever the other lines hold.

        Raises:
            InputError: there is no such file, or a line is not a document with a vector: the
                message names the file and the line.
        """
        files, count, largest = _json_files(path), 0, 0
        for document in _documents(files, term_id, vocab_size or MAX_TERMS):
            count += 1
            largest = max(largest, *document.weights, 0)
        return JsonVectors(files, count, vocab_size or largest + 1, term_id)

    @property
    def plan(self) -> dict[str, Any]:
        """What a build that goes on must find unchanged."""
        sizes = {str(file): file.stat().st_size for file in self.files}
        return {
            "files": sizes,
            "documents": self.count,
            "batch_documents": _ROWS,
            "vocab_size": self.vocab_size,
        }

    def documents(self) -> Iterator[JsonDocument]:
        """All documents, in the order of the files."""
        return _documents(self.files, self.term_id, self.vocab_size)

    def batches(self, first: int = 0) -> Iterator[SparseVectors]:
        """The vectors in batches, from document ``first`` on; weights of 0 are left out."""
        documents = islice(self.documents(), first, None)
        while rows := [document.weights for document in islice(documents, _ROWS)]:
            yield SparseVectors.from_dicts(rows, self.vocab_size)


def _json_files(path: Path) -> tuple[Path, ...]:
    found = sorted(path.iterdir()) if path.is_dir() else [path]
    files = tuple(file for file in found if file.is_file() and file.name.endswith(ENDINGS))
    if not files:
        raise InputError(
            f"{path}: expected JSON vectors, a file or a folder of files ending in "
            f"{', '.join(ENDINGS)}, found none; check the path"
        )
    return files


def _documents(files: Sequence[Path], term_id: TermId, vocab_size: int) -> Iterator[JsonDocument]:
    for path in files:
        name = str(path)
        for line, doc_id, vector, fields in documents_of(name, _rows(path)):
            try:
                weights = _checked(vector, term_id, vocab_size)
            except InputError as error:
                raise InputError(f"{name}:{line}: {error}") from None
            yield JsonDocument(name, line, doc_id, weights, fields)


def _rows(path: Path) -> Rows:
    if path.name.removesuffix(".gz").removesuffix(".zst").endswith(".json"):
        yield from json_file(path)
        return
    with open_bytes(path) as stream:
        yield from json_lines(str(path), stream)


def _checked(vector: Mapping[str | int, Any], term_id: TermId, vocab_size: int) -> dict[int, float]:
    """The weights above zero by term id; a number that is no text is a term's id already."""
    weights: dict[int, float] = {}
    for term, weight in vector.items():
        number = term if isinstance(term, int) else term_id(term)
        if number is None:
            raise InputError(
                "expected a term that is a number, or a piece of the encoder named by --encoder, "
                f"found {term!r}; name the encoder that made the vectors"
            )
        if not 0 <= number < vocab_size:
            raise InputError(
                f"expected terms from 0 to {vocab_size - 1}, found {number}; use the vocabulary "
                "the vectors were encoded with"
            )
        if number in weights:
            raise InputError(
                f"expected one weight for each term, found another for {number}; leave one out"
            )
        weights[number] = checked_weight(weight, term)
    return {number: weight for number, weight in weights.items() if weight}
