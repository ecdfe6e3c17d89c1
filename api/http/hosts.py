"""HostGuard: refuses requests that a browser sends on behalf of another web site, if not listed.

There are two such attacks. DNS rebinding points a site's own name at this machine. The Host header
then holds that name, so a server without keys answers only to addresses, ``localhost`` and the
names it was given. Cross-site request forgery sends a form from a page of another site. The browser
tells so in Sec-Fetch-Site or, where it knows no such header, names that site in Origin, and the
request is refused. Programs send none of these headers.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from tamis.api import problems
from tamis.api.problems import RequestError
from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Receive, Scope, Send

MOST_PORT = 65535
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:(?P<port>\d{1,5}))?"
)
ACROSS = ("cross-site", "same-site")
READING = ("GET", "HEAD", "OPTIONS")


class HostGuard:
    """Wraps an application."""

    def __init__(
        self, app: ASGIApp, hosts: Collection[str] | None, origins: Collection[str] = ()
    ) -> None:
        """Keep what is wrapped and what it is called.

        Args:
            app: what is wrapped.
            hosts: the names it answers to beside addresses and ``localhost``; None for any.
            origins: other sites whose pages may ask, of `read_origins`.
        """
        self._app, self._origins = app, frozenset(origins)
        self._hosts = None if hosts is None else {"localhost", *(name.lower() for name in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            if refusal is not None:
                await problems.response(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> RequestError | None:
        headers = Headers(scope=scope)
        if self._hosts is not None and not self._is_ours(headers.get("host", "")):
            return RequestError(
                421,
                "unknown_host",
                "expected a request to an address or to localhost, found another name in Host; "
                "without API keys other names are to be allowed with --allow-host",
            )
        if scope["method"] not in READING and self._is_across(headers):
            return RequestError(
                403,
                "cross_site",
                "expected no page of another site to send this, found one that does; call the API "
                "from a program or from this server's own pages; a proxy has to pass Host on",
            )
        return None

    def _is_across(self, headers: Headers) -> bool:
        """Whether a page of another site sends this, one that is not listed."""
        return headers.get("origin", "") not in self._origins and _is_across(headers)

    def _is_ours(self, host: str) -> bool:
        assert self._hosts is not None
        name, is_address = _read(host)
        return is_address or name in self._hosts


def read_origins(given: Collection[str]) -> tuple[str, ...]:
    """Origins as browsers write them: scheme, host, and a port that is not the scheme's own.

    Raises:
        InputError: one is no origin, or stands for all: pages of any site would ask in the name of
            whoever opens them.
    """
    return tuple(dict.fromkeys(map(_origin, given)))


def _origin(given: str) -> str:
    found = _ORIGIN.fullmatch(given.strip().lower())
    if found is None or int(found["port"] or 0) > MOST_PORT:
        raise InputError(
            f"expected an origin such as https://search.example or http://localhost:3000, found "
            f"{given!r}; list each site by its scheme, host and port alone"
        )
    own = {"http": "80", "https": "443"}[found["scheme"]]
    port = found["port"]
    return f"{found['scheme']}://{found['host']}" + (f":{port}" if port not in (None, own) else "")


def _is_across(headers: Headers) -> bool:
    """Whether a page of another site sends this, as far as the browser says so."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site in ACROSS or origin is None or site == "same-origin":
        return site in ACROSS
    scheme, _, host = origin.lower().partition("://")
    port = {"http": ":80", "https": ":443"}.get(scheme, "")
    return host.removesuffix(port) != headers.get("host", "").lower().removesuffix(port)


@lru_cache(maxsize=1024)  # a client says the same one with each request
def _read(host: str) -> tuple[str, bool]:
    """The name in a Host header, and whether it is an address."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # no closing bracket
        return "", False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name, False
    return name, True
