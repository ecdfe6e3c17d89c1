"""AsciiDoc, read for its words: headings, paragraphs, listings, tables. Nothing is included.

No library for Python is kept up; Asciidoctor itself is written in Ruby.
"""

from __future__ import annotations

import re

from tamis.retriever.corpus.blocks import ITEM, Gathering, Lines, TextBlock

_HEADING = re.compile(r"(={1,6}|#{1,6}) +(\S.*?)(?: +\1)?")
_UNDERLINES = "=-~^+"  # of headings, outermost first
_ATTRIBUTE = re.compile(r":(!?[\w-]+!?):(?: +(.*))?")
_LISTING = re.compile(r"-{4,}|\.{4,}|```.*")
_DROPPED = re.compile(r"/{4,}|\+{4,}")  # comments, and markup of other languages
_FENCE = re.compile(r"={4,}|\*{4,}|_{4,}|--")
_TABLE = re.compile(r"[|,:!]={3,}")
_NO_TEXT = re.compile(
    r"//(?!/).*|\[\[.*\]\]|\[[^\]\[]*\]|(?:ifdef|ifndef|ifeval|endif|include|toc)::.*|\+|<<<+|'{3,}"
)
_LINE_OF_AUTHOR = re.compile(r"[^<>=]{1,80}<[^<>]+@[^<>]+>|v?\d[\w.]*,? .*\d{4}.*")
_TERM = re.compile(r"(.*\S)(?:::+|;;)(?: +(.*))?")
_MARKUP = (
    (re.compile(r"<<[^>,]+,\s*([^>]+)>>"), r"\1"),
    (re.compile(r"<<([^>]+)>>"), r"\1"),
    (re.compile(r"\b(?:https?|ftp|mailto|link|xref):\S+?\[([^\]]+)\]"), r"\1"),
    (re.compile(r"\b(?:link|xref|mailto):(\S+?)\[\]"), r"\1"),
    (re.compile(r"(\bhttps?://\S+?)\[\]"), r"\1"),
    (re.compile(r"\b(?:image::?|footnote:|kbd:|btn:|menu:)[^\s\[]*\[([^\]]*)\]"), r"\1"),
    (re.compile(r"\b[a-z]+:([\w./-]+)\[(\d)\]"), r"\1(\2)"),  # a page of a manual
    (re.compile(r"(?<![\w`])``?(\S|\S.*?\S)``?(?![\w`])"), r"\1"),
    (re.compile(r"(?<![\w*])\*\*?(\S|\S.*?\S)\*\*?(?![\w*])"), r"\1"),
    (re.compile(r"(?<![\w_])_(\S|\S.*?\S)_(?![\w_])"), r"\1"),
    (re.compile(r"(?<![\w+])\+(\S|\S.*?\S)\+(?![\w+])"), r"\1"),
)


def read_asciidoc(text: str) -> tuple[list[TextBlock], dict[str, str]]:
    """The blocks of a text, and the attributes of its header."""
    reader = _AsciiDocReader()
    reader.read(Lines(text))
    return reader.gathering.blocks, reader.fields


class _AsciiDocReader:
    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.gathering = Gathering(_plain)

    def read(self, lines: Lines) -> None:
        while (line := lines.peek()) is not None:
            if not self._heading(lines) and not self._delimited(lines):
                self._line(lines, line)
        self.gathering.end()

    def _heading(self, lines: Lines) -> bool:
        line, under = lines.next(), lines.peek() or ""
        if found := _HEADING.fullmatch(line):
            self.gathering.heading(len(found[1]), found[2])
        elif _is_underlined(line, under):
            lines.next()
            self.gathering.heading(_UNDERLINES.index(under[0]) + 1, line)
        else:
            lines.back()
            return False
        if len(self.gathering.blocks) == 1:
            self._header(lines)
        return True

    def _header(self, lines: Lines) -> None:
        """Author, revision and attributes, below the title."""
        lines.while_(lambda line: _LINE_OF_AUTHOR.fullmatch(line) is not None)
        while found := _ATTRIBUTE.fullmatch(lines.peek() or ""):
            lines.next()
            self._attribute(found)

    def _attribute(self, found: re.Match[str]) -> None:
        if found[2] and "!" not in found[1]:
            self.fields[found[1].lower()] = found[2].strip()

    def _delimited(self, lines: Lines) -> bool:
        line = lines.peek() or ""
        if _LISTING.fullmatch(line):
            end = "```" if line.startswith("```") else lines.next()
            if end == "```":
                lines.next()
            self.gathering.listing(lines.until(lambda each: each == end))
        elif _DROPPED.fullmatch(line):
            end = lines.next()
            lines.until(lambda each: each == end)
        elif _TABLE.fullmatch(line):
            end = lines.next()
            rows = lines.until(lambda each: each == end)
            self.gathering.rows(re.split(r"\s*[\w.+*^<>]*\|", row)[1:] or [row] for row in rows)
        else:
            return False
        return True

    def _line(self, lines: Lines, line: str) -> None:
        lines.next()
        found = _ATTRIBUTE.fullmatch(line)
        if found or _NO_TEXT.fullmatch(line) or _FENCE.fullmatch(line):
            self.gathering.take("")
            if found and not self.gathering.blocks:
                self._attribute(found)
        elif term := _TERM.fullmatch(line):
            for part in (term[1], "", term[2] or ""):
                self.gathering.take(part)
        elif re.match(r"\.[^\s.]", line):  # the title of a block
            for part in ("", line[1:], ""):
                self.gathering.take(part)
        elif line.startswith(" ") and self.gathering.is_between and not ITEM.match(line):
            self.gathering.listing([line, *lines.while_(bool)])
        else:
            self.gathering.take(line)


def _is_underlined(line: str, under: str) -> bool:
    return (
        len(under) >= 2
        and under[0] in _UNDERLINES
        and under == under[0] * len(under)
        and abs(len(line) - len(under)) <= 2
        and re.match(r"[^\s.\[/|]", line) is not None
        and re.search(r"\w", line) is not None
    )


def _plain(text: str) -> str:
    for pattern, kept in _MARKUP:
        text = pattern.sub(kept, text)
    return text
