"""SparseVectors, the batch of sparse vectors that the index takes and encoders give.

Knows nothing of text, models or files of any index; its own file form is safetensors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tamis.index.errors import FormatError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

MAX_TERMS = 2**31  # every term is an int32
FILE_FORMAT = "tamis-sparse-vectors-1"
_LARGEST = float(np.finfo(np.float32).max)
_HALF_OF_SMALLEST = 2.0**-150  # what is no larger rounds to 0


@dataclass(frozen=True, slots=True, eq=False)
class SparseVectors:
    """A batch of sparse vectors in compressed sparse rows.

    Attributes:
        offsets: ``[rows + 1]`` int64, from 0 to nnz, never falling.
        terms: ``[nnz]`` int32, rising within a row, at least 0 and below ``vocab_size``.
        weights: ``[nnz]`` float32, finite and above zero.
        vocab_size: number of terms there are.

    Raises:
        InputError: the arrays break one of these rules; the message names row and term.
    """

    offsets: NDArray[np.int64]
    terms: NDArray[np.int32]
    weights: NDArray[np.float32]
    vocab_size: int

    def __post_init__(self) -> None:
        for name, dtype in (("offsets", np.int64), ("terms", np.int32), ("weights", np.float32)):
            object.__setattr__(self, name, _as_array(name, getattr(self, name), dtype))
        _check_shape(self)
        _check_rows(self)

    @staticmethod
    def trusted(
        offsets: NDArray[np.int64],
        terms: NDArray[np.int32],
        weights: NDArray[np.float32],
        vocab_size: int,
    ) -> SparseVectors:
        """Vectors whose arrays keep every rule by the way they were made: nothing is checked.

        A query is encoded in tens of microseconds, of which checking would be a good part.
        """
        vectors = object.__new__(SparseVectors)
        for name, value in zip(
            SparseVectors.__slots__, (offsets, terms, weights, vocab_size), strict=True
        ):
            object.__setattr__(vectors, name, value)
        return vectors

    def __len__(self) -> int:
        return self.offsets.size - 1

    @property
    def nnz(self) -> int:
        """Number of stored (term, weight) pairs."""
        return self.terms.size

    def row(self, i: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The terms and weights of row ``i``, as views."""
        start, stop = self.offsets[i], self.offsets[i + 1]
        return self.terms[start:stop], self.weights[start:stop]

    def rows_from(self, term: int) -> int:
        """How many rows hold this term or a later one."""
        ends = self.offsets[1:][self.offsets[1:] > self.offsets[:-1]]
        return int(np.count_nonzero(self.terms[ends - 1] >= term))

    def rows(self, start: int, stop: int) -> SparseVectors:
        """Rows ``start`` to ``stop`` (exclusive), sharing memory with this batch."""
        if start == 0 and stop == len(self):
            return self
        first, last = self.offsets[start], self.offsets[stop]
        return SparseVectors.trusted(
            self.offsets[start : stop + 1] - first,
            self.terms[first:last],
            self.weights[first:last],
            self.vocab_size,
        )

    def take(self, rows: NDArray[np.int64]) -> SparseVectors:
        """These rows, in this order, as a copy."""
        starts = self.offsets[rows]
        offsets = np.concatenate([[0], np.cumsum(self.offsets[rows + 1] - starts)])
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], np.diff(offsets))
        offsets = offsets.astype(np.int64)
        return SparseVectors.trusted(
            offsets, self.terms[places], self.weights[places], self.vocab_size
        )

    def below(self, vocab_size: int) -> SparseVectors:
        """The entries of terms below ``vocab_size``, over that vocabulary."""
        return self.where(self.terms < vocab_size, self.terms, vocab_size)

    def renumbered(self, terms: NDArray[np.int32], vocab_size: int) -> SparseVectors:
        """The same weights of other terms, which keep every rule.

        Args:
            terms: ``[nnz]``, in place of their own.
            vocab_size: number of these terms.
        """
        return SparseVectors.trusted(self.offsets, terms, self.weights, max(vocab_size, 1))

    def where(
        self, kept: NDArray[np.bool_], terms: NDArray[np.int32], vocab_size: int
    ) -> SparseVectors:
        """Some entries, with other terms, which keep every rule.

        Args:
            kept: ``[nnz]``, set for these entries.
            terms: ``[nnz]``, in place of their own.
            vocab_size: number of these terms.
        """
        before = np.zeros(kept.size + 1, np.int64)
        kept.cumsum(out=before[1:])
        return SparseVectors.trusted(
            before[self.offsets], terms[kept], self.weights[kept], max(vocab_size, 1)
        )

    def scaled(self, factors: NDArray[np.float64]) -> SparseVectors:
        """Each weight times its factor; an entry whose product is 0 in float32 is left out.

        Args:
            factors: ``[nnz]``, finite, at least 0.

        Raises:
            InputError: a product is beyond float32.
        """
        products = self.weights * factors
        if products.max(initial=0.0) > np.finfo(np.float32).max:
            raise InputError(
                f"expected weights within float32, found {products.max():.3g} after scaling; "
                "take a smaller factor"
            )
        scaled = SparseVectors.trusted(
            self.offsets, self.terms, products.astype(np.float32), self.vocab_size
        )
        return scaled.where(scaled.weights > 0, self.terms, self.vocab_size)

    def heaviest(self, most: int) -> SparseVectors:
        """At most ``most`` terms of each row: those of the largest weights, then of lower number.

        These very vectors where no row has more.
        """
        sizes = np.diff(self.offsets)
        if sizes.max(initial=0) <= most:
            return self
        kept = np.ones(self.nnz, np.bool_)
        for row in np.flatnonzero(sizes > most).tolist():
            start, stop = self.offsets[row], self.offsets[row + 1]
            order = np.argsort(-self.weights[start:stop], kind="stable")
            kept[start + order[most:]] = False
        return self.where(kept, self.terms, self.vocab_size)

    def over(self, vocab_size: int) -> SparseVectors:
        """The same vectors over a vocabulary at least as large, sharing memory.

        Raises:
            InputError: the vocabulary is smaller.
        """
        if vocab_size < self.vocab_size:
            raise InputError(
                f"expected at least {self.vocab_size} terms, found {vocab_size}; terms are never "
                "taken back"
            )
        return SparseVectors.trusted(self.offsets, self.terms, self.weights, vocab_size)

    @staticmethod
    def empty(vocab_size: int, rows: int = 0) -> SparseVectors:
        """``rows`` vectors without terms."""
        return SparseVectors.trusted(
            np.zeros(rows + 1, np.int64),
            np.zeros(0, np.int32),
            np.zeros(0, np.float32),
            vocab_size,
        )

    @staticmethod
    def concatenate(batches: Sequence[SparseVectors]) -> SparseVectors:
        """The rows of all batches, in order.

        Raises:
            InputError: there is no batch, or the vocabulary sizes differ.
        """
        sizes = {batch.vocab_size for batch in batches}
        if len(sizes) != 1:
            raise InputError(
                f"expected batches over one vocabulary, found vocabulary sizes {sorted(sizes)}; "
                "encode all of them with the same encoder"
            )
        starts = np.cumsum([0, *(batch.nnz for batch in batches)])
        offsets = [batch.offsets[:-1] + at for batch, at in zip(batches, starts, strict=False)]
        return SparseVectors.trusted(
            np.concatenate([*offsets, starts[-1:]]).astype(np.int64),
            np.concatenate([batch.terms for batch in batches]),
            np.concatenate([batch.weights for batch in batches]),
            sizes.pop(),
        )

    @staticmethod
    def join(left: SparseVectors, right: SparseVectors, vocab_size: int) -> SparseVectors:
        """Each row of ``left`` followed by the same row of ``right``.

        Raises:
            InputError: the rows differ in number, or a term of ``right`` does not come after
                those of ``left``.
        """
        if len(left) != len(right):
            raise InputError(
                f"expected as many rows on both sides, found {len(left)} and {len(right)}; "
                "give both for the same documents"
            )
        sides = ((left, right.offsets[:-1]), (right, left.offsets[1:]))
        terms = np.empty(left.nnz + right.nnz, np.int32)
        weights = np.empty(terms.size, np.float32)
        for side, shift in sides:  # shift: entries of the other side that stand before each row
            places = np.arange(side.nnz) + np.repeat(shift, np.diff(side.offsets))
            terms[places], weights[places] = side.terms, side.weights
        apart = right.nnz == 0 or int(right.terms.min()) >= left.vocab_size
        inside = max(left.vocab_size, right.vocab_size) <= vocab_size
        make = SparseVectors.trusted if apart and inside else SparseVectors
        return make(left.offsets + right.offsets, terms, weights, vocab_size)

    @staticmethod
    def from_dicts(rows: Iterable[Mapping[int, float]], vocab_size: int) -> SparseVectors:
        """One row for each mapping of term to weight; the terms may come in any order.

        Weights above zero that 32 bits round to 0 are left out, as a 0 is in a file.
        """
        ordered = [sorted(row.items()) for row in rows]
        pairs = [pair for row in ordered for pair in row]
        given = np.asarray([weight for _, weight in pairs], np.float64)
        kept = ~((given > 0) & (given <= _HALF_OF_SMALLEST))
        ends = np.cumsum([0, *(len(row) for row in ordered)], dtype=np.int64)
        return SparseVectors(
            np.concatenate([[0], np.cumsum(kept)])[ends],
            terms_of([term for term, _ in pairs])[kept],
            weights_of(given[kept]),
            vocab_size,
        )

    def to_dicts(self) -> list[dict[int, float]]:
        """One dict of term to weight for each row."""
        return [
            dict(zip(terms.tolist(), weights.tolist(), strict=True))
            for terms, weights in (self.row(i) for i in range(len(self)))
        ]

    @staticmethod
    def from_scipy(matrix: Any) -> SparseVectors:  # noqa: ANN401  scipy is no dependency
        """The rows of a scipy sparse matrix or array; explicit zeros are left out."""
        csr = matrix.tocsr(copy=True)
        csr.sum_duplicates()
        csr.data = weights_of(csr.data)
        csr.eliminate_zeros()
        return SparseVectors(
            csr.indptr.astype(np.int64), terms_of(csr.indices), csr.data, int(csr.shape[1])
        )

    def to_scipy(self) -> Any:  # noqa: ANN401  scipy is no dependency
        """A scipy ``csr_array`` of shape ``[rows, vocab_size]``; needs scipy."""
        from scipy.sparse import csr_array

        return csr_array(
            (self.weights, self.terms, self.offsets), shape=(len(self), self.vocab_size)
        )

    def save(self, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write a ``.safetensors`` file with tensors ``offsets``, ``terms`` and ``weights``."""
        Path(path).write_bytes(self.to_bytes(metadata))

    def to_bytes(self, metadata: Mapping[str, str] | None = None) -> bytes:
        """What `save` writes."""
        tensors = {"offsets": self.offsets, "terms": self.terms, "weights": self.weights}
        header = {"format": FILE_FORMAT, "vocab_size": str(self.vocab_size), **(metadata or {})}
        data: bytes = save(
            {name: np.ascontiguousarray(array) for name, array in tensors.items()}, metadata=header
        )
        return data

    @staticmethod
    def load(path: str | Path) -> SparseVectors:
        """Read what `save` wrote.

        Raises:
            FormatError: the file is no safetensors file or lacks a tensor.
            InputError: its contents break the rules of this class.
        """
        header, tensors = _read_safetensors(Path(path))
        missing = {"offsets", "terms", "weights"} - set(tensors)
        if missing or not str(header.get("vocab_size", "")).isdigit():
            raise FormatError(
                f"{path}: expected tensors offsets, terms, weights and metadata vocab_size, "
                f"found tensors {sorted(tensors)} and metadata {json.dumps(header)}; "
                "write such files with `tamis encode` or SparseVectors.save"
            )
        return SparseVectors(
            tensors["offsets"], tensors["terms"], tensors["weights"], int(header["vocab_size"])
        )


def _read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    if not path.is_file():
        raise InputError(f"{path}: expected a .safetensors file, found none; check the path")
    try:
        with safe_open(str(path), framework="numpy") as file:
            names = list(file.keys())
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise FormatError(
            f"{path}: expected a safetensors file, found something else ({error}); "
            "write it again with `tamis encode`"
        ) from error


def terms_of(values: Any) -> NDArray[np.int32]:  # noqa: ANN401  anything NumPy takes
    """As terms; raises InputError for numbers that are none."""
    wide = np.asarray(values, np.int64)
    if wide.size and (wide.max() >= MAX_TERMS or wide.min() < 0):
        raise InputError(
            f"expected term ids from 0 to {MAX_TERMS - 1}, found {wide.min()} to {wide.max()}; "
            "number the vocabulary from 0"
        )
    return wide.astype(np.int32)


def weights_of(values: NDArray[Any]) -> NDArray[np.float32]:
    """In 32 bits; what is too large for them becomes infinite, which every check refuses."""
    if values.dtype.kind not in "fiu":
        raise InputError(f"expected numbers as weights, found {values.dtype}; convert them")
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def checked_weight(weight: object, term: object) -> float:
    """A weight as it was read, or 0.0 where 32 bits round it to that.

    Raises:
        InputError: it is no number, negative, or beyond 32 bits.
    """
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not is_number or not 0 <= weight <= _LARGEST:  # type: ignore[operator]
        raise InputError(
            f"expected a finite number of 0 or more as the weight of term {term!r}, found "
            f"{weight!r}; correct it"
        )
    return float(weight) if weight > _HALF_OF_SMALLEST else 0.0  # type: ignore[arg-type,operator]


def _as_array(name: str, value: Any, dtype: type) -> NDArray[Any]:  # noqa: ANN401
    array = np.asarray(value)
    if array.ndim != 1:
        raise InputError(f"expected {name} of one dimension, found shape {array.shape}; flatten it")
    if array.dtype == dtype:
        return array
    if dtype is np.int32:
        if array.size and not np.issubdtype(array.dtype, np.integer):
            raise InputError(f"expected integer terms, found {array.dtype}; map terms to ids first")
        return terms_of(array)
    return weights_of(array) if dtype is np.float32 else array.astype(dtype)


def _check_shape(vectors: SparseVectors) -> None:
    offsets, nnz = vectors.offsets, vectors.terms.size
    if vectors.weights.size != nnz:
        raise InputError(
            f"expected one weight a term, found {nnz} terms and {vectors.weights.size} weights; "
            "give arrays of one length"
        )
    if not 0 < vectors.vocab_size <= MAX_TERMS:
        raise InputError(
            f"expected vocab_size from 1 to {MAX_TERMS}, found {vectors.vocab_size}; "
            "give the number of terms"
        )
    if offsets.size == 0 or offsets[0] != 0 or offsets[-1] != nnz or (np.diff(offsets) < 0).any():
        ends = (int(offsets[0]), int(offsets[-1])) if offsets.size else ()
        raise InputError(
            f"expected offsets that rise from 0 to nnz={nnz}, found ends {ends}; "
            "give the row starts of a CSR matrix and its end"
        )


def _check_rows(vectors: SparseVectors) -> None:
    terms, weights = vectors.terms, vectors.weights
    if terms.size == 0:
        return
    bad = ~(np.isfinite(weights) & (weights > 0))
    if bad.any():
        at = int(bad.argmax())
        raise InputError(
            f"expected finite weights above zero, found {weights[at]} in row "
            f"{_row_of(vectors, at)} for term {terms[at]}; leave out zeros, check for overflow"
        )
    outside = (terms < 0) | (terms >= vectors.vocab_size)
    if outside.any():
        at = int(outside.argmax())
        raise InputError(
            f"expected terms from 0 to {vectors.vocab_size - 1}, found {terms[at]} in row "
            f"{_row_of(vectors, at)}; use the vocabulary the vectors were encoded with"
        )
    falls = np.diff(terms) <= 0
    starts = vectors.offsets[1:-1]
    starts = starts[(starts > 0) & (starts < terms.size)]
    falls[starts - 1] = False  # a new row may begin with any term
    if falls.any():
        at = int(falls.argmax()) + 1
        raise InputError(
            f"expected rising terms within a row, found {terms[at - 1]} before {terms[at]} in row "
            f"{_row_of(vectors, at)}; sort the row and merge duplicate terms"
        )


def _row_of(vectors: SparseVectors, position: int) -> int:
    return int(np.searchsorted(vectors.offsets, position, side="right")) - 1
