"""Progress: how whoever waits for long work is told of it, and may stop it."""

from typing import Protocol


class Progress(Protocol):
    """Told often how far a step has come; what it raises stops the work."""

    def __call__(self, step: str, done: int, total: int | None) -> None:
        """``done`` of ``total`` documents; None while it is not known how many there are."""


def silent(step: str, done: int, total: int | None) -> None:
    """Progress that nobody watches."""
