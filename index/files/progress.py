"""Progress: how long work tells a caller what is done, and how the caller stops it."""

from typing import Protocol


class Progress(Protocol):
    """Called often while a step runs. What it raises stops the work, which then undoes itself."""

    def __call__(self, step: str, done: int, total: int | None) -> None:
        """``done`` of ``total`` documents; None while it is not known how many there are."""


def silent(step: str, done: int, total: int | None) -> None:
    """Progress that nobody watches."""
