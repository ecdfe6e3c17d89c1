"""What the service answers to changes. Knows nothing of HTTP.

orjson writes the dataclasses as they are, and openapi.py describes them from these definitions.
"""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class LineProblem:
    """Why a line of a stream was not written.

    Attributes:
        line: from 1.
        id: the document's, where it could be read.
        code: for a program.
        detail: for a person.
    """

    line: int
    id: str | None
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class IngestAnswer:
    """What became of a stream of documents.

    Attributes:
        took_ms: milliseconds from the first byte.
        written: how many documents were written; of two with one id the later counts.
        failed: how many lines were not.
        problems: of the first thousand such lines.
        generation: that searches read when this was answered.
    """

    took_ms: float
    written: int
    failed: int
    problems: tuple[LineProblem, ...]
    generation: int


@dataclass(frozen=True, slots=True)
class WriteAnswer:
    """A document was written.

    Attributes:
        id: the document's.
        replaced: whether there was one with this id.
        generation: that searches read when this was answered.
    """

    id: str
    replaced: bool
    generation: int


@dataclass(frozen=True, slots=True)
class DeleteAnswer:
    """How many documents were deleted, and the generation that searches read then."""

    deleted: int
    generation: int


@dataclass(frozen=True, slots=True)
class RemovedAnswer:
    """What was removed, by name."""

    removed: str


@dataclass(frozen=True, slots=True)
class AliasAnswer:
    """An alias and the index that it stands for."""

    alias: str
    index: str


@dataclass(frozen=True, slots=True)
class AliasesAnswer:
    """All aliases of this server."""

    aliases: tuple[AliasAnswer, ...]


@dataclass(frozen=True, slots=True)
class SnapshotAnswer:
    """A snapshot.

    Attributes:
        name: of the snapshot.
        index: it is of.
        identity: BLAKE3 over all its files: equal for equal contents.
        created: UTC time in ISO 8601.
        generation: of the index.
        documents: how many.
    """

    name: str
    index: str
    identity: str
    created: str
    generation: int
    documents: int


@dataclass(frozen=True, slots=True)
class SnapshotsAnswer:
    """The snapshots of an index, oldest first."""

    snapshots: tuple[SnapshotAnswer, ...]


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """A long piece of work.

    Attributes:
        id: its number.
        kind: what it does.
        subject: what it does it to.
        status: how it stands; the last four are final.
        created: UTC seconds.
        updated: UTC seconds of the last change.
        done: units done.
        total: of so many; null while that is not known.
        message: the error of one that failed.
        result: what one that is done gave.
    """

    id: int
    kind: Literal["snapshot", "restore", "optimize"]
    subject: str
    status: Literal["waiting", "running", "done", "failed", "cancelled", "interrupted"]
    created: float
    updated: float
    done: int
    total: int | None
    message: str
    result: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class TasksAnswer:
    """Tasks, newest first."""

    tasks: tuple[TaskAnswer, ...]
