"""Org, read for its words: headings, paragraphs, listings, tables; ``#+KEY:`` lines are fields."""

from __future__ import annotations

import re
from typing import Any

from tamis.retriever.corpus.blocks import Gathering, Lines, TextBlock

_HEADING = re.compile(
    r"(\*+) +(?:(?:TODO|NEXT|WAITING|DONE|CANCELLED) +)?(?:\[#\w\] +)?(.*?)(?:\s+:[\w@#%:]+:)?"
)
_KEYWORD = re.compile(r"\s*#\+(\w+): *(.*)", re.IGNORECASE)
_BEGIN = re.compile(r"\s*#\+begin_(\w+).*", re.IGNORECASE)
_END = re.compile(r"\s*#\+end_\w+.*", re.IGNORECASE)
_DRAWER = re.compile(r"\s*:[\w-]+:")
_LISTINGS = ("src", "example", "verse")
_NO_TEXT = ("comment", "export")
_TAGS = ("filetags", "tags")
_MARKUP = (
    (re.compile(r"\[\[[^\]]*\]\[([^\]]*)\]\]"), r"\1"),
    (re.compile(r"\[\[(?:\w+:)?([^\]]*)\]\]"), r"\1"),
    (re.compile(r"(?<![\w*/_=~+])([*/_=~+])(\S|\S.*?\S)\1(?!\w)"), r"\2"),
)


def read_org(text: str) -> tuple[list[TextBlock], dict[str, Any]]:
    """The blocks of a text, and the fields that its keywords give; tags are a list."""
    gathering, fields, lines = Gathering(_plain), dict[str, Any](), Lines(text)
    while (line := lines.peek()) is not None:
        lines.next()
        if found := _HEADING.fullmatch(line):
            gathering.heading(len(found[1]), found[2])
        elif found := _BEGIN.fullmatch(line):
            _block(
                found[1].lower(), lines.until(lambda each: bool(_END.fullmatch(each))), gathering
            )
        elif found := _KEYWORD.fullmatch(line):
            _keyword(found[1].lower(), found[2].strip(), fields)
        elif _DRAWER.fullmatch(line):
            lines.until(lambda each: each.strip().upper() == ":END:")
        elif line.lstrip().startswith("|"):
            _table([line, *lines.while_(lambda each: each.lstrip().startswith("|"))], gathering)
        elif line.strip() != "#" and not line.lstrip().startswith("# "):
            gathering.take(line)
    gathering.end()
    return gathering.blocks, fields


def _block(kind: str, held: list[str], gathering: Gathering) -> None:
    if kind in _LISTINGS:
        gathering.listing(held)
    elif kind not in _NO_TEXT:
        for line in ["", *held, ""]:
            gathering.take(line)


def _keyword(name: str, value: str, fields: dict[str, Any]) -> None:
    if name in _TAGS:
        fields["tags"] = [tag for tag in re.split(r"[:\s]+", value) if tag]
    elif value and name not in ("startup", "options"):
        fields[name] = f"{fields[name]} {value}" if name in fields else value


def _table(rows: list[str], gathering: Gathering) -> None:
    gathering.rows(
        row.strip().strip("|").split("|") for row in rows if not re.match(r"\s*\|[-+]", row)
    )


def _plain(text: str) -> str:
    for pattern, kept in _MARKUP:
        text = pattern.sub(kept, text)
    return text
