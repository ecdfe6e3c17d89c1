"""What commands print: one JSON document, or aligned text."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003  typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.")
]


def in_a_folder(path: Path | None) -> Path | None:
    """A file that an option names: refuse one that cannot be written, before any work is done.

    Raises:
        InputError: its folder is not there, or it is a folder itself.
    """
    from tamis.index.errors import InputError

    if path is not None and not path.parent.is_dir():
        raise InputError(f"{path}: expected a folder {path.parent}, found none; make it first")
    if path is not None and path.is_dir():
        raise InputError(f"{path}: expected a file to write, found a folder; name a file in it")
    return path


def print_json(document: Any) -> None:  # noqa: ANN401  anything JSON can hold
    """Print one JSON document, indented."""
    import orjson

    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def print_json_line(document: Any) -> None:  # noqa: ANN401  anything JSON can hold
    """Print one JSON document on one line, at once: for a program that goes on running."""
    import orjson

    typer.echo(orjson.dumps(document))
    sys.stdout.flush()


EXPLAIN_ALL = "explain_all"  # the parameter that `--explain all` sets


class Command(TyperCommand):
    """A command that says each warning of this package once, as ``tamis: note: ...``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  typer's click
        """Read the options; a flag that may be followed by a word of its own among them."""
        whole = {one.name: one.opts[0] for one in self.params if one.name == EXPLAIN_ALL}
        if whole:
            args = _joined(args, ["--explain", "all"], whole[EXPLAIN_ALL])
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  typer brings its own click, or uses the other
        """Run it; its options are read by now, so that help does not wait for imports."""
        with warnings_said():
            return super().invoke(ctx)


def _joined(args: list[str], pair: list[str], one: str) -> list[str]:
    """Arguments with ``one`` in place of each such pair; what follows ``--`` is text."""
    end = args.index("--") if "--" in args else len(args)
    at, found = 0, []
    while at < len(args):
        is_pair = args[at : at + 2] == pair and at + 2 <= end
        found.append(one if is_pair else args[at])
        at += 2 if is_pair else 1
    return found


@contextmanager
def warnings_said() -> Iterator[None]:
    """Say what is warned of on standard error as it comes, and nothing twice."""
    from tamis.index.errors import TamisWarning

    said: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", TamisWarning)
        before = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:  # noqa: ANN401
            if not issubclass(category, TamisWarning):
                before(message, category, *rest, **more)
            elif str(message) not in said:
                said.add(str(message))
                typer.echo(f"tamis: note: {message}", err=True)

        warnings.showwarning = show
        yield


def aligned(rows: Sequence[Sequence[str]], *, indent: int = 0) -> str:
    """Rows as columns two spaces apart; numbers below a heading go right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = [all(_is_number(cell) for cell in column[1:]) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(row, widths, right, strict=True)
        )
        for row in rows
    )
    return "\n".join((" " * indent + line).rstrip() for line in lines)


def human_bytes(size_bytes: float) -> str:
    """A size for people: ``12.3 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1024:
            return f"{size_bytes:,.0f} {unit}" if unit == "B" else f"{size_bytes:,.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:,.1f} TiB"


def _is_number(cell: str) -> bool:
    return not cell or cell.replace(".", "").replace(",", "").lstrip("+-").isdigit()
