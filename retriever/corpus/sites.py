"""What the pages of a folder have in common: the site's name, its banners. Learned from a sample.

A short text that many pages begin or end with belongs to the site. So do an ``<h1>`` or a
``<title>`` that many pages share, and the part of their titles after a dash or a bar.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from tamis.retriever.corpus.blocks import TextFile, first_heading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tamis.retriever.corpus.blocks import TextBlock
    from tamis.retriever.corpus.web_pages import WebPage

PAGES = 64  # read to learn from
_LEAST_PAGES = 3  # that share what belongs to the site
_LEAST_SHARE = 8  # and at least one in so many: a folder may hold several sites
_EDGE_BLOCKS = 12  # looked at from either end of a page
_BANNER_WORDS = 30
_DASH = re.compile(r"\s+[-\u2013\u2014|\u00b7\u2022\u00ab\u00bb]+\s+")


@dataclass(frozen=True, slots=True)
class Site:
    """What does not belong to a single page.

    Attributes:
        openings: texts that many pages begin with.
        endings: texts that many pages end with.
        headings: of level 1, that many pages share.
        titles: whole ``<title>`` that many pages share.
        names: of the site, within titles.
    """

    openings: frozenset[str] = frozenset()
    endings: frozenset[str] = frozenset()
    headings: frozenset[str] = frozenset()
    titles: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    @staticmethod
    def of(pages: Iterable[WebPage]) -> Site:
        """Learn from pages; those that are equal count once."""
        openings, endings, headings, titles, names = (Counter[str]() for _ in range(5))
        seen = set[int]()
        for page in pages:
            if (key := hash(page)) in seen:
                continue
            seen.add(key)
            openings.update(set(_banners(page.blocks[:_EDGE_BLOCKS])))
            endings.update(set(_banners(page.blocks[-_EDGE_BLOCKS:])))
            headings.update({block.text for block in page.blocks if block.level == 1})
            titles[page.named] += 1
            names.update(set(_outer_parts(page.named)))
        least = max(_LEAST_PAGES, len(seen) // _LEAST_SHARE)
        return Site(
            *(_frequent(each, least) for each in (openings, endings, headings, titles, names))
        )

    def read(self, page: WebPage) -> TextFile:
        """The page's own title and text; neither where it has no text of its own."""
        blocks = self._own(page.blocks)
        if not blocks:
            return TextFile("", "")
        return TextFile.of(self._title(page.named, blocks), blocks)

    def _own(self, blocks: Sequence[TextBlock]) -> Sequence[TextBlock]:
        first = len(list(takewhile(lambda block: block.text in self.openings, blocks)))
        rest = blocks[first:]
        last = len(list(takewhile(lambda block: block.text in self.endings, reversed(rest))))
        return rest[: len(rest) - last]

    def _title(self, named: str, blocks: Sequence[TextBlock]) -> str:
        """The first heading, or the page's name; the shorter one where one holds the other."""
        first = first_heading(block for block in blocks if block.text not in self.headings)
        heading = first.text if first is not None else ""
        name = "" if named in self.titles else self._without_site(named)
        if not name or first is None:
            return heading or name or named
        if _holds(heading, name) or _holds(name, heading):
            return min(heading, name, key=len)
        return heading if first.level == 1 else name

    def _without_site(self, named: str) -> str:
        """A title without the parts that name the site."""
        first, last = 0, len(named)
        for found in _DASH.finditer(named):
            if named[: found.start()] in self.names:
                first = found.end()
        for found in reversed(list(_DASH.finditer(named, first))):
            if named[found.end() : last] in self.names:
                last = found.start()
        return named[first:last]


def _banners(blocks: Iterable[TextBlock]) -> list[str]:
    return [block.text for block in blocks if len(block.text.split()) <= _BANNER_WORDS]


def _outer_parts(named: str) -> list[str]:
    parts = _DASH.split(named)
    return [parts[0], parts[-1]] if len(parts) > 1 else []


def _frequent(counts: Counter[str], least: int) -> frozenset[str]:
    return frozenset(text for text, count in counts.items() if text and count >= least)


def _holds(text: str, part: str) -> bool:
    """Whether a text holds a part as whole words."""
    return re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text, re.IGNORECASE) is not None
