"""The HTTP door. Importing it imports no web framework; `create_app` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tamis.api.http.app import create_app
    from tamis.api.limits import Limits

__all__ = ["Limits", "create_app"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  whatever is asked for
    if name == "create_app":
        from tamis.api.http.app import create_app

        return create_app
    if name == "Limits":
        from tamis.api.limits import Limits

        return Limits
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
