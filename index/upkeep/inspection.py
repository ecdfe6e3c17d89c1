"""Inspection: what fills the bytes of an index, and how long its posting lists are.

Bytes are told by the manifest; of the segments, the counts of documents a term are read alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.files.storage import Storage
from tamis.index.generations.manifest import pin_current
from tamis.index.generations.parts import frequencies_of, open_parts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.index.files.file_entry import FileEntry

PARTS = (
    "lists",
    "blocks",
    "records",
    "terms",
    "documents",
    "ids",
    "columns",
    "dictionary",
    "query",
)
OTHER = "other"


@dataclass(frozen=True, slots=True)
class LengthClass:
    """The posting lists of one range of lengths, which doubles from class to class.

    Attributes:
        shortest: documents of the shortest lists that belong to it.
        longest: and of the longest.
        terms: how many lists there are.
        postings: how many postings they hold together.
    """

    shortest: int
    longest: int
    terms: int
    postings: int


def posting_lengths(path: str | Path) -> list[LengthClass]:
    """The lengths of an index's posting lists, documents that are deleted left out.

    Args:
        path: a folder written by `Index.build` or ``tamis index``. Checksums are not compared.

    Raises:
        FormatError: no index, an unfinished one, or one of another format version.
        CorruptionError: a file is missing or has another size.
    """
    storage = Storage(path)
    manifest, pin = pin_current(storage)
    try:
        _, counts = frequencies_of(open_parts(storage, manifest))
    finally:
        pin.release()
    return length_classes(counts)


def length_classes(lengths: NDArray[np.int64]) -> list[LengthClass]:
    """Lists by length: 1, 2 to 3, 4 to 7 and so on up to the longest; empty lists are left out.

    Args:
        lengths: ``[terms]``, documents that hold each term.
    """
    held = lengths[lengths > 0]
    bits = np.frexp(held)[1] - 1  # of a length from 2**n to 2**(n + 1) - 1: n
    terms, postings = np.bincount(bits), np.bincount(bits, weights=held)
    return [
        LengthClass(2**bit, 2 ** (bit + 1) - 1, int(terms[bit]), int(postings[bit]))
        for bit in range(terms.size)
    ]


def bytes_by_part(files: Mapping[str, FileEntry]) -> dict[str, int]:
    """Bytes of each kind of file, the largest first.

    Args:
        files: of a manifest. A segment's ``lists.*`` are inverted lists, ``blocks.*`` blocks with
            their summaries, ``records.*`` the documents' own vectors, ``documents.*`` their
            text; what lies outside of segments goes by its folder.
    """
    sizes: dict[str, int] = {}
    for name, entry in files.items():
        part = _part_of(name)
        sizes[part] = sizes.get(part, 0) + entry.size_bytes
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def _part_of(name: str) -> str:
    place = name.split("/", 2)[-1] if name.startswith("segments/") else name
    word = place.replace("/", ".").split(".")[0]
    return word if word in PARTS else OTHER
