"""Tuning: an index's tables from recall to knobs, made again with real queries."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from tamis.index.errors import InputError
from tamis.index.files.lock import FolderLock
from tamis.index.files.storage import Storage
from tamis.index.generations.garbage import remove_unused
from tamis.index.generations.manifest import (
    Manifest,
    now,
    pin_current,
    publish,
    refuse_unwritable,
)
from tamis.index.generations.parts import open_parts
from tamis.index.index import check_queries
from tamis.index.segment.calibration import FEWEST, Sample, calibrate

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.index.vectors import SparseVectors


def tune(path: str | Path, queries: SparseVectors) -> Manifest:
    """Calibrate every segment with queries like those to come, and publish the tables.

    Args:
        path: a folder written by `Index.build` or ``tamis index``; searches go on meanwhile.
        queries: over the index's terms, at least 50 of up to 16 terms, or of more, or of both:
            a class with fewer is searched exactly.

    Returns:
        The new generation.

    Raises:
        FormatError: no index, or one of another format or with parts of a later one.
        InputError: there are too few queries to measure with.
        LockedError: another process writes there.
        MismatchError: the queries use another vocabulary.
    """
    if len(queries) < FEWEST:
        raise InputError(
            f"expected at least {FEWEST} queries to measure with, found {len(queries)}; give more"
        )
    storage = Storage(path)
    with FolderLock(storage):
        manifest, pin = pin_current(storage)
        refuse_unwritable(storage, manifest)
        check_queries(queries, manifest.vocab_size)
        tuned = replace(
            manifest,
            generation=manifest.generation + 1,
            created=now(),
            written_by=version("tamis"),
            segments=tuple(
                replace(
                    part.entry,
                    calibration=calibrate(part.stored.segment, Sample(part.local(queries))),
                )
                for part in open_parts(storage, manifest)
            ),
        )
        publish(storage, tuned)
        pin.release()
        remove_unused(storage, tuned)
    return tuned
