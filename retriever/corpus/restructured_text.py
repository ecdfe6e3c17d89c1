"""reStructuredText, read for its words: headings, paragraphs, listings, what directives hold.

docutils knows the whole language, and not Sphinx's directives and roles, whose text it drops.
"""

from __future__ import annotations

import re

from tamis.retriever.corpus.blocks import Gathering, Lines, TextBlock, indent_of

_UNDERLINE = re.compile(r"([!-/:-@\[-`{-~])\1+")
_EXPLICIT = re.compile(r"\s*\.\.(\s|$)")
_DIRECTIVE = re.compile(r"\s*\.\. +(?:\|[^|]+\| +)?([\w:+.-]+?):: *(.*)")
_FOOTNOTE = re.compile(r"\s*\.\. +(\[[^\]]+\]) +(.*)")
_FIELD = re.compile(r":([^:`\s][^:`]*):(?: +(.*))?")
_BORDER = re.compile(r"\s*(?:\+[-=+]+\+|[=-]{2,}(?: +[=-]{2,})+)")
_ROW = re.compile(r"\s*\|.*\|")
_WITHOUT_TEXT = frozenset(
    {
        "contents", "currentmodule", "default-domain", "default-role", "highlight", "include",
        "index", "image", "math", "meta", "module", "plot", "raw", "role", "sectionauthor",
        "sectnum", "tabularcolumns", "target-notes", "toctree"
    }
)  # fmt: skip
_LISTINGS = frozenset(
    {
        "code", "code-block", "doctest", "literalinclude", "parsed-literal", "prompt",
        "sourcecode", "testcode"
    }
)  # fmt: skip
_WITHOUT_ARGUMENT = frozenset({"figure", "only", *_LISTINGS})
_SAID = {  # as Sphinx writes them
    "versionadded": "New in version",
    "versionchanged": "Changed in version",
    "deprecated": "Deprecated since version",
}
_LITERAL = re.compile(r"``(.+?)``")
_MARKUP = (
    (re.compile(r"(?::[\w:+.-]+:)?`([^`<]+?)\s*<[^`>]+>`_{0,2}"), r"\1"),
    (re.compile(r"(?::[\w:+.-]+:)?`[!~]?([^`]+)`_{0,2}"), r"\1"),
    (re.compile(r"(?<![\w*])\*\*?(\S|\S.*?\S)\*\*?(?![\w*])"), r"\1"),
    (re.compile(r"(?<=\w)__?(?=\W|$)"), ""),
    (re.compile(r"\\(\W)"), r"\1"),
)


def read_restructured_text(text: str) -> tuple[list[TextBlock], dict[str, str]]:
    """The blocks of a text, and the fields it begins with."""
    reader = _RstReader()
    reader.read(Lines(text))
    return reader.blocks, reader.fields


class _RstReader:
    """Reads a text, and what directives hold in turn."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self._gathering = Gathering(_plain)
        self._styles: list[tuple[str, bool]] = []  # of headings, outermost first

    @property
    def blocks(self) -> list[TextBlock]:
        return self._gathering.blocks

    def read(self, lines: Lines) -> None:
        while (line := lines.peek()) is not None:
            if self._heading(lines) or self._head(lines):
                continue
            if _EXPLICIT.match(line):
                self._explicit(lines)
            elif _BORDER.fullmatch(line) or _ROW.fullmatch(line):
                self._table(lines)
            elif line.lstrip().startswith(">>>"):
                self._gathering.listing(lines.while_(bool))
            else:
                self._text(lines)
        self._gathering.end()

    def _heading(self, lines: Lines) -> bool:
        """Take a heading: underlined, perhaps overlined as well."""
        first, second, third = (lines.peek(ahead) or "" for ahead in range(3))
        over = bool(_UNDERLINE.fullmatch(first)) and third == first and bool(second.strip())
        text, under = (second.strip(), third) if over else (first, second)
        if not text or text[0] == " " or not re.search(r"\w", text):
            return False
        if not _UNDERLINE.fullmatch(under) or len(under) < min(len(text), 4):
            return False
        style = (under[0], over)
        if style not in self._styles:
            self._styles.append(style)
        self._gathering.heading(self._styles.index(style) + 1, text)
        for _ in range(2 + over):
            lines.next()
        return True

    def _head(self, lines: Lines) -> bool:
        """Take a field where the document has no text yet."""
        found = _FIELD.fullmatch(lines.peek() or "")
        if found is None or any(not block.level for block in self.blocks):
            return False
        self._gathering.end()
        if any(not block.level for block in self.blocks):
            return False
        lines.next()
        value = " ".join([found[2] or "", *lines.indented(0)]).split()
        if value:
            self.fields[found[1].lower()] = " ".join(value)
        return True

    def _explicit(self, lines: Lines) -> None:
        """Take a directive, a footnote, a comment or a target."""
        self._gathering.end()
        line = lines.next()
        body = lines.indented(indent_of(line))
        if found := _FOOTNOTE.fullmatch(line):
            self.read(_inner([f"{found[1]} {found[2]}", *body]))
        elif found := _DIRECTIVE.fullmatch(line):
            self._directive(found[1].rsplit(":", 1)[-1], found[2], body)

    def _directive(self, name: str, argument: str, body: list[str]) -> None:
        if name in _WITHOUT_TEXT:
            return
        while body and _FIELD.fullmatch(body[0].strip()):
            del body[0]  # an option
        if argument and name not in _WITHOUT_ARGUMENT:
            said = f"{_SAID[name]} {argument}\n" if name in _SAID else argument
            body = [*said.split("\n"), *_dedented(body)]
        if name in _LISTINGS:
            self._gathering.listing(body)
        else:
            self.read(_inner(body))

    def _table(self, lines: Lines) -> None:
        rows = [line for line in lines.while_(bool) if not _BORDER.fullmatch(line)]
        cells = [re.split(r"\s*\|\s*|\s{2,}", line.strip().strip("|").strip()) for line in rows]
        self._gathering.rows(cells)

    def _text(self, lines: Lines) -> None:
        line = lines.next()
        opens = line.endswith("::")
        self._gathering.take(re.sub(r"(^| )::$", "", line) if opens else line)
        if opens and not lines.peek():
            self._gathering.listing(lines.indented(indent_of(line)))


def _dedented(body: list[str]) -> list[str]:
    depth = min((indent_of(line) for line in body if line), default=0)
    return [line[depth:] for line in body]


def _inner(body: list[str]) -> Lines:
    """What a directive holds, at the left border."""
    rest = _dedented(body[1:]) if body and body[0] and indent_of(body[0]) == 0 else []
    return Lines("\n".join([body[0], *rest] if rest else _dedented(body)))


def _plain(text: str) -> str:
    """A text without its markup; literals stay as they are."""
    text = re.sub("::$", ":", text)
    parts = _LITERAL.split(text)
    for at in range(0, len(parts), 2):
        for pattern, kept in _MARKUP:
            parts[at] = pattern.sub(kept, parts[at])
    return "".join(parts)
