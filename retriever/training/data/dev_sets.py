"""Reads development collections: BEIR folders, whole or cut down to their judged passages."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tamis.index.errors import InputError
from tamis.index.files.lines import json_lines, open_bytes, text_lines
from tamis.retriever.corpus.passages import read_passages

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class DevTexts(NamedTuple):
    """Texts and judgements; ``query_of`` and ``passage_of`` [judgements] int32 are positions."""

    passages: list[str]
    queries: list[str]
    query_of: NDArray[np.int32]
    passage_of: NDArray[np.int32]
    grades: NDArray[np.float32]


def read_dev_set(
    name: str, root: Path, most: int, seed: int, queries: int | None = None
) -> DevTexts:
    """Read a development collection.

    Args:
        name: ``path:split`` of a BEIR folder below ``root``.
        root: folder of data.
        most: at most this many passages: the judged ones, then others chosen by ``seed``.
        seed: of the choice.
        queries: at most this many of those that are judged, chosen by ``seed``; None takes all.

    Raises:
        InputError: a file is missing, or the split judges nothing.
    """
    path, _, split = name.rpartition(":")
    folder = root / path
    judgements = _judgements(folder / "qrels" / f"{split}.tsv")
    corpus = {passage.doc_id: passage.content for passage in read_passages(folder)}
    texts = read_queries(folder)
    judged = [one for one in judgements if one[0] in texts and one[1] in corpus]
    if not judged:
        raise InputError(f"{folder}: expected judgements of {split!r} for its texts, found none")
    asked = sorted({query for query, _, _ in judged})
    if queries is not None and queries < len(asked):
        asked = sorted(np.random.default_rng(seed).choice(asked, queries, replace=False).tolist())
    query_number = {query: i for i, query in enumerate(asked)}
    judged = [one for one in judged if one[0] in query_number]
    docs = _chosen(list(corpus), {doc for _, doc, _ in judged}, most, seed)
    doc_number = {doc: i for i, doc in enumerate(docs)}
    return DevTexts(
        [corpus[doc] for doc in docs],
        [texts[query] for query in asked],
        np.array([query_number[query] for query, _, _ in judged], np.int32),
        np.array([doc_number[doc] for _, doc, _ in judged], np.int32),
        np.array([grade for _, _, grade in judged], np.float32),
    )


def _chosen(docs: list[str], needed: set[str], most: int, seed: int) -> list[str]:
    others = [doc for doc in docs if doc not in needed]
    room = max(0, most - len(needed))
    if room < len(others):
        picked = np.random.default_rng(seed).choice(len(others), room, replace=False)
        others = [others[i] for i in picked]
    kept = needed.union(others)
    return [doc for doc in docs if doc in kept]


def _judgements(path: Path) -> list[tuple[str, str, float]]:
    """Query, document and gain of each judgement above zero."""
    if not path.is_file():
        raise InputError(f"{path}: expected judgements, found no file; write dev as path:split")
    with open_bytes(path) as stream:
        rows = [line.split("\t") for _, line in text_lines(str(path), stream)]
    return [(row[0], row[1], float(row[2])) for row in rows[1:] if float(row[2]) > 0]


def read_queries(folder: Path) -> dict[str, str]:
    """The queries of a BEIR folder, by id."""
    names = ("queries.jsonl", "queries.jsonl.gz", "queries.jsonl.zst")
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"{folder}: expected queries.jsonl of a BEIR collection, found none")
    with open_bytes(path) as stream:
        rows = json_lines(str(path), stream)
        return {str(row["_id"]): row["text"] for _, row in rows}
