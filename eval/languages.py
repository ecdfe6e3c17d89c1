"""Collections of several languages: folders of pairs, and tables with languages as columns.

A folder such as ``libreoffice-help`` holds a collection for each pair of languages: ``fr-en`` has
French queries and English documents.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tamis.retriever.words.language_names import CODES

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.eval.tables import Results

_PAIR = re.compile(r"([a-z]{2,3})-([a-z]{2,3})")


class Pair(NamedTuple):
    """The languages of a collection, by their codes."""

    queries: str
    documents: str


def pair_of(name: str) -> Pair | None:
    """The languages that a collection's name ends in, as ``help/fr-en``; None for another name."""
    family, _, last = name.partition(":")[0].rpartition("/")
    found = _PAIR.fullmatch(last)
    if not family or found is None or not CODES.keys() >= set(found.groups()):
        return None
    return Pair(*found.groups())


def corpus_name(name: str) -> str:
    """Of the documents: pairs that share a language of documents share them."""
    pair = pair_of(name)
    return f"{name.rpartition('/')[0]}/{pair.documents}" if pair is not None else name


def pairs_in(folder: Path) -> list[str]:
    """The names of the collections of pairs that a folder holds, in order."""
    names = (inner.name for inner in folder.iterdir() if inner.is_dir())
    return sorted(name for name in names if pair_of(f"{folder.name}/{name}"))


def language_table(results: Results, measure: str, *, digits: int = 3) -> list[list[str]]:
    """A row for each family, language of documents and system; languages of queries across.

    Empty where results are not of several pairs. The mean is over the languages of the row.
    """
    pairs = {name: pair for name in results.datasets if (pair := pair_of(name))}
    if len(pairs) < 2:
        return []
    columns = sorted({pair.queries for pair in pairs.values()})
    rows = [["collection", "documents", "system", *columns, "mean"]]
    groups = dict.fromkeys(
        (name.rpartition("/")[0], pair.documents) for name, pair in pairs.items()
    )
    for family, held in groups:
        of_group = {
            pair.queries: name
            for name, pair in pairs.items()
            if (name.rpartition("/")[0], pair.documents) == (family, held)
        }
        for system in results.systems:
            values = {
                asked: results.value(name, system, measure) for asked, name in of_group.items()
            }
            known = [value for value in values.values() if value is not None]
            if known:
                cells = [_cell(values.get(asked), digits) for asked in columns]
                rows.append([family, held, system, *cells, _cell(sum(known) / len(known), digits)])
    return rows


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
