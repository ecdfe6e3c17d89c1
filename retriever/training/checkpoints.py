"""Checkpoints: exact ones to go on with on the same machine, and portable ones that travel.

An exact checkpoint holds weights, averages and the optimiser in float32. A portable one
holds the averaged weights in float16 shards of at most 15 MiB; training goes on from it with a
fresh optimiser, warmed up again. Both hold the step, from which batches and schedules follow.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tamis.index.errors import FormatError, MismatchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SHARD_BYTES = 15 << 20
STATE_FILE = "state.json"


def draft_checkpoint(
    folder: Path, groups: Mapping[str, Mapping[str, torch.Tensor]], state: Mapping[str, Any]
) -> None:
    """Write a checkpoint beside ``folder``, for `publish_checkpoint` to put in its place.

    Args:
        folder: where it will stand.
        groups: tensors by name, one file a group (several if it is larger than a shard).
        state: numbers that go with them.
    """
    new = _beside(folder, "new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for group, tensors in groups.items():
        for i, shard in enumerate(_shards(tensors)):
            save_file(shard, str(new / f"{group}-{i}.safetensors"))
    (new / STATE_FILE).write_text(json.dumps(state, indent=2))


def publish_checkpoint(folder: Path) -> None:
    """Let the drafted checkpoint replace the one before."""
    old = _beside(folder, "old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(_beside(folder, "new"), folder)
    shutil.rmtree(old, ignore_errors=True)


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(f"{folder.name}.{ending}")


def load_checkpoint(
    folder: Path, fingerprint: str
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    """Read what `publish_checkpoint` put in place.

    Args:
        folder: of the checkpoint.
        fingerprint: of the configuration that goes on.

    Raises:
        FormatError: there is no whole checkpoint.
        MismatchError: another configuration wrote it.
    """
    if not folder.exists():
        folder = _beside(folder, "old")  # a stop between the two steps of replacing
    try:
        state = json.loads((folder / STATE_FILE).read_text())
        groups: dict[str, dict[str, torch.Tensor]] = {}
        for path in sorted(folder.glob("*.safetensors")):
            groups.setdefault(path.stem.rsplit("-", 1)[0], {}).update(load_file(str(path)))
    except (OSError, ValueError, SafetensorError) as error:
        raise FormatError(
            f"{folder}: expected a checkpoint of a training, found none ({error}); "
            "train without --resume"
        ) from error
    if not isinstance(state, dict) or state.get("fingerprint") != fingerprint:
        raise MismatchError(
            f"{folder}: expected a checkpoint of this configuration, found another's; restore the "
            "configuration, or train into another run.out"
        )
    return groups, state


@contextlib.contextmanager
def restoring(folder: Path) -> Iterator[None]:
    """Tell in one line that a checkpoint lacks what a training goes on from, as older ones do.

    Raises:
        FormatError: a tensor or a number is missing, or of another shape.
    """
    try:
        yield
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FormatError(
            f"{folder}: expected a checkpoint that this version of tamis wrote for these models, "
            f"found one without or with another {reason}; train without --resume"
        ) from error


def _shards(tensors: Mapping[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    """Tensors in parts that fit a shard; one that does not fit is cut into rows `name@first`."""
    shard: dict[str, torch.Tensor] = {}
    size = 0
    for name, tensor in _pieces(tensors):
        if shard and size + tensor.nbytes > SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor.contiguous()
        size += tensor.nbytes
    if shard:
        yield shard


def _pieces(tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in tensors.items():
        if tensor.nbytes <= SHARD_BYTES:
            yield name, tensor
            continue
        rows = max(1, SHARD_BYTES // (tensor.nbytes // len(tensor)))
        for first in range(0, len(tensor), rows):
            yield f"{name}@{first}", tensor[first : first + rows].clone()


def whole_tensors(pieces: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Put the rows of cut tensors together again."""
    cut: dict[str, dict[int, torch.Tensor]] = {}
    for name, tensor in pieces.items():
        base, _, first = name.partition("@")
        cut.setdefault(base, {})[int(first or 0)] = tensor
    return {
        name: torch.cat([rows[at] for at in sorted(rows)]) if len(rows) > 1 else rows[0]
        for name, rows in cut.items()
    }
