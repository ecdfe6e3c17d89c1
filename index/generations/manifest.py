"""The manifest: which files make up one generation of a collection, and how they were made.

``CURRENT`` is one line, ``tamis FORMAT manifest-NNNNNN.json XXH3``; it is replaced in one step, so
a folder holds the old generation or the new one. A folder without it is not an index (yet).

A format is a number, and parts: what a later version stores beside what this one knows is a part
with a name, and the manifest says who must know it. Nobody does where it can be left unread and
made again, as summaries can; writers do where they would lose it, and readers where answers would
be wrong without it. Who must know a part and does not refuses the collection by the part's name.

Who reads a generation holds a shared lock on its manifest, a `Pin`; files are removed only with
an exclusive lock on every manifest that names them. The system lets go of a dead process's locks.
"""

from __future__ import annotations

import os
import re
import weakref
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import xxhash

from tamis.index.errors import CorruptionError, FormatError, InputError
from tamis.index.files import system
from tamis.index.files.file_entry import FileEntry  # noqa: TC001  msgspec reads it at run time
from tamis.index.files.storage import RESTORE, Storage
from tamis.index.generations.settings import CollectionSettings
from tamis.index.segment.blocks import PART
from tamis.index.segment.calibration import Calibration
from tamis.index.segment.quantize import Precision  # noqa: TC001  msgspec reads it at run time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FORMAT = 3
READABLE = (2, FORMAT)  # formats that open as they are; the next generation has this one
UPGRADABLE = (1, 2)  # formats that `tamis upgrade` brings to this one
KNOWN_PARTS = frozenset({PART})  # that manifests name, beside those that every segment has
CURRENT = "CURRENT"
BUILD = "build"  # folder of an unfinished build
_CURRENT_LINE = re.compile(r"tamis (\d+) (manifest-\d{6,}\.json) ([0-9a-f]{16})\n")
_MANIFEST_NAME = re.compile(r"manifest-(\d{6,})\.json")


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """One segment as a generation sees it.

    Attributes:
        name: its folder.
        documents: how many it holds, deleted ones included.
        deleted: how many of them are deleted.
        deletions: the file with one bit a document, set where it is deleted; None without any.
        compact: whether it numbers its terms itself; then ``terms.ids`` gives the collection's.
        tells_origins: whether it says where vectors come from; segments of formats before 3 do not.
        with_words: how many of its documents that are not deleted hold a word of the lexical
            channel; None in segments of formats before 3.
        calibration: which knobs reach which recall.
    """

    name: str
    documents: int
    deleted: int = 0
    deletions: str | None = None
    compact: bool = False
    tells_origins: bool = False
    with_words: int | None = None
    calibration: Calibration = field(default_factory=Calibration)

    @property
    def live(self) -> int:
        """Documents that are not deleted."""
        return self.documents - self.deleted


@dataclass(frozen=True, slots=True)
class Manifest:
    """One generation.

    Attributes:
        generation: counts from 1; every change of the collection adds one.
        created: UTC time in ISO 8601.
        written_by: the version of Tamis that wrote it.
        documents: number of documents, deleted ones left out.
        vocab_size: terms of both channels together.
        segments: oldest first; their documents are numbered one after the other.
        log: number of the first log whose writes are not in the segments.
        settings: how it was made.
        precision: how weights are stored, see quantize.py.
        files: every file of this generation but CURRENT, the manifest itself and the logs.
        identity: of the collection through all its generations, drawn when it was made; empty in
            collections of earlier versions.
        format: by whose rules it was written.
        parts: what else it holds, in files that begin with this name in the folders of segments, or
            anywhere: who must know it, ``nobody``, ``writers`` or ``readers``.
    """

    generation: int
    created: str
    written_by: str
    documents: int
    vocab_size: int
    segments: tuple[SegmentEntry, ...]
    log: int
    precision: Precision = "f32"
    settings: CollectionSettings = field(default_factory=CollectionSettings)
    files: dict[str, FileEntry] = field(default_factory=dict)
    identity: str = ""
    format: int = 2
    parts: dict[str, str] = field(default_factory=dict)

    @property
    def with_words(self) -> int:
        """Documents that hold a word of the lexical channel; where it is not told, all count."""
        counts = ((entry.with_words, entry.live) for entry in self.segments)
        return sum(live if told is None else told for told, live in counts)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size_bytes for entry in self.files.values())

    @property
    def calibration(self) -> Calibration:
        """That of the largest segment."""
        largest = max(self.segments, key=lambda segment: segment.live, default=None)
        return largest.calibration if largest is not None else Calibration()


def parts_of(before: Mapping[str, str], files: Iterable[str]) -> dict[str, str]:
    """`Manifest.parts` of a generation of these files: those there were, and blocks if any."""
    with_blocks = any(name.rpartition("/")[2].startswith(f"{PART}.") for name in files)
    others = {part: knower for part, knower in before.items() if part != PART}
    return others | ({PART: "nobody"} if with_blocks else {})


def now() -> str:
    """UTC time in ISO 8601, for `Manifest.created`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def manifest_name(generation: int) -> str:
    """The file of a generation's manifest."""
    return f"manifest-{generation:06}.json"


def generations(storage: Storage) -> list[int]:
    """The generations whose manifests lie in a folder, rising."""
    found = (_MANIFEST_NAME.fullmatch(name) for name in storage.names())
    return sorted(int(match[1]) for match in found if match)


def publish(storage: Storage, manifest: Manifest) -> None:
    """Make a generation the current one. All its files must be on disk already."""
    name = manifest_name(manifest.generation)
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    storage.write(name, data)
    storage.sync_folder()
    storage.replace(CURRENT, current_line(manifest, data))


def current_line(manifest: Manifest, data: bytes) -> bytes:
    """What ``CURRENT`` holds when a manifest, of these bytes, is the current one."""
    name = manifest_name(manifest.generation)
    return f"tamis {manifest.format} {name} {xxhash.xxh3_64_hexdigest(data)}\n".encode()


def read_current(storage: Storage) -> Manifest:
    """The manifest of the current generation, its own bytes verified.

    Raises:
        FormatError: the folder is no index, of another format, or an unfinished build.
        CorruptionError: ``CURRENT`` or the manifest is damaged.
    """
    manifest, pin = pin_current(storage)
    pin.release()
    return manifest


class Pin:
    """Keeps the files of a generation in place until it is released, or forgotten.

    A ``with`` block that fails releases it; one that does not leaves it to what the block makes.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._close = weakref.finalize(self, os.close, handle)

    @staticmethod
    def of(storage: Storage, generation: int) -> Pin:
        """Pin a generation whose manifest is known.

        Raises:
            CorruptionError: its manifest is gone.
        """
        path = storage.path(manifest_name(generation))
        handle = _lock_shared(path)
        if handle is None:
            raise CorruptionError(
                f"{path}: expected the manifest of an open generation, found no file; {RESTORE}"
            )
        return Pin(handle)

    def __enter__(self) -> Pin:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self.release()

    def again(self) -> Pin:
        """A second one, which keeps the files when this one is released."""
        return Pin(os.dup(self._handle))

    def release(self) -> None:
        """Let go; a second time does nothing."""
        self._close()


def pin_current(storage: Storage) -> tuple[Manifest, Pin]:
    """Read and pin the current generation; raises as `read_current`."""
    line = read_current_line(storage)
    while True:
        name, checksum = line
        handle = _lock_shared(storage.path(name))
        if handle is not None:
            with Pin(handle) as pin:
                return decode_manifest(storage, name, checksum), pin
        again = read_current_line(storage)
        if again == line:
            raise CorruptionError(
                f"{storage.path(name)}: expected the manifest that {CURRENT} names, found no "
                f"file; {RESTORE}"
            )
        line = again


def read_bytes(storage: Storage, name: str, checksum: str) -> bytes:
    """A file's bytes, which must have this checksum."""
    data = storage.read(name)
    found = xxhash.xxh3_64_hexdigest(data)
    if found != checksum:
        raise CorruptionError(
            f"{storage.path(name)}: expected checksum {checksum}, found {found}; {RESTORE}"
        )
    return data


def decode_manifest(storage: Storage, name: str, checksum: str) -> Manifest:
    """A manifest whose bytes have this checksum."""
    return _decoded(storage, name, read_bytes(storage, name, checksum))


def decode_unnamed(storage: Storage, name: str) -> Manifest:
    """A manifest that ``CURRENT`` does not vouch for; raises FormatError when it is damaged."""
    return _decoded(storage, name, storage.read(name))


def _decoded(storage: Storage, name: str, data: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(
            f"{storage.path(name)}: expected a manifest of format {FORMAT}, found {error}; "
            "rebuild it with `tamis index`"
        ) from error
    _refuse_unknown(storage, manifest, "read", frozenset({"nobody", "writers"}))
    return manifest


def refuse_unwritable(storage: Storage, manifest: Manifest) -> None:
    """Raise FormatError where a generation holds what a writer of this version would lose."""
    _refuse_unknown(storage, manifest, "change", frozenset({"nobody"}))


def _refuse_unknown(storage: Storage, manifest: Manifest, do: str, free: frozenset[str]) -> None:
    """Refuse parts that this version does not know, but for those that ``free`` must know."""
    unknown = [
        part
        for part, knower in manifest.parts.items()
        if part not in KNOWN_PARTS and knower not in free
    ]
    if unknown:
        raise FormatError(
            f"{storage.root}: expected no parts that this version cannot {do}, found "
            f"{', '.join(map(repr, sorted(unknown)))} of tamis {manifest.written_by}; use that "
            "version, or rebuild the index with `tamis index`"
        )


def remove_unpinned(storage: Storage, generation: int) -> bool:
    """Remove a generation's manifest unless somebody reads it, here or in another process."""
    handle = os.open(storage.path(manifest_name(generation)), os.O_RDONLY)
    try:
        if not system.lock_alone(handle):
            return False
        storage.remove(manifest_name(generation))
    finally:
        os.close(handle)
    return True


def _lock_shared(path: str) -> int | None:
    """A handle that holds a shared lock on a file; None when the file is gone."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        system.lock_shared(handle)  # waits for a remover, who is quick
        is_gone = os.fstat(handle).st_nlink == 0
    except BaseException:
        os.close(handle)
        raise
    if is_gone:
        os.close(handle)
        return None
    return handle


def read_current_line(storage: Storage, expected: tuple[int, ...] = READABLE) -> tuple[str, str]:
    """The name and checksum of the current manifest, of an index of an ``expected`` format."""
    found_format, name, checksum = _current_fields(storage)
    if found_format not in expected:
        raise FormatError(
            f"{storage.root} has format {found_format}, this version reads "
            f"{' and '.join(map(str, READABLE))}; {_remedy(found_format)}"
        )
    return name, checksum


def refuse_existing(storage: Storage) -> None:
    """Raise InputError when the folder holds a finished index."""
    if storage.exists(CURRENT):
        raise InputError(
            f"{storage.root}: expected no index there yet, found one; "
            "delete the folder or choose another"
        )


def format_of(storage: Storage) -> int:
    """The format of an index; raises as `read_current`, but for the format."""
    return _current_fields(storage)[0]


def named_by_current(storage: Storage) -> str | None:
    """The manifest that ``CURRENT`` names, whole or not; None when it names none."""
    try:
        return _current_fields(storage)[1]
    except FormatError:
        return None


def _current_fields(storage: Storage) -> tuple[int, str, str]:
    if not storage.exists(CURRENT):
        raise _not_an_index(storage)
    line = storage.read(CURRENT).decode("utf-8", errors="replace")
    match = _CURRENT_LINE.fullmatch(line)
    if match is None:
        raise CorruptionError(
            f"{storage.path(CURRENT)}: expected 'tamis FORMAT MANIFEST CHECKSUM', found "
            f"{line[:80]!r}; {RESTORE}"
        )
    return int(match[1]), match[2], match[3]


def _remedy(found_format: int) -> str:
    if found_format in UPGRADABLE:
        return "bring it to this format with `tamis upgrade DIR`"
    return "use the version of Tamis that wrote it, or rebuild it with `tamis index`"


def _not_an_index(storage: Storage) -> FormatError:
    root: Path = storage.root
    if not root.exists():
        return FormatError(f"{root}: expected an index folder, found nothing; check the path")
    if storage.exists(BUILD):
        return FormatError(
            f"{root}: expected a finished index, found an unfinished build; "
            "continue it with `tamis index ... --resume`"
        )
    return FormatError(
        f"{root}: expected an index folder with a file {CURRENT}, found none; "
        "build one with `tamis index CORPUS --out DIR`"
    )
