"""Settings: how a server is set up, from a file, the environment and flags; the later ones win."""

from __future__ import annotations

import os
import tomllib
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tamis.api.limits import Limits
from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PREFIX = "TAMIS_SERVE_"
_LIMITS = "limits"
_LISTS = ("indexes", "allow_host", "cors_origin", "encoder")


class Settings(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One server.

    Attributes:
        indexes: folders that are only read, or NAME=FOLDER.
        data: folder of the indexes that clients create; None for none.
        host: address to listen on.
        port: 0 picks a free one.
        encoder: where the own encoders of indexes lie now, if elsewhere than they lay.
        api_key_file: file with a key a line; None asks for no keys, on loopback alone.
        allow_host: names to answer to without keys, beside addresses and ``localhost``.
        cors_origin: other sites whose pages may ask, such as ``https://search.example``.
        mcp: answer the Model Context Protocol at ``/mcp`` too.
        log_level: what goes to standard error.
        encoders: location of each encoder that clients may name, beside ``default``.
        limits: see `Limits`.
    """

    indexes: tuple[str, ...] = ()
    data: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    encoder: tuple[str, ...] = ()
    api_key_file: str | None = None
    allow_host: tuple[str, ...] = ()
    cors_origin: tuple[str, ...] = ()
    mcp: bool = False
    log_level: Literal["info", "warning", "error"] = "warning"
    encoders: dict[str, str] = {}
    limits: Limits = msgspec.field(default_factory=Limits)


def read_settings(
    file: Path | None, flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> Settings:
    """The settings of a file, over which go the environment's, over which go the flags.

    Args:
        file: TOML with the names of `Settings`; None for none.
        flags: by name; None where one was not given.
        environment: ``TAMIS_SERVE_PORT`` and so on, ``TAMIS_SERVE_LIMITS_K`` for a limit. Lists
            are separated by commas.

    Raises:
        InputError: a file cannot be read, or a setting is unknown or of a wrong kind; the message
            says where it stands.
    """
    merged: dict[str, Any] = {}
    of_flags = {name: value for name, value in flags.items() if value is not None}
    for place, given in (
        (str(file), _of_file(file) if file is not None else {}),
        ("environment", _of_environment(environment)),
        ("command line", of_flags),
    ):
        limits = {**merged.get(_LIMITS, {}), **given.get(_LIMITS, {})}
        merged = {**merged, **given, **({_LIMITS: limits} if limits else {})}
        _check_limit_names(place, limits)
        try:
            settings = msgspec.convert(merged, Settings, strict=False)
        except msgspec.ValidationError as error:
            raise InputError(f"{place}: expected settings of a server, found {error}") from None
    return settings


def with_connections(settings: Settings, connections: int) -> Settings:
    """The settings with another limit of connections."""
    limits = replace(settings.limits, connections=connections)
    return msgspec.structs.replace(settings, limits=limits)


def _of_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"{file}: expected settings as TOML, found none to read ({error}); check the file"
        ) from error


def _of_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable, value in environment.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name.startswith(f"{_LIMITS}_"):
            found.setdefault(_LIMITS, {})[name.removeprefix(f"{_LIMITS}_")] = value
        else:
            found[name] = value.split(",") if name in _LISTS else value
    return found


def _check_limit_names(place: str, limits: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(Limits)]
    for name in limits:
        if name not in known:
            raise InputError(
                f"{place}: expected limits of {', '.join(known)}, found {name!r}; correct the name"
            )
