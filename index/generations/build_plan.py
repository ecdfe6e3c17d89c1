"""The settings of a build, kept beside it while it is unfinished: it goes on with no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from tamis.index.errors import InputError, MismatchError
from tamis.index.generations.manifest import BUILD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tamis.index.files.storage import Storage

PLAN = f"{BUILD}/plan.json"


def begin_or_go_on(storage: Storage, settings: Mapping[str, Any], resume: bool) -> None:
    """Make the build folder, or check that what lies there was begun with these settings.

    Args:
        storage: the collection's folder, locked.
        settings: of the build, JSON values by name.
        resume: go on with what lies there.

    Raises:
        InputError: there is an unfinished build, and it is not to be resumed.
        MismatchError: it was begun with other settings; the message names those that differ.
    """
    if not storage.exists(PLAN):
        storage.remove_folder(BUILD)
        storage.make_folder(BUILD)
        storage.replace(PLAN, orjson.dumps(settings))
        return
    if not resume:
        raise InputError(
            f"{storage.root}: expected an empty folder, found an unfinished build; "
            "go on with --resume, or delete the folder"
        )
    begun, now = orjson.loads(storage.read(PLAN)), orjson.loads(orjson.dumps(settings))
    if begun != now:
        raise MismatchError(
            f"{storage.root}: expected the settings that the unfinished build was begun with, "
            f"found {'; '.join(differences(begun, now))}; "
            "give those of its beginning, or delete the folder to begin again"
        )


def differences(
    begun: Mapping[str, Any], now: Mapping[str, Any], within: str = ""
) -> Iterator[str]:
    """Say of each setting that differs what it is now and was at the beginning."""
    for name in sorted({*begun, *now}):
        before, after = begun.get(name), now.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from differences(before, after, f"{within}{name} ")
        elif before != after:
            yield f"{within}{name} {_shown(after)} where it was {_shown(before)}"


def _shown(value: Any) -> str:  # noqa: ANN401  a JSON value
    """A value in a few words: of many settings together, the one they are known by."""
    if value is None:
        return "none"
    if isinstance(value, dict):
        known_by = value.get("name") or value.get("language")
        return str(known_by or ", ".join(f"{name} {one}" for name, one in value.items()) or "none")
    return str(value) or "not given"
