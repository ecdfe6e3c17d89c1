"""Interchange: sparse vectors in files that other programs write and read.

`Anserini's JsonVectorCollection <https://github.com/castorini/anserini>`_ is JSON lines such as
``{"id": "7", "contents": "", "vector": {"2003": 1.5}}``; a CSR matrix is a file of
``scipy.sparse.save_npz`` or of `SparseVectors.save`, with the ids of its rows beside it. Lines of
Seismic, of OpenSearch's bulk API and of Qdrant are read like Anserini's.
"""

from __future__ import annotations

import gzip
import zipfile
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

import numpy as np
import orjson

from tamis.index.errors import FormatError, InputError
from tamis.index.exchange.engines import bulk_id, vector_of
from tamis.index.vectors import SparseVectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.index.index import Index

JSON_ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".ndjson", ".ndjson.gz")
NPZ = ".npz"
_ROWS = 10_000  # of a batch
_GZIP_LEVEL = 1  # digits hardly shrink further, at several times the cost
_NPZ_ARRAYS = ("data", "indices", "indptr", "shape", "format")


def stored_vectors(index: Index) -> Iterator[tuple[list[str], SparseVectors]]:
    """Ids and vectors, as stored, of all documents that are not deleted, in batches."""
    for part in index.parts:
        for first in range(0, part.live_docs.size, _ROWS):
            docs = part.live_docs[first : first + _ROWS]
            ids = [part.stored.ids.doc_id(doc) for doc in docs.tolist()]
            yield ids, part.rows(docs, index.vocab_size)


def whole_numbers(vectors: SparseVectors, scale: float) -> SparseVectors:
    """Weights times ``scale``, rounded, as Lucene's impacts; terms that round to 0 are left out."""
    rounded = np.rint(vectors.weights * scale)
    kept = rounded > 0
    return SparseVectors(
        np.concatenate([[0], np.cumsum(kept)])[vectors.offsets],
        vectors.terms[kept],
        rounded[kept].astype(np.float32),
        vectors.vocab_size,
    )


def write_json_vectors(path: Path, batches: Iterable[tuple[Sequence[str], SparseVectors]]) -> None:
    """Write a JsonVectorCollection; reading it gives the very same weights.

    Args:
        path: the file; one that ends in ``.gz`` is compressed.
        batches: ids and vectors. Terms are written as numbers. Lucene takes whole numbers alone:
            give it those of `whole_numbers`.
    """
    with _opened(path, "wb") as file:
        for ids, vectors in batches:
            for doc_id, row in zip(ids, vectors.to_dicts(), strict=True):
                vector = {str(term): _plain(weight) for term, weight in row.items()}
                file.write(orjson.dumps({"id": doc_id, "contents": "", "vector": vector}) + b"\n")


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write lines to a file; one that ends in ``.gz`` is compressed."""
    with _opened(path, "wb") as file:
        file.writelines(lines)


def _plain(weight: float) -> float:
    return int(weight) if weight.is_integer() else weight


@dataclass(frozen=True, slots=True)
class JsonVectors:
    """A JsonVectorCollection that was read once, for what must be known before its vectors.

    Attributes:
        files: of the collection, in the order of their names.
        ids: of all documents, in the order of the files.
        numbered: whether every term is a whole number, and so is its own id.
        largest: the largest of these numbers; -1 without any.
    """

    files: tuple[Path, ...]
    ids: tuple[str, ...]
    numbered: bool
    largest: int

    @staticmethod
    def survey(path: Path) -> JsonVectors:
        """Read the ids and terms of a file, or of all such files in a folder.

        Raises:
            InputError: there is no such file, or a line is something else.
        """
        files = _json_files(path)
        ids, numbered, largest = [], True, -1
        for _, doc_id, vector in _documents(files):
            ids.append(doc_id)
            numbered = numbered and all(map(_is_number, vector))
            if numbered and vector:
                largest = max(largest, max(map(int, vector)))
        return JsonVectors(files, tuple(ids), numbered, largest)

    @property
    def plan(self) -> dict[str, Any]:
        """What a build that goes on must find unchanged."""
        sizes = {str(file): file.stat().st_size for file in self.files}
        return {"files": sizes, "documents": len(self.ids), "batch_documents": _ROWS}

    def batches(
        self, vocab_size: int, term_id: Callable[[str], int | None] = int, first: int = 0
    ) -> Iterator[SparseVectors]:
        """The vectors in batches; weights of 0 are left out.

        Args:
            vocab_size: number of terms there are.
            term_id: the number of a term, None where it is unknown; `int` for numbered ones.
            first: the document to begin with.

        Raises:
            InputError: a term is unknown or comes twice, or a weight is negative or no finite
                number; the message names the line.
        """
        rows: list[SparseVectors] = []
        for place, _, vector in islice(_documents(self.files), first, None):
            rows.append(_row(place, vector, vocab_size, term_id))
            if len(rows) == _ROWS:
                yield SparseVectors.concatenate(rows)
                rows.clear()
        if rows or not self.ids:
            yield SparseVectors.concatenate(rows or [SparseVectors.empty(vocab_size)])


def _json_files(path: Path) -> tuple[Path, ...]:
    found = sorted(path.iterdir()) if path.is_dir() else [path]
    files = tuple(file for file in found if file.is_file() and file.name.endswith(JSON_ENDINGS))
    if not files:
        raise InputError(
            f"{path}: expected JSON vectors, a file or a folder of files ending in "
            f"{', '.join(JSON_ENDINGS)}, found none; check the path"
        )
    return files


def _documents(files: Sequence[Path]) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Place, id and vector of each line; OpenSearch has the id in the line before."""
    for path in files:
        with _opened(path, "rb") as file:
            named: str | None = None
            for number, line in enumerate(_lines(path, file), 1):
                if not line.strip():
                    continue
                place = f"{path}:{number}"
                found = _object(place, line)
                if named is None and (named := bulk_id(found)) is not None:
                    continue
                yield place, *_parsed(place, found, line, named)
                named = None


def _lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    try:
        yield from file
    except (gzip.BadGzipFile, EOFError) as error:
        raise FormatError(
            f"{path}: expected a whole gzip file, found {error}; write or fetch it anew"
        ) from error


def _object(place: str, line: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{place}: expected a line of JSON, found another ({error})") from error
    return found if isinstance(found, dict) else {}


def _parsed(
    place: str, found: dict[str, Any], line: bytes, named: str | None
) -> tuple[str, dict[str, float]]:
    own, vector = vector_of(found)
    doc_id = own if named is None else named
    if not isinstance(doc_id, str | int) or vector is None:
        raise InputError(
            f'{place}: expected a line such as {{"id": "7", "vector": {{"2003": 1.5}}}}, found '
            f"{line[:60]!r}; give an id and a vector"
        )
    return str(doc_id), vector


def _row(
    place: str,
    vector: dict[str, float],
    vocab_size: int,
    term_id: Callable[[str], int | None],
) -> SparseVectors:
    row: dict[int, float] = {}
    for term, weight in vector.items():
        number = term_id(term)
        if number is None:
            raise InputError(
                f"{place}: expected terms of the vocabulary, found {term!r}; name the encoder "
                "that made the vectors"
            )
        if not isinstance(weight, int | float) or number in row:
            raise InputError(
                f"{place}: expected one number for term {term!r}, found {weight!r}"
                f"{' after another' if number in row else ''}; correct the line"
            )
        row[number] = weight
    try:
        return SparseVectors.from_dicts([{t: w for t, w in row.items() if w != 0}], vocab_size)
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def _is_number(term: str) -> bool:
    return term.isascii() and term.isdecimal()


def _opened(path: Path, mode: Literal["rb", "wb"]) -> BinaryIO:
    if path.name.endswith(".gz"):
        return cast("BinaryIO", gzip.open(path, mode, compresslevel=_GZIP_LEVEL))
    return path.open(mode)


def write_csr(path: Path, vectors: SparseVectors, ids: Sequence[str]) -> None:
    """Write a matrix, ``.npz`` as scipy's or ``.safetensors``, and the ids of its rows beside it.

    Raises:
        InputError: the file ends in something else, or an id holds a line break.
    """
    if path.suffix not in (NPZ, ".safetensors"):
        raise InputError(f"{path}: expected a file ending in .npz or .safetensors; rename it")
    write_ids(path, ids)
    if path.suffix == NPZ:
        _write_npz(path, vectors)
    else:
        vectors.save(path)


def _write_npz(path: Path, vectors: SparseVectors) -> None:
    shape = np.array([len(vectors), vectors.vocab_size])
    with path.open("wb") as file:
        np.savez(
            file,
            data=vectors.weights,
            indices=vectors.terms,
            indptr=vectors.offsets,
            shape=shape,
            format=np.array(b"csr"),
        )


def read_vectors(path: Path) -> SparseVectors:
    """Read a file of one batch: ``.safetensors`` of `tamis encode`, else as `read_csr`."""
    return SparseVectors.load(path) if path.suffix == ".safetensors" else read_csr(path)


def read_csr(path: Path) -> SparseVectors:
    """Read a ``.npz`` file of ``scipy.sparse.save_npz``; rows may be unsorted, with zeros.

    Raises:
        FormatError: the file is something else.
        InputError: there is no such file, or its contents break the rules of `SparseVectors`.
    """
    arrays = _npz_arrays(path)
    indptr, indices, data = (arrays[name] for name in ("indptr", "indices", "data"))
    if indptr.ndim != 1 or indices.shape != data.shape or indptr.size != arrays["shape"][0] + 1:
        raise FormatError(f"{path}: expected arrays of one CSR matrix, found other shapes")
    row_of = np.repeat(np.arange(indptr.size - 1), np.diff(indptr))
    if row_of.size != data.size:
        raise FormatError(f"{path}: expected {row_of.size} entries, found {data.size}")
    order = np.lexsort((indices, row_of))
    order = order[data[order] != 0]
    offsets = np.concatenate(
        [[0], np.cumsum(np.bincount(row_of[order], minlength=indptr.size - 1))]
    )
    return SparseVectors(offsets, indices[order], data[order], int(arrays["shape"][1]))


def _npz_arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise InputError(f"{path}: expected a file of scipy.sparse.save_npz; check the path")
    try:
        with zipfile.ZipFile(path) as file:
            arrays = {name: _npy(file, name) for name in _NPZ_ARRAYS}
    except (zipfile.BadZipFile, ValueError, KeyError, OSError, EOFError) as error:
        raise FormatError(
            f"{path}: expected a file of scipy.sparse.save_npz, found another ({error}); "
            "write it anew"
        ) from error
    if arrays["format"].tobytes().rstrip(b"\0") != b"csr":
        raise FormatError(
            f"{path}: expected a matrix of format csr, found {arrays['format']}; "
            "convert it with .tocsr()"
        )
    return arrays


def _npy(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def ids_file(vectors: Path) -> Path:
    """Where the ids of a file of vectors lie."""
    return vectors.with_suffix(".ids.txt")


def write_ids(vectors: Path, ids: Sequence[str]) -> None:
    """Write the ids of a file of vectors beside it, one a line.

    Raises:
        InputError: an id holds a line break.
    """
    broken = next((doc_id for doc_id in ids if "\n" in doc_id), None)
    if broken is not None:
        raise InputError(
            f"expected ids of one line, found {broken!r}; write JSON vectors, whose ids may be any"
        )
    text = "".join(f"{doc_id}\n" for doc_id in ids)
    ids_file(vectors).write_bytes(text.encode())


def read_ids(vectors: Path) -> list[str] | None:
    """The ids beside a file of vectors, in the order of its rows; None if there are none."""
    path = ids_file(vectors)
    if not path.is_file():
        return None
    text = path.read_bytes().decode()
    return text.removesuffix("\n").split("\n") if text else []
