"""Files that are one document each: plain text, Markdown and HTML become a title and a text."""

from __future__ import annotations

import codecs
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from tamis.index.errors import InputError
from tamis.index.files.lines import MAX_LINE_BYTES, decoded, refuse

if TYPE_CHECKING:
    from pathlib import Path

    from markdown_it.token import Token

    from tamis.index.files.lines import Fault

MARKDOWN = (".md", ".markdown")
HTML = (".html", ".htm")
TEXT_FILES = (".txt", *MARKDOWN, *HTML)
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset=[\"']?([A-Za-z0-9_-]{2,40})", re.IGNORECASE)
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:\s*[\"']?(.*?)[\"']?\s*$", re.MULTILINE)
_UNSEEN = frozenset({"script", "style", "template", "noscript", "svg", "nav", "title"})
_INLINE = re.compile(  # elements that a word may cross
    "a|abbr|b|bdi|bdo|big|cite|code|data|dfn|em|font|i|img|kbd|mark|q|s|samp|small|span|strong|sub"
    "|sup|time|tt|u|var|wbr"
)
_SPACES = re.compile(r"[ \t\n\r\f\v\u00a0]+")


def read_text_file(path: Path, fault: Fault = refuse) -> tuple[str, str]:
    """The title, perhaps empty, and the text of a file; paragraphs stand apart by a blank line.

    Markdown and HTML lose their markup. The title is the first heading of level 1, or what the
    front matter or ``<title>`` says; a plain text has none.

    Raises:
        InputError: the file is larger than 64 MiB; or, through ``fault``, of another encoding.
    """
    size_bytes = path.stat().st_size
    if size_bytes > MAX_LINE_BYTES:
        raise InputError(
            f"{path}:1: expected text files of at most {MAX_LINE_BYTES >> 20} MiB, found one of "
            f"{size_bytes >> 20} MiB; split it"
        )
    data = path.read_bytes()
    suffix = path.suffix.lower()
    if suffix in HTML:
        return _from_html(_decoded_html(path, data, fault))
    text = decoded(str(path), 1, data, fault).replace("\r\n", "\n")
    return _from_markdown(text) if suffix in MARKDOWN else ("", text)


def _decoded_html(path: Path, data: bytes, fault: Fault) -> str:
    """As UTF-8, unless the page names another encoding."""
    named = _CHARSET.search(data[:2048])
    name = named.group(1).decode() if named else "utf-8"
    try:
        if codecs.lookup(name).name != "utf-8":
            return data.decode(name)
    except (LookupError, UnicodeDecodeError) as error:
        fault(
            InputError(
                f"{path}:1: expected the encoding that the page names, found {error}; "
                "correct its <meta charset>"
            )
        )
    return decoded(str(path), 1, data, fault)


def _from_markdown(text: str) -> tuple[str, str]:
    from markdown_it import MarkdownIt

    front = _FRONT_MATTER.match(text)
    named = _FRONT_TITLE.search(front.group(1)) if front else None
    title = named.group(1) if named else ""
    blocks: list[str] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(text[front.end() :] if front else text)
    for before, token in zip([None, *tokens], tokens, strict=False):
        content = _plain(token)
        if not title and before is not None and (before.type, before.tag) == ("heading_open", "h1"):
            title = content
        elif content:
            blocks.append(content)
    return title, "\n\n".join(blocks)


def _plain(token: Token) -> str:
    """The text of a block of Markdown, without markup."""
    if token.type in ("fence", "code_block"):
        return token.content.strip()
    if token.type == "html_block":
        return _from_html(token.content)[1]
    parts = []
    for child in token.children or ():
        if child.type in ("text", "code_inline", "image"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
    return "".join(parts).strip()


def _from_html(page: str) -> tuple[str, str]:
    parser = _Text()
    parser.feed(page)
    parser.close()
    heading, title = (_SPACES.sub(" ", "".join(parts)).strip() for parts in parser.titles)
    return heading or title, parser.text()


class _Text(HTMLParser):
    """Collects what a browser would show, block by block."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.titles: tuple[list[str], list[str]] = ([], [])  # of <h1> and of <title>
        self._blocks: list[list[str]] = [[]]
        self._unseen = 0
        self._inside: list[str] = []  # the open elements among title and the first h1

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Begin a block, or something that is not shown."""
        self._unseen += tag in _UNSEEN
        if tag == "title" or (tag == "h1" and not self.titles[0]):
            self._inside.append(tag)
        elif not _INLINE.fullmatch(tag):
            self._blocks.append([])

    def handle_endtag(self, tag: str) -> None:
        """End it."""
        self._unseen = max(self._unseen - (tag in _UNSEEN), 0)
        if tag in self._inside:
            self._inside.remove(tag)
        elif not _INLINE.fullmatch(tag):
            self._blocks.append([])

    def handle_data(self, data: str) -> None:
        """Keep a text where it belongs."""
        if self._inside:
            self.titles[self._inside[-1] == "title"].append(data)
        elif not self._unseen:
            self._blocks[-1].append(data)

    def text(self) -> str:
        """The blocks, a blank line between them."""
        blocks = (_SPACES.sub(" ", "".join(block)).strip() for block in self._blocks)
        return "\n\n".join(filter(None, blocks))
