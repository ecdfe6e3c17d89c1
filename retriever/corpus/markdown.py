"""Markdown, as CommonMark has it, with tables: blocks without their markup."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tamis.retriever.corpus.blocks import TextBlock, table_row
from tamis.retriever.corpus.web_pages import parse_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token


def read_markdown(text: str) -> tuple[list[TextBlock], dict[str, Any]]:
    """The blocks of a text, and no fields: those are the front matter's."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return [block for block in _blocks(tokens) if block.text.strip()], {}


def _blocks(tokens: list[Token]) -> Iterator[TextBlock]:
    rows: list[list[str]] = []
    for before, token in pairwise([None, *tokens]):
        opened = before.type if before is not None else ""
        if token is None:
            continue
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "table_close":
            yield TextBlock("\n".join(map(table_row, rows)))
            rows = []
        elif token.type == "html_block":
            yield from parse_page(token.content).blocks
        elif token.type in ("fence", "code_block"):
            yield TextBlock(token.content.strip("\n").rstrip())
        elif token.type == "inline" and rows:
            rows[-1].append(_inline(token))
        elif token.type == "inline":
            is_heading = before is not None and opened == "heading_open"
            yield TextBlock(_inline(token), int(before.tag[1]) if is_heading and before else 0)


def _inline(token: Token) -> str:
    """The text of a line, without markup."""
    parts = []
    for child in token.children or ():
        if child.type in ("text", "code_inline", "image"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
    return "".join(parts).strip()
