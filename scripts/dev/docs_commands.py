"""Makes a page of each command from the command itself, when the site is built."""

from __future__ import annotations

import re
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

import typer

from tamis.scripts.main import command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE, FOLDER = "::: commands", "reference/commands"
BLOCK = "\b"  # before lines that help leaves as they are
BRACES = str.maketrans("", "", "{}")  # which typer puts around what is required


def on_config(config: Any) -> Any:  # noqa: ANN401  mkdocs' own, as below
    """Put the commands' pages after the one that lists them."""
    reference = next(part["Reference"] for part in config.nav if "Reference" in part)
    place = next(at for at, entry in enumerate(reference) if "Commands" in entry)
    listed = reference[place]["Commands"]
    own = [{f"tamis {name}": f"{FOLDER}/tamis-{name}.md"} for name in _commands()]
    reference[place] = {"Commands": [{"All commands": listed}, *own]}
    return config


def on_files(files: Any, config: Any) -> Any:  # noqa: ANN401
    """Add a page for each command."""
    from mkdocs.structure.files import File

    for name in _commands():
        files.append(File.generated(config, f"{FOLDER}/tamis-{name}.md", content=page_of(name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401
    """List all commands in the place that a page leaves for them."""
    if PLACE not in markdown:
        return markdown
    rows = [
        f"| [`tamis {name}`](commands/tamis-{name}.md) | {_first(command.help)} |"
        for name, command in _commands().items()
    ]
    return markdown.replace(PLACE, "\n".join(["| Command | |", "| --- | --- |", *rows]))


def page_of(name: str) -> str:
    """What a command does and takes; a group's commands follow it as sections."""
    command = _commands()[name]
    inner = getattr(command, "commands", {}).items()
    sections = [_section(f"## tamis {name} {one}", within) for one, within in inner]
    return "\n".join(
        [line for part in [_section(f"# tamis {name}", command), *sections] for line in part]
    )


@cache
def _commands() -> dict[str, Any]:
    """All commands by name, as `tamis --help` orders them."""
    group: Any = typer.main.get_command(command_line())
    return {name: group.commands[name] for name in group.list_commands(None)}


def _first(text: str | None) -> str:
    """The first paragraph of a help text, as a cell."""
    first = re.split(r"\n\s*\n", text or "")[0].replace(BLOCK, "")
    return escape(_cell(first), quote=False)


def _section(heading: str, command: Any) -> Iterator[str]:  # noqa: ANN401
    name = heading.lstrip("# ")
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context)).translate(BRACES)
    yield f"{heading}\n\n```text\n{name} {usage}\n```\n"
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
