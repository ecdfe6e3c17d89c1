"""Removing what no generation needs any more: files, manifests, logs."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from tamis.index.errors import FormatError
from tamis.index.files.wal import log_name, log_numbers
from tamis.index.generations.draft import DELETIONS, DICTIONARY, SEGMENTS
from tamis.index.generations.manifest import (
    CURRENT,
    Manifest,
    generations,
    manifest_name,
    read_current,
    remove_unpinned,
)

if TYPE_CHECKING:
    from collections.abc import Collection as Names

    from tamis.index.files.storage import Storage


def remove_unused(storage: Storage, current: Manifest, busy: Names[str] = ()) -> None:
    """Remove generations that nobody reads, and every file that none of the others names.

    Generations after the current one are what a stop left behind. A step that fails is left for
    the next time: nothing depends on it. Nothing is removed beside a manifest that cannot be read.

    Args:
        storage: the folder, whose only writer is the caller.
        current: the current generation.
        busy: folders of segments in the making.
    """
    with suppress(OSError, msgspec.DecodeError):
        kept = [current]
        for generation in generations(storage):
            if generation == current.generation:
                continue
            if not remove_unpinned(storage, generation):
                kept.append(_manifest(storage, generation))
        _sweep(storage, kept, busy)


class Sweep(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An order to remove what is unused in a folder, for another process.

    Attributes:
        root: the folder, as the system has it.
        busy: folders of segments in the making.
    """

    root: bytes
    busy: list[str]

    @staticmethod
    def of(storage: Storage, busy: Names[str]) -> Sweep:
        """The order for a folder."""
        return Sweep(os.fsencode(storage.root.absolute()), list(busy))

    def carry_out(self, storage: Storage) -> None:
        """`remove_unused`; nothing where the current manifest cannot be read."""
        with suppress(OSError, FormatError):
            remove_unused(storage, read_current(storage), self.busy)


def _manifest(storage: Storage, generation: int) -> Manifest:
    """The manifest of a generation that somebody has opened, and so verified."""
    return msgspec.json.decode(storage.read(manifest_name(generation)), type=Manifest)


def _sweep(storage: Storage, kept: list[Manifest], busy: Names[str]) -> None:
    needed = {name for manifest in kept for name in manifest.files}
    folders = {entry.name for manifest in kept for entry in manifest.segments} | set(busy)
    for name in storage.names(SEGMENTS):
        if f"{SEGMENTS}/{name}" not in folders:
            storage.remove_folder(f"{SEGMENTS}/{name}")
    for folder in (DELETIONS, DICTIONARY):
        for name in storage.names(folder):
            if f"{folder}/{name}" not in needed:
                storage.remove(f"{folder}/{name}")
    first = min(manifest.log for manifest in kept)
    for number in log_numbers(storage):
        if number < first:
            storage.remove(log_name(number))
    if storage.exists(f"{CURRENT}.new"):
        storage.remove(f"{CURRENT}.new")
