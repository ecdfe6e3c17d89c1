"""The ``tamis`` command. Each command is one thin file beside this one: parse, call, print.

Exit codes: 0 done, 1 the work failed, 2 wrong usage or bad input, 130 interrupted, 141 the reader
of the output went away. ``TAMIS_DEBUG=1`` shows the traceback of a failure.
"""

import os
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tamis.scripts.commands import PLACES, CommandsByName
from tamis.scripts.progress import START_UP

INTERRUPTED = 128 + signal.SIGINT
READER_GONE = 128 + 13  # SIGPIPE, which Windows lacks
WORK_FAILED = {"training_failed"}  # codes of errors that are not about the input


class Commands(TyperGroup):
    """Imports no command but the one asked for; turns what it raises into a line and a code."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  what typer gives
        """Take what typer knows of the group."""
        super().__init__(**settings)
        self.commands: Any = CommandsByName()

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  typer's click
        """List the commands, none of which is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.line) for name, place in PLACES.items()])

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  typer brings its own click, or uses the other
        """Run the command that was asked for."""
        try:
            with START_UP.running():
                result = super().invoke(ctx)
            sys.stdout.flush()  # a reader that went away is noticed here, not at exit
        except BrokenPipeError:
            _discard_output()
            raise typer.Exit(READER_GONE) from None
        except KeyboardInterrupt as interrupt:
            _say(f"interrupted; {str(interrupt) or 'run the same command to start again'}")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if _is_usage(error):
                raise
            if os.environ.get("TAMIS_DEBUG") == "1":
                raise
            raise typer.Exit(_report(error)) from None
        return result


def command_line() -> typer.Typer:
    """The whole command line."""
    return typer.Typer(
        name="tamis",
        cls=Commands,
        callback=_tamis,
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help: twice as fast to start
        pretty_exceptions_enable=False,
        context_settings={
            "help_option_names": ["-h", "--help"],
            "max_content_width": 100,
            "color": False if os.environ.get("NO_COLOR") else None,  # see no-color.org
        },
    )


def main() -> None:
    """Run the command line: the entry point of the installed ``tamis``."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8
    command_line()(prog_name="tamis")


def _is_usage(error: Exception) -> bool:
    """Whether click itself reports this: usage errors, exits and aborts."""
    return any("click" in kind.__module__ for kind in type(error).__mro__) or isinstance(
        error, typer.Exit | typer.Abort
    )


def _report(error: Exception) -> int:
    """Say what went wrong in one line and give the exit code."""
    from tamis.index.errors import TamisError

    message = " ".join(str(error).split())
    if isinstance(error, TamisError):
        _say(message)
        return 1 if error.code in WORK_FAILED else 2
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's own
        _say(
            f"expected enough memory for the work, found too little ({message[:200]}); end other "
            "programs, or give smaller batches or shorter texts"
        )
        return 1
    _say(f"{type(error).__name__}: {message or 'no message'} (TAMIS_DEBUG=1 shows the traceback)")
    return 1


def _say(message: str) -> None:
    typer.echo(f"tamis: {message}", err=True)


def _discard_output() -> None:
    """Let the interpreter's last flush go nowhere."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError:  # standard output is no file: nothing is flushed at exit
        return


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tamis {version('tamis')}")
        raise typer.Exit


def _tamis(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """Learned sparse retrieval: index a corpus, search it, serve it, evaluate it."""
