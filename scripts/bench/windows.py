"""Sentence windows: the real texts that vectors at size are made of.

A window is a run of whole sentences of one passage with the passage's title before it, as chunks
have it. Equal windows are kept once. A collection of windows holds no passage as a whole, so that
no window finds its own parent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tamis.retriever.types import Passage

LONGEST_SENTENCES, LONGEST_CHARACTERS = 3, 300  # of a window
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(0-9])")


class Windows(NamedTuple):
    """Texts of windows, and the number of the passage that each is from."""

    texts: list[str]
    passages: list[int]


def sentence_windows(passages: Iterable[Passage]) -> Windows:
    """All windows of these passages, each text once, in their order."""
    first: dict[str, int] = {}
    for number, passage in enumerate(passages):
        sentences = _BETWEEN_SENTENCES.split(passage.text.strip())
        for start in range(len(sentences)):
            for run in _runs(sentences[start : start + LONGEST_SENTENCES]):
                first.setdefault(f"{passage.title} {run}".strip(), number)
    return Windows(list(first), list(first.values()))


def _runs(sentences: list[str]) -> Iterable[str]:
    """The first sentence, the first two, and so on, as long as they are short enough."""
    for count in range(1, len(sentences) + 1):
        run = " ".join(sentences[:count])
        if run and len(run) <= LONGEST_CHARACTERS:
            yield run
