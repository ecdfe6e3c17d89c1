"""API keys: read from a file, kept as hashes, compared in constant time.

A line of the file is ``RIGHT KEY [INDEX...]``. The right is ``search``, ``write`` or ``all``, also
spelled ``read`` and ``admin`` for the first and the last; see grants.py. It is to the indexes, or
aliases, that the line names, and to everything where it names none. A key alone may do everything.
In place of the key may stand ``sha256:`` and the key's hash, so that the file opens nothing by
itself. A key may stand in several lines.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tamis.api.operations.grants import Grant
from tamis.api.problems import RequestError
from tamis.api.serving.faults import ServerFault, told
from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.requests import Request

    from tamis.api.operations.grants import Right
    from tamis.api.operations.operation import Access

_Change = tuple[int, int, int, int, int]  # device, inode, bytes, times of the last changes
SHORTEST_KEY = 16  # characters
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_INDEX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REMEDY = "make one with `openssl rand -hex 32`"
_RIGHTS: dict[str, Right] = {
    "search": "search",
    "write": "write",
    "all": "all",
    "read": "search",
    "admin": "all",
}


class _Known(NamedTuple):
    grant: Grant
    digest: bytes


class ApiKeys:
    """The keys that open a server. The keys themselves are not kept, nor shown in any message."""

    def __init__(self, admin: Iterable[str], read: Iterable[str] = ()) -> None:
        """Keep the hashes of keys.

        Args:
            admin: keys that may do everything.
            read: keys that may search and look.
        """
        self._known = [
            *(_Known(Grant("all"), _digest(key)) for key in admin),
            *(_Known(Grant("search"), _digest(key)) for key in read),
        ]

    @staticmethod
    def read(path: str | Path) -> KeyFile:
        """Read a key a line; blank lines and lines that begin with # are left out.

        Raises:
            InputError: there is no such file, others may write it, there is no key in it, a key is
                too short, or a role unknown.
        """
        return KeyFile(path)

    def grant(self, request: Request) -> Grant | None:
        """What the key of a request grants: ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``."""
        presented = _hashed(_given(request))
        found: Grant | None = None
        for known in self._known:  # all of them: the time taken tells nothing
            if hmac.compare_digest(presented, known.digest):
                found = known.grant if found is None else found.plus(known.grant)
        return found

    def admit(self, request: Request, access: Access) -> Grant | None:
        """What the key of a request grants, None for a stranger to what is open.

        Raises:
            RequestError: 401 without a key that is known.
        """
        grant = self.grant(request)
        if grant is None and access != "open":
            raise RequestError(
                401,
                "unauthorized",
                "expected an API key of this server, found none that fits; "
                "send it as Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )
        return grant


def _refuse_writable(path: str | Path, found: os.stat_result) -> None:
    """Refuse a file in which others could put a key of theirs (InputError)."""
    if os.name == "posix" and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InputError(
            f"{path}: expected a file of keys that its owner alone may write, found mode "
            f"{stat.S_IMODE(found.st_mode):o}; run `chmod go-w {path}`"
        )


def bearer(request: Request) -> str | None:
    """A name for whoever has the key that a request carries; it does not tell the key."""
    given = _given(request)
    return _hashed(given).hex()[:16] if given else None


def _given(request: Request) -> str:
    """The key that a request carries, or nothing."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        given = request.headers.get("x-api-key", "")
    return given.strip()


class KeyFile(ApiKeys):
    """The keys of a file, which may change while they are asked for.

    Attributes:
        fault: why the file, as it is now, cannot be taken; the keys before go on to be those.
    """

    def __init__(self, path: str | Path) -> None:
        """Read the file; see `ApiKeys.read`."""
        self._path = path
        self._check: Callable[[frozenset[str]], None] = lambda names: None
        self.fault: ServerFault | None = None
        try:
            self._changed, self._known = _read_file(path)
        except OSError as error:
            raise InputError(
                f"{path}: expected a file with one API key a line, found none to read "
                f"({type(error).__name__}); check the path"
            ) from error

    def expect(self, check: Callable[[frozenset[str]], None]) -> None:
        """Have the names of indexes in the file checked, now and whenever it is read again.

        Args:
            check: raises InputError for names that cannot be right.

        Raises:
            InputError: it did.
        """
        self._check = check
        self._checked(self._known)

    def look_after(self) -> None:
        """Read the file again if it has changed."""
        if self.fault is not None or _last_change(self._path) != self._changed:
            self.reload()

    def reload(self) -> None:
        """Read the file again."""
        error: InputError | OSError | None = None
        try:
            changed, known = _read_file(self._path)
            self._changed, self._known = changed, self._checked(known)
        except (InputError, OSError) as refused:
            error = refused
        self.fault = told(self.fault, error, f"the keys of {self._path} are those of before")

    def _checked(self, known: list[_Known]) -> list[_Known]:
        try:
            self._check(frozenset(name for one in known for name in one.grant.of))
        except InputError as error:
            raise InputError(f"{self._path}: {error}") from error
        return known


def _last_change(path: str | Path) -> _Change | None:
    try:
        return _change_of(os.stat(path))
    except OSError:  # told when it is read
        return None


def _change_of(found: os.stat_result) -> _Change:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read_file(path: str | Path) -> tuple[_Change, list[_Known]]:
    """When a file was changed, and its keys; raises InputError as `ApiKeys.read`, and OSError."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            found = os.fstat(file.fileno())
            _refuse_writable(path, found)
            lines = file.read().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected a file with one API key a line, found one that is no text; {_REMEDY}"
        ) from error
    known = [
        _read_line(f"{path}:{number}", line.split())
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.strip().startswith("#")
    ]
    if not known:
        raise InputError(f"{path}: expected at least one key, found none; {_REMEDY}")
    return _change_of(found), known


def _read_line(place: str, words: list[str]) -> _Known:
    right, key, *indexes = words if len(words) > 1 else ("all", *words)
    if right not in _RIGHTS:
        raise InputError(
            f"{place}: expected `RIGHT KEY [INDEX...]` with the right search, write or all, found "
            f"another right before {len(words) - 1} words; write one key a line"
        )
    if len(key) < SHORTEST_KEY or not key.isascii():
        raise InputError(
            f"{place}: expected a key of at least {SHORTEST_KEY} ASCII characters, "
            f"found {len(key)}; {_REMEDY}"
        )
    for at, index in enumerate(indexes):
        if not _INDEX.fullmatch(index) or index in indexes[:at]:
            raise InputError(
                f"{place}: expected names of indexes after the key, each once, found {index!r} as "
                f"number {at + 1}; correct it"
            )
    granted = _RIGHTS[right]
    grant = Grant(None, dict.fromkeys(indexes, granted)) if indexes else Grant(granted)
    return _Known(grant, _digest(key))


def _digest(key: str) -> bytes:
    """The hash of a key, which may be given as its hash."""
    hashed = _HASH.fullmatch(key)
    return bytes.fromhex(hashed[1]) if hashed else _hashed(key)


def _hashed(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", errors="surrogatepass")).digest()
