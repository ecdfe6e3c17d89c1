"""Pages: each one answer without external assets, under a policy that allows nothing else.

Styles and scripts are files of their own in ``pages/``; they are written into the page when the
application starts.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

from tamis.api.http.request_log import ROUTE

NOTHING = "'none'"
_STYLE = re.compile(r'<link rel="stylesheet" href="([a-z]+\.css)">')
_SCRIPT = re.compile(r'<script src="([a-z]+\.js)"></script>')
_INDENTATION = re.compile(r"^ +", re.MULTILINE)

Endpoint = Callable[[Request], Awaitable[Response]]


def page() -> Endpoint:
    """Read the search page and give its handler."""
    return page_of("/", assembled("search.html"))


def page_of(route: str, html: str) -> Endpoint:
    """The handler of a page.

    Args:
        route: where it stands.
        html: whole, its style and scripts in it.
    """
    headers = {
        "Content-Security-Policy": _policy(html),
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    content = html.encode()

    async def answer(request: Request) -> Response:
        request.scope[ROUTE] = route
        return Response(content, media_type="text/html", headers=headers)

    return answer


def assembled(name: str) -> str:
    """A page with the style and scripts it names written into it."""

    def style(found: re.Match[str]) -> str:
        return f"<style>\n{_read(found[1])}</style>"

    def script(found: re.Match[str]) -> str:
        return f"<script>\n{_read(found[1])}</script>"

    return _SCRIPT.sub(script, _STYLE.sub(style, _read(name)))


def _read(name: str) -> str:
    """A file without its indentation, which means nothing in it and weighs a twentieth."""
    text = resources.files("tamis.api").joinpath("pages", name).read_text("utf-8")
    return _INDENTATION.sub("", text)


def _policy(html: str) -> str:
    """A content security policy by which only this very script and style run."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hashes(html, 'script') or NOTHING}",
            f"style-src {_hashes(html, 'style') or NOTHING}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def _hashes(html: str, tag: str) -> str:
    blocks = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(block.encode()).digest()) for block in blocks)
    return " ".join(f"'sha256-{digest.decode()}'" for digest in digests)
