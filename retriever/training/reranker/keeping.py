"""What is kept of a training on lists while it runs, so that it can go on from before a fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tamis.retriever.training.checkpoints import (
    draft_checkpoint,
    load_checkpoint,
    publish_checkpoint,
    restoring,
    whole_tensors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch

    Groups = dict[str, dict[str, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Kept:
    """The checkpoint of one training.

    Attributes:
        folder: where it lies; None keeps nothing.
        fingerprint: of the training's settings.
    """

    folder: Path | None
    fingerprint: str = ""

    @property
    def exists(self) -> bool:
        """Whether there is one to go on from."""
        return self.folder is not None and self.folder.exists()

    def draft(
        self, groups: Mapping[str, Mapping[str, torch.Tensor]], state: Mapping[str, Any]
    ) -> None:
        """Write one that takes the place of the one before when it is published."""
        if self.folder is not None:
            draft_checkpoint(self.folder, groups, {**state, "fingerprint": self.fingerprint})

    def publish(self) -> None:
        """Let the draft take its place: its weights have given a finite loss."""
        if self.folder is not None:
            publish_checkpoint(self.folder)

    def restore(self, take: Callable[[Groups, dict[str, Any]], bool]) -> bool:
        """Give tensors by group, and the state, to ``take``, and its answer back.

        Raises:
            FormatError: there is no whole checkpoint, or it lacks what is taken.
            MismatchError: other settings wrote it.
        """
        if self.folder is None:
            return False
        pieces, state = load_checkpoint(self.folder, self.fingerprint)
        with restoring(self.folder):
            return take({name: whole_tensors(part) for name, part in pieces.items()}, state)


NOTHING = Kept(None)
