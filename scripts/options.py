"""Options that exclude or need one another: said, never silently passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable


def refuse_beside(context: typer.Context, option: str, others: Iterable[str], why: str) -> None:
    """Refuse options that have no effect beside another, where both were given.

    Args:
        context: of the command.
        option: the one that wins, by the name of its parameter.
        others: those that it would silently win over.
        why: what to know, for the message.

    Raises:
        BadParameter: one of the others was given beside it.
    """
    found = [_spelled(context, other) for other in others if is_given(context, other)]
    if found and is_given(context, option):
        raise typer.BadParameter(
            f"{_spelled(context, option)} takes no {' and no '.join(found)}: {why}; "
            "leave one of them out"
        )


def require_beside(context: typer.Context, option: str, others: Iterable[str]) -> None:
    """Refuse options that have no effect without another, where that is missing.

    Raises:
        BadParameter: one of the others was given, the option was not.
    """
    found = [_spelled(context, other) for other in others if is_given(context, other)]
    if found and not is_given(context, option):
        raise typer.BadParameter(
            f"{' and '.join(found)} needs {_spelled(context, option)} beside it; "
            "give both or neither"
        )


def is_given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line, by the name of its parameter."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _spelled(context: typer.Context, name: str) -> str:
    """A parameter as one writes it: ``--chunk``, ``--no-lexical``, ``CORPUS``."""
    (found,) = (one for one in context.command.params if one.name == name)
    if found.param_type_name == "argument":
        return str(found.metavar or name.upper())
    negative = found.secondary_opts and context.params.get(name) is False
    return str(found.secondary_opts[0] if negative else max(found.opts, key=len))
