"""Splitting an index into shards: a data folder for the server of each, and a map of them."""

from __future__ import annotations

import json
from shutil import rmtree
from typing import TYPE_CHECKING

from tamis.api.broker.shard_map import ShardMap, ShardPlace, equal_ranges, read_shard_map
from tamis.api.serving.catalog import check_name
from tamis.api.serving.places import INDEXES
from tamis.index.errors import InputError
from tamis.index.files.progress import Progress, silent
from tamis.index.files.storage import Storage
from tamis.index.generations.manifest import read_current
from tamis.index.upkeep.splitting import split_collection

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.index.generations.manifest import Manifest

MAP, ORIGIN = "shards.toml", "origin.json"
FIRST_PORT = 8081  # of the addresses that a map begins with


def split_index(
    source: Path, out: Path, shards: int, name: str, progress: Progress | None = None
) -> list[int]:
    """Split an index, which stays as it is; how many documents each shard holds.

    Args:
        source: a folder of ``tamis index``.
        out: the folder to write; what was begun there is begun again.
        shards: how many.
        name: of the index on all servers.
        progress: told of each shard.

    Raises:
        InputError: the name is none, or the folder holds something else.
    """
    check_name(name)
    _refuse_other(out)
    manifest = read_current(Storage(source))
    places = [
        ShardPlace(f"s{number}", [f"http://127.0.0.1:{FIRST_PORT + number - 1}"], hashes)
        for number, hashes in enumerate(equal_ranges(shards), start=1)
    ]
    recorded = manifest.settings.encoder
    shard_map = ShardMap(name, places, encoder=recorded.location if recorded else None)
    is_chunked = manifest.settings.chunk is not None
    out.mkdir(parents=True, exist_ok=True)
    (out / ORIGIN).write_text(json.dumps(_origin(manifest)))  # what else is here is a split's
    folders = [out / place.name / INDEXES / name for place in places]
    for folder in folders:
        folder.mkdir(parents=True)
    counts = split_collection(
        source,
        folders,
        lambda doc_id: shard_map.shard_of(doc_id, is_chunked=is_chunked),
        progress or silent,
    )
    (out / MAP).write_text(as_toml(shard_map), encoding="utf-8")  # the last: now it is whole
    return counts


def shards_of(source: Path, out: Path, shards: int) -> ShardMap | None:
    """The map of an index that was split into a folder before; None where it was not.

    Raises:
        InputError: the index has changed since, or there are more or fewer shards.
    """
    if not (out / MAP).exists():
        return None
    found = read_shard_map(out / MAP)
    if len(found.shards) != shards:
        raise InputError(
            f"{out}: expected {shards} shards, found {len(found.shards)}; ask for so many"
        )
    if source != out:
        origin = json.loads((out / ORIGIN).read_text())
        now = _origin(read_current(Storage(source)))
        if origin != now:
            raise InputError(
                f"{out}: expected shards of {source} as it is now, found those of generation "
                f"{origin['generation']}, and it is at {now['generation']}; serve {out} in its "
                "place, or remove it to split again"
            )
    return found


def _origin(manifest: Manifest) -> dict[str, str | int]:
    return {"identity": manifest.identity, "generation": manifest.generation}


def _refuse_other(out: Path) -> None:
    """Remove an unfinished split, and refuse a folder that holds anything else (InputError)."""
    held = {one.name for one in out.iterdir()} if out.is_dir() else set()
    is_unfinished = ORIGIN in held and MAP not in held
    if out.is_file() or (held and not is_unfinished):
        raise InputError(f"{out}: expected an empty folder, found something there; choose another")
    for name in held - {ORIGIN}:
        rmtree(out / name)


def as_toml(shard_map: ShardMap) -> str:
    """A map as `read_shard_map` reads it; what has its default is left out."""
    lines = [f"index = {json.dumps(shard_map.index)}"]
    if shard_map.encoder is not None:
        lines.append(f"encoder = {json.dumps(shard_map.encoder)}")
    for place in shard_map.shards:
        lines += [
            "",
            "[[shards]]",
            f"name = {json.dumps(place.name)}",
            f"addresses = {json.dumps(place.addresses)}",
            f"hashes = {json.dumps(list(place.hashes))}",
        ]
    return "\n".join([*lines, ""])
