"""Matrices of vectors in files: scipy's ``.npz`` or ``.safetensors``, and the ids of their rows.

Every mistake is told with the file; one in a row with the row's number, from 0.
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.errors import FormatError, InputError
from tamis.index.files.lines import every_line, open_bytes
from tamis.index.vectors import SparseVectors, weights_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

NPZ = ".npz"
BYTE_ORDER_MARK = "\ufeff"
MATRICES = (".safetensors", NPZ)
_NPZ_ARRAYS = ("data", "indices", "indptr", "shape", "format")


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
    """Read a file of one batch: ``.safetensors`` of `tamis encode`, else as `read_csr`.

    Raises:
        FormatError: the file is something else.
        InputError: there is no such file, or its contents break the rules of `SparseVectors`.
    """
    if path.suffix != ".safetensors":
        return read_csr(path)
    try:
        return SparseVectors.load(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_csr(path: Path) -> SparseVectors:
    """Read a ``.npz`` file of ``scipy.sparse.save_npz``; rows may be unsorted, with zeros.

    Raises:
        FormatError: the file is something else.
        InputError: there is no such file, or its contents break the rules of `SparseVectors`.
    """
    arrays = _npz_arrays(path)
    indptr, indices, data = (arrays[name] for name in ("indptr", "indices", "data"))
    rows, columns = _shape(path, arrays["shape"])
    _check_pointers(path, indptr, rows, indices.shape, data.shape)
    row_of = np.repeat(np.arange(rows), np.diff(indptr))
    try:
        weights = weights_of(data)
        order = np.lexsort((indices, row_of))
        order = order[weights[order] != 0]
        counts = np.bincount(row_of[order], minlength=rows)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return SparseVectors(offsets, indices[order], weights[order], columns)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _shape(path: Path, shape: NDArray[Any]) -> tuple[int, int]:
    if shape.shape != (2,) or shape.dtype.kind not in "iu":
        raise FormatError(f"{path}: expected a matrix of two dimensions, found {shape}")
    return int(shape[0]), int(shape[1])


def _check_pointers(
    path: Path,
    indptr: NDArray[Any],
    rows: int,
    indices: tuple[int, ...],
    data: tuple[int, ...],
) -> None:
    """Refuse row starts that are not those of ``rows`` rows over the entries there are."""
    good = (
        indptr.shape == (rows + 1,)
        and indptr.dtype.kind in "iu"
        and indptr[0] == 0
        and bool((np.diff(indptr.astype(np.int64)) >= 0).all())
        and indices == data == (int(indptr[-1]),)
    )
    if not good:
        raise FormatError(
            f"{path}: expected arrays of one CSR matrix of {rows} rows, found {indptr.size} row "
            f"starts{f' up to {indptr[-1]}' if indptr.size else ''}, {indices} indices and {data} "
            "values; write it again"
        )


def _npz_arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise InputError(f"{path}: expected a file of scipy.sparse.save_npz; check the path")
    try:
        with zipfile.ZipFile(path) as file:
            arrays = {name: _npy(file, name) for name in _NPZ_ARRAYS}
    except (zipfile.BadZipFile, ValueError, KeyError, OSError, EOFError) as error:
        raise FormatError(
            f"{path}: expected a file of scipy.sparse.save_npz, found another ({error}); "
            "write it again"
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
    if text.startswith(
        BYTE_ORDER_MARK
    ):  # of the first id: readers drop one, for it may be a file's
        text = BYTE_ORDER_MARK + text
    ids_file(vectors).write_bytes(text.encode())


def read_ids(vectors: Path) -> list[str] | None:
    """The ids beside a file of vectors, in the order of its rows; None if there are none."""
    path = ids_file(vectors)
    if not path.is_file():
        return None
    with open_bytes(path) as stream:
        return [doc_id for _, doc_id in every_line(str(path), stream)]
