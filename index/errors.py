"""The mistakes a caller can tell apart. Nothing here knows of HTTP or of exit codes.

TamisError
├── InputError         a bad argument, or a bad line of a user's file
├── FormatError        a folder or file that is not what it should be
│   └── CorruptionError    bytes that differ from what was written
├── MismatchError      two parts that do not belong together
├── LockedError        somebody else is writing
└── StoppedError       a writer that met a failing disk and takes no more

Every message is one line that says what was expected, what was found, and what to do.
"""

from __future__ import annotations

from typing import TypeVar

Failure = TypeVar("Failure", bound=BaseException | None)


class TamisError(Exception):
    """A mistake in the input, the files or the settings; its message is meant for a person."""

    code = "error"  # stable, for programs


class InputError(TamisError, ValueError):
    """A bad argument, or a bad line of a user's file (then the message begins ``PATH:LINE:``)."""

    code = "bad_input"


class FormatError(TamisError):
    """A folder that is not an index, is of another format version, or is not finished."""

    code = "bad_format"


class CorruptionError(FormatError):
    """Stored bytes differ from the ones that were written."""

    code = "corrupt"


class MismatchError(TamisError):
    """An encoder, dictionary or vector file that does not belong to this index."""

    code = "mismatch"


class LockedError(TamisError):
    """Another process is writing here."""

    code = "locked"


class StoppedError(TamisError):
    """A writer whose disk failed: what it holds is on disk or was never acknowledged."""

    code = "stopped"


def without_frames(error: Failure) -> Failure:
    """The same error, without what was held by the calls that it and its causes came through.

    An error that is kept keeps the locals of these calls. Where one of them leads back to the
    error, they stay until the collector comes: files that they hold are open until then.
    """
    ahead, met = list[BaseException | None]([error]), set[int]()
    while ahead:
        one = ahead.pop()
        if one is not None and id(one) not in met:  # the cause of an error may come after it
            met.add(id(one))
            one.__traceback__ = None
            ahead += [one.__cause__, one.__context__]
    return error


def contained(error: BaseException) -> Exception:
    """What the owner of a thread is told of whatever has ended a piece of its work.

    A panic of a library that is written in Rust is no `Exception`: it would end the thread, and
    whoever waits for the work would wait for ever. A StopIteration cannot be given to who waits.
    """
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    told = RuntimeError(f"{type(error).__name__}: {error}")
    told.__cause__ = error
    return told


class TamisWarning(UserWarning):
    """Something that a user should know, though the work goes on."""
