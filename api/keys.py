"""API keys: read from a file, kept as hashes, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

SHORTEST_KEY = 16  # characters


class ApiKeys:
    """The keys that open a server. The keys themselves are not kept, nor shown in any message."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._hashes = [_hashed(key) for key in keys]

    @staticmethod
    def read(path: str | Path) -> ApiKeys:
        """Read one key a line; blank lines and lines that begin with # are left out.

        Raises:
            InputError: there is no such file, no key in it, or a key is too short.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{path}: expected a file with one API key a line, found none to read "
                f"({type(error).__name__}); check the path"
            ) from error
        keys = []
        for number, line in enumerate(lines, start=1):
            key = line.strip()
            if not key or key.startswith("#"):
                continue
            if len(key) < SHORTEST_KEY or not key.isascii():
                raise InputError(
                    f"{path}:{number}: expected a key of at least {SHORTEST_KEY} ASCII characters, "
                    f"found {len(key)}; make one with `openssl rand -hex 32`"
                )
            keys.append(key)
        if not keys:
            raise InputError(
                f"{path}: expected at least one key, found none; "
                "make one with `openssl rand -hex 32`"
            )
        return ApiKeys(keys)

    def allow(self, request: Request) -> bool:
        """Whether a request carries a key: ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = request.headers.get("x-api-key", "")
        presented = _hashed(given.strip())
        found = [hmac.compare_digest(presented, known) for known in self._hashes]
        return any(found)


def _hashed(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", errors="surrogatepass")).digest()
