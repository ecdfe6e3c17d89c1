"""What a dataset holds and whether it hangs together: one pass over its documents.

Knows nothing of systems or measures.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tamis.eval.datasets import Dataset
    from tamis.retriever.types import Passage


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts and checksums of a dataset, in the form in which reports keep them.

    Attributes:
        documents: in the corpus.
        empty_documents: without title and text.
        queries: judged ones.
        judgements: query-document pairs.
        grades: grade, as text for JSON -> number of judgements.
        repeated_judgements: lines that repeat an earlier pair.
        queries_without_relevant: queries that no system can gain on.
        missing_documents: judged documents that the corpus lacks.
        own_documents: queries that are documents: by id and text, and none is its own answer.
        same_ids: queries whose id some document has.
        sha256: role of a file ("corpus", "queries", "qrels") -> checksum of its bytes.
    """

    documents: int
    empty_documents: int
    queries: int
    judgements: int
    grades: dict[str, int]
    repeated_judgements: int
    queries_without_relevant: int
    missing_documents: int
    own_documents: int
    same_ids: int
    sha256: dict[str, str] = field(default_factory=dict)


def check(dataset: Dataset, *, allow_missing: bool = False) -> Summary:
    """Read the whole corpus once and report what the dataset holds.

    Memory: the judged ids and eight bytes a document.

    Args:
        dataset: the collection.
        allow_missing: count judged documents that the corpus lacks instead of refusing them.

    Raises:
        InputError: a document id comes twice, the corpus is empty, or judged documents are
            missing; the message says how many and names the first three.
    """
    absent = {doc_id: None for judged in dataset.qrels.values() for doc_id in judged}
    hashes, empty, own, same = array("Q"), 0, 0, 0
    for passage in dataset.corpus():
        hashes.append(xxhash.xxh3_64_intdigest(passage.doc_id.encode()))
        absent.pop(passage.doc_id, None)
        empty += not passage.content.strip()
        same += passage.doc_id in dataset.queries
        own += _is_own(passage, dataset)
    if not hashes:
        raise InputError(f"{dataset.name}: expected documents, found none; check the corpus file")
    _check_duplicates(dataset, np.frombuffer(hashes, np.uint64))
    if absent and not allow_missing:
        raise InputError(
            f"{dataset.name}: expected every judged document in the corpus, found "
            f"{len(absent)} missing, such as {', '.join(map(repr, list(absent)[:3]))}; "
            "use the corpus of these judgements, or pass --allow-missing"
        )
    return _summary(dataset, len(hashes), empty, len(absent), own, same)


def _is_own(passage: Passage, dataset: Dataset) -> bool:
    """Whether a document is a query: the same id and text, and not judged to answer itself."""
    asked = dataset.queries.get(passage.doc_id)
    if asked is None or dataset.qrels[passage.doc_id].get(passage.doc_id, 0) > 0:
        return False
    return asked.split() in (passage.text.split(), passage.content.split())


def _summary(
    dataset: Dataset, documents: int, empty: int, missing: int, own: int, same: int
) -> Summary:
    judged = dataset.qrels
    grades = Counter(grade for query in judged.values() for grade in query.values())
    fruitless = sum(max(query.values(), default=0) <= 0 for query in judged.values())
    return Summary(
        documents,
        empty,
        len(dataset.queries),
        sum(grades.values()),
        {str(grade): count for grade, count in sorted(grades.items())},
        dataset.repeated_judgements,
        fruitless,
        missing,
        own,
        same,
        _checksums(dataset.files),
    )


def _check_duplicates(
    dataset: Dataset, hashes: np.ndarray[tuple[int], np.dtype[np.uint64]]
) -> None:
    values, counts = np.unique(hashes, return_counts=True)
    suspects = set(values[counts > 1].tolist())
    if not suspects:
        return
    ids = Counter(
        passage.doc_id
        for passage in dataset.corpus()
        if xxhash.xxh3_64_intdigest(passage.doc_id.encode()) in suspects
    )
    twice = [doc_id for doc_id, count in ids.items() if count > 1]
    if twice:
        raise InputError(
            f"{dataset.name}: expected distinct document ids, found {len(twice)} that repeat, "
            f"such as {', '.join(map(repr, twice[:3]))}; remove or rename the repetitions"
        )


def _checksums(files: Mapping[str, Path]) -> dict[str, str]:
    sums = {}
    for role, path in files.items():
        with path.open("rb") as file:
            sums[role] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums
