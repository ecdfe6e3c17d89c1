"""Fills the reference page of commands with their own help, when the site is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from tamis.scripts.main import command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE = "::: commands"
WIDTH = 78  # characters of a line of help


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401  what mkdocs passes on
    """Put the help of all commands in the place that a page leaves for them."""
    if PLACE not in markdown:
        return markdown
    return markdown.replace(PLACE, "\n".join(_sections()))


def _sections() -> Iterator[str]:
    group: Any = typer.main.get_command(command_line())
    for name, command in group.commands.items():
        for full_name, one in [(name, command), *_within(name, command)]:
            context = one.make_context(
                f"tamis {full_name}", [], resilient_parsing=True, max_content_width=WIDTH,
                terminal_width=WIDTH,
            )  # fmt: skip
            yield f"## tamis {full_name}\n\n```text\n{one.get_help(context)}\n```\n"


def _within(name: str, command: Any) -> list[tuple[str, Any]]:  # noqa: ANN401  typer's click
    return [(f"{name} {one}", inner) for one, inner in getattr(command, "commands", {}).items()]
