"""BuildHere: in the place of a `BuildProcess` where this process has nothing else to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamis.index.generations.garbage import remove_unused
from tamis.index.writing.segment_request import carry_out
from tamis.index.writing.switch_interval import short_switch_interval

if TYPE_CHECKING:
    from collections.abc import Collection as Names

    from tamis.index.files.progress import Progress
    from tamis.index.files.storage import Storage
    from tamis.index.generations.manifest import Manifest
    from tamis.index.writing.segment_request import SegmentRequest, Written


class BuildHere:
    """Writes segments, and clears away, in this process."""

    def write(
        self, request: SegmentRequest, storage: Storage, lock: int, progress: Progress
    ) -> Written:
        """`carry_out` under a short switch interval; the lock is held already."""
        with short_switch_interval():
            return carry_out(request, storage, progress)

    def remove_unused(
        self, storage: Storage, lock: int, current: Manifest, busy: Names[str]
    ) -> None:
        """`garbage.remove_unused`; the lock is held already."""
        remove_unused(storage, current, busy)
