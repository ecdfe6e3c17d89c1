"""Grants: what the bearer of a key may do, with every index or with some.

Each right includes those before it: ``search`` looks and searches; ``write`` adds, changes and
removes documents; ``all`` makes, changes and removes whole indexes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tamis.api.problems import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request

    from tamis.api.operations.operation import Access, Operation
    from tamis.api.serving.library import Library

Right = Literal["search", "write", "all"]
GRANT = "tamis.grant"
"""Where a request's scope says what its key grants; None for a stranger."""
_LEVELS: Mapping[Access | None, int] = {None: 0, "open": 0, "search": 1, "write": 2, "all": 3}


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key opens.

    Attributes:
        everywhere: the right to every index, and to what is of no index; None for none.
        of: the right to each index, or alias, that the key names.
    """

    everywhere: Right | None = None
    of: Mapping[str, Right] = field(default_factory=dict)

    def admits(self, access: Access, names: Iterable[str] = ()) -> bool:
        """Whether it opens an index of these names; without any, what is of no index."""
        held = [self.everywhere, *(self.of.get(name) for name in names)]
        return max(_LEVELS[right] for right in held) >= _LEVELS[access]

    def plus(self, other: Grant) -> Grant:
        """What either opens."""
        of = dict(self.of)
        for name, right in other.of.items():
            of[name] = stronger(of.get(name), right) or right
        return Grant(stronger(self.everywhere, other.everywhere), of)


EVERYTHING = Grant("all")


def stronger(one: Right | None, other: Right | None) -> Right | None:
    """The right that includes the other."""
    return one if _LEVELS[one] >= _LEVELS[other] else other


def grant_of(request: Request) -> Grant:
    """What the key of a request grants."""
    found: Grant = request.scope[GRANT]
    return found


def check_operation(
    grant: Grant, operation: Operation, library: Library, parameters: Mapping[str, str]
) -> None:
    """Refuse an operation that a key does not open.

    One that `narrows` is open to a key that has the right to any index: its handler shows what the
    key opens.

    Raises:
        RequestError: 403.
    """
    if (name := parameters.get("name")) is not None:
        check_index(grant, operation.access, library, name)
    elif not grant.admits(operation.access, grant.of if operation.narrows else ()):
        raise _forbidden(operation.access, "every index")


def check_index(grant: Grant, access: Access, library: Library, name: str) -> None:
    """Refuse an index that a key does not open, under its name or that of its alias (403)."""
    if not grant.admits(access, (name, library.resolved(name))):
        raise _forbidden(access, f"index {name!r}")


def opened(grant: Grant, library: Library) -> tuple[str, ...]:
    """The names of all indexes that a key may search."""
    names = library.names()
    if grant.everywhere is not None:
        return names
    return tuple(name for name in names if grant.admits("search", names_of(library, name)))


def names_of(library: Library, index: str) -> tuple[str, ...]:
    """An index's name and its aliases."""
    return (index, *(alias for alias, of in library.aliases().items() if of == index))


def discreet(grant: Grant, error: RequestError) -> RequestError:
    """An error that names no index which a key does not open."""
    if error.code != "unknown_index" or grant.everywhere is not None:
        return error
    known = ", ".join(sorted(grant.of))
    return RequestError(404, error.code, f"expected one of the indexes {known}, found another")


def _forbidden(access: Access, what: str) -> RequestError:
    return RequestError(
        403,
        "forbidden",
        f"expected a key with the right {access!r} to {what}, found one without; use another key",
    )
