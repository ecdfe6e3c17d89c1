"""Blocks: a document's text as headings and what stands below them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from textwrap import dedent
from typing import TYPE_CHECKING, Any, NamedTuple

from tamis.retriever.types import Heading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_APART = "\n\n"
ITEM = re.compile(r"\s*(?:[-*+\u2022]|[0-9]{1,3}[.)]|#\.|\(?[a-z0-9]\))\s+(?=\S)")


class TextBlock(NamedTuple):
    """A paragraph, an item, a table, a listing or a heading.

    Attributes:
        text: of it, its lines divided by line ends.
        level: of a heading, from 1; 0 for anything else.
    """

    text: str
    level: int = 0


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file that is one document.

    Attributes:
        title: may be empty.
        text: its blocks, a blank line between them.
        headings: within the text, in its order.
        fields: that its front matter gives.
    """

    title: str
    text: str
    headings: tuple[Heading, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(title: str, blocks: Iterable[TextBlock], fields: Mapping[str, Any] = {}) -> TextFile:
        """A document of these blocks; a first heading that only repeats the title is left out."""
        kept = list(blocks)
        first = first_heading(kept)
        if first is not None and first.text == title:
            kept.remove(first)
        headings, start = [], 0
        for block in kept:
            if block.level:
                headings.append(Heading(start, block.level, block.text))
            start += len(block.text) + len(_APART)
        return TextFile(
            title, _APART.join(block.text for block in kept), tuple(headings), dict(fields)
        )


def first_heading(blocks: Iterable[TextBlock]) -> TextBlock | None:
    """The first heading of level 1, or else the first of any level; None without one."""
    headings = [block for block in blocks if block.level]
    top = [block for block in headings if block.level == 1]
    return next(iter(top or headings), None)


def heading_text(blocks: Iterable[TextBlock]) -> str:
    """The text of the first heading; empty without one."""
    found = first_heading(blocks)
    return found.text if found is not None else ""


def one_line(text: str) -> str:
    """A text whose spaces and line ends are single spaces."""
    return " ".join(text.split())


class Gathering:
    """Blocks of a text that is read line by line."""

    def __init__(self, plain: Callable[[str], str]) -> None:
        """Begin; ``plain`` takes the markup out of a paragraph or heading."""
        self.blocks: list[TextBlock] = []
        self._plain = plain
        self._lines: list[str] = []

    def take(self, line: str) -> None:
        """A line of the text; a blank one ends the paragraph, a bullet or number begins one."""
        item = ITEM.match(line)
        if item or not line.strip():
            self.end()
        self._lines.append(line[item.end() :] if item else line)

    @property
    def is_between(self) -> bool:
        """Whether no paragraph is open."""
        return not any(self._lines)

    def end(self) -> None:
        """End the paragraph."""
        text = self._plain(one_line(" ".join(self._lines)))
        self._lines = []
        if text:
            self.blocks.append(TextBlock(text))

    def heading(self, level: int, text: str) -> None:
        """A heading; none without a text."""
        self.end()
        if text := self._plain(one_line(text)):
            self.blocks.append(TextBlock(text, level))

    def listing(self, lines: Iterable[str]) -> None:
        """Lines that stay as they are, less the spaces that all of them begin with."""
        self.end()
        text = dedent("\n".join(lines)).strip("\n").rstrip()
        if text.strip():
            self.blocks.append(TextBlock(text))

    def rows(self, rows: Iterable[Sequence[str]]) -> None:
        """A table: a line a row, bars between its cells."""
        self.listing(table_row(map(self._plain, row)) for row in rows)


def table_row(cells: Iterable[str]) -> str:
    """A row of a table on one line, bars between its cells."""
    return " | ".join(map(one_line, cells)).strip(" |")


class Lines:
    """The lines of a text, one after another, with a look at the next."""

    def __init__(self, text: str) -> None:
        self._lines = [line.expandtabs(8).rstrip() for line in text.splitlines()]
        self._at = 0

    def peek(self, ahead: int = 0) -> str | None:
        """The line that comes; None after the last."""
        at = self._at + ahead
        return self._lines[at] if at < len(self._lines) else None

    def next(self) -> str:
        """Take the line that comes; empty after the last."""
        self._at += 1
        return self._lines[self._at - 1] if self._at <= len(self._lines) else ""

    def back(self) -> None:
        """Give back the line that was taken last."""
        self._at -= 1

    def until(self, is_last: Callable[[str], bool]) -> list[str]:
        """Take the lines before one, and that one, which is not among them."""
        taken = []
        while (line := self.peek()) is not None:
            self._at += 1
            if is_last(line):
                break
            taken.append(line)
        return taken

    def while_(self, is_so: Callable[[str], bool]) -> list[str]:
        """Take lines as long as they are so."""
        taken = []
        while (line := self.peek()) is not None and is_so(line):
            taken.append(self.next())
        return taken

    def indented(self, deeper_than: int) -> list[str]:
        """Take what stands deeper than so many spaces, blank lines among it."""
        return self.while_(lambda line: not line or indent_of(line) > deeper_than)


def indent_of(line: str) -> int:
    """How many spaces a line begins with."""
    return len(line) - len(line.lstrip(" "))
