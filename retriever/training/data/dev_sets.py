"""Reads development collections: BEIR folders, whole or cut down to their judged passages."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tamis.index.errors import InputError
from tamis.retriever.corpus.judgements import beir_judgements, read_judgements
from tamis.retriever.corpus.passages import read_passages
from tamis.retriever.corpus.queries import beir_queries

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
    file = beir_judgements(folder, split)
    grades = read_judgements(file).grades
    judged = [(q, doc, grade) for q, of in grades.items() for doc, grade in of.items() if grade > 0]
    corpus = {passage.doc_id: passage.content for passage in read_passages(folder)}
    texts = beir_queries(folder)
    unknown = [pair for pair in judged if pair[0] not in texts or pair[1] not in corpus]
    if unknown or not judged:
        raise InputError(
            f"{file}: expected relevant passages of the collection, found "
            f"{f'{len(unknown)} unknown, such as {unknown[0][:2]}' if unknown else 'none'}; "
            "use queries, corpus and judgements of one collection"
        )
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
