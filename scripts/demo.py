"""``tamis demo``."""

import typer


def demo() -> None:
    """Index and evaluate the sample collection, then serve it."""
    raise typer.Exit(1)
