"""Collections of several languages: folders of pairs.

A folder such as ``libreoffice-help`` holds a collection for each pair of languages: ``fr-en`` has
French queries and English documents.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tamis.retriever.words.language_names import CODES

if TYPE_CHECKING:
    from pathlib import Path

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


def family_of(name: str) -> str:
    """What pairs of one collection and split share: ``help:dev`` of ``help/fr-en:dev``."""
    own, _, split = name.partition(":")
    family = own.rpartition("/")[0]
    return f"{family}:{split}" if split else family


def corpus_name(name: str) -> str:
    """Of the documents: pairs that share a language of documents share them."""
    pair = pair_of(name)
    return f"{name.rpartition('/')[0]}/{pair.documents}" if pair is not None else name


def pairs_in(folder: Path) -> list[str]:
    """The names of the collections of pairs that a folder holds, in order."""
    names = (inner.name for inner in folder.iterdir() if inner.is_dir())
    return sorted(name for name in names if pair_of(f"{folder.name}/{name}"))
