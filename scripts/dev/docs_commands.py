"""Fills the reference page of commands from the commands themselves, when the site is built."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

import typer

from tamis.scripts.main import command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE = "::: commands"
BLOCK = "\b"  # before lines that help leaves as they are
BRACES = str.maketrans("", "", "{}")  # which typer puts around what is required


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401  what mkdocs passes on
    """Describe all commands in the place that a page leaves for them."""
    if PLACE not in markdown:
        return markdown
    return markdown.replace(PLACE, "\n".join(_sections()))


def _sections() -> Iterator[str]:
    group: Any = typer.main.get_command(command_line())
    for name, command in sorted(group.commands.items()):
        for full_name, one in [(name, command), *_within(name, command)]:
            yield "\n".join(_section(full_name, one))


def _within(name: str, command: Any) -> list[tuple[str, Any]]:  # noqa: ANN401  typer's click
    return [(f"{name} {one}", inner) for one, inner in getattr(command, "commands", {}).items()]


def _section(name: str, command: Any) -> Iterator[str]:  # noqa: ANN401
    context = command.make_context(f"tamis {name}", [], resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context)).translate(BRACES)
    yield f"## tamis {name}\n\n```text\ntamis {name} {usage}\n```\n"
    yield from (_paragraph(one) for one in re.split(r"\n\s*\n", command.help or ""))
    if command.epilog:
        yield f"For example\n\n```text\n{command.epilog.rpartition(BLOCK)[2].strip()}\n```\n"
    for title, kind in (("Argument", "argument"), ("Option", "option")):
        records = [
            param.get_help_record(context)
            for param in command.params
            if param.param_type_name == kind
        ]
        rows = [
            f"| `{_cell(names)}` | {escape(_cell(text), quote=False)} |"
            for names, text in filter(None, records)
        ]
        if rows:
            yield "\n".join([f"| {title} | |", "| --- | --- |", *rows, ""])


def _paragraph(text: str) -> str:
    """Text stays text; an example, which is indented or marked, keeps its lines."""
    lines = [line.strip() for line in text.replace("\b", "").strip().splitlines()]
    if lines and all(line.startswith(("tamis ", "$ ")) for line in lines):
        return "```text\n" + "\n".join(lines) + "\n```\n"
    return escape(" ".join(lines), quote=False) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
