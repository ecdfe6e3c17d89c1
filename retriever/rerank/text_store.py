"""What was computed of texts, kept beside a collection: bytes by text.

Texts are found by a hash: one that has changed since is simply not there, and one that has moved or
been renamed still is. A store is bound to the fingerprint of the model that filled it, and every
file to its checksum. Knows nothing of what the bytes mean, which each kind has a module for.
"""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import xxhash

from tamis.index.errors import (
    CorruptionError,
    FormatError,
    InputError,
    MismatchError,
    TamisWarning,
)
from tamis.index.interrupts import check_for_interrupts
from tamis.retriever.models.tensor_files import file_digest
from tamis.retriever.rerank.reranker import with_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Contents = Sequence[NDArray[np.uint8]]  # of some texts, an array of bytes each

ABOUT, CONTENTS, BOUNDS, HASHES = "store.json", "contents.bin", "bounds.bin", "hashes.bin"
FORMAT = 3
TEXTS_AT_ONCE = 64


class StoreKind(NamedTuple):
    """What a store holds.

    name:   as messages call it.
    folder: of a collection, where it lies.
    option: of ``tamis optimize`` that builds it.
    """

    name: str
    folder: str
    option: str

    @property
    def remedy(self) -> str:
        """How to have one."""
        return f"build it with `tamis optimize {self.option}`"


KEYS = StoreKind("document keys", "rerank-keys", "--rerank-cache")
VECTORS = StoreKind("dense vectors", "dense-vectors", "--dense-store ENCODER")


@dataclass(frozen=True, slots=True)
class About:
    """What ``store.json`` says of a store.

    Attributes:
        format: of the files.
        kind: the name of its `StoreKind`.
        fingerprint: of the model that filled it.
        texts: how many different texts it holds.
        settings: what its kind needs to read it.
        checksums: xxh3 of each file.
    """

    format: int
    kind: str
    fingerprint: str
    texts: int
    settings: dict[str, Any] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)


class TextStore:
    """Reads a store; safe to use from several threads.

    Attributes:
        about: what it holds, and whose.
        contents: ``[bytes]`` uint8, those of all texts one after the other.
        bounds: ``[texts + 1]`` int64, where each text's begin.
        size_bytes: of all its files but ``store.json``.
    """

    def __init__(self, folder: Path, about: About) -> None:
        """Map the files; see `open`."""
        self.about = about
        self.bounds = np.fromfile(folder / BOUNDS, np.int64)
        self.contents: NDArray[np.uint8] = np.empty(0, np.uint8)
        if self.bounds[-1]:
            self.contents = np.memmap(folder / CONTENTS, np.uint8, "r")
        hashes = np.fromfile(folder / HASHES, np.uint64).reshape(-1, 2)
        self._order = np.lexsort((hashes[:, 1], hashes[:, 0]))
        self._hashes = hashes[self._order]
        self.size_bytes = self.contents.nbytes + self.bounds.nbytes + hashes.nbytes

    @staticmethod
    def build(
        folder: Path,
        kind: StoreKind,
        fingerprint: str,
        texts: Iterable[str],
        compute: Callable[[list[str]], Contents],
        *,
        budget_bytes: int,
        settings: dict[str, Any] | None = None,
    ) -> TextStore:
        """Compute and write the contents of texts that have a visible character, each text once.

        A store that is there already is replaced when the new one is finished. What the same model
        has put into it is taken over: only new and changed texts are computed.

        Args:
            folder: of the store.
            kind: of the contents.
            fingerprint: of the model that computes them.
            texts: of the documents, as they will be reranked.
            compute: gives the contents of some texts.
            budget_bytes: refuse to write more.
            settings: what the kind needs to read them, as JSON values.

        Raises:
            InputError: the budget is too small.
        """
        draft = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        known = _known(folder, kind, fingerprint, settings or {})
        try:
            with (draft / CONTENTS).open("wb") as file:
                writer = _Writer(file, kind, budget_bytes)
                for some in _different(texts):
                    check_for_interrupts()
                    writer.add(some, _taken_over(known, some, compute))
            about = writer.finish(draft, fingerprint, settings or {})
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        _replace(folder, draft)
        return TextStore(folder, about)

    @staticmethod
    def open(folder: Path, kind: StoreKind, fingerprint: str) -> TextStore:
        """Open a store for the model that filled it.

        Raises:
            FormatError: there is no finished store.
            MismatchError: it is of another kind, or another model filled it.
            CorruptionError: a file differs from what was written.
        """
        about = read_about(folder, kind)
        if about.fingerprint != fingerprint:
            raise MismatchError(
                f"{folder}: expected {kind.name} by model {fingerprint}, found those by "
                f"{about.fingerprint}; {kind.remedy}"
            )
        for name in (CONTENTS, BOUNDS, HASHES):
            path = folder / name
            if not path.is_file() or _checksum(path) != about.checksums.get(name):
                raise CorruptionError(
                    f"{path}: expected the bytes that were written, found others or none; "
                    f"{kind.remedy}"
                )
        return TextStore(folder, about)

    def __len__(self) -> int:
        return self.about.texts

    def find(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Which of its texts these are ``[texts]``, for `bounds`; -1 for those it has not."""
        found = np.full(len(texts), -1, np.int64)
        if len(self._hashes) and len(texts):
            wanted = _hashes(texts)
            at = np.searchsorted(self._hashes[:, 0], wanted[:, 0])
            at = np.minimum(at, len(self._hashes) - 1)
            same = (self._hashes[at] == wanted).all(1)
            found[same] = self._order[at[same]]
        return found

    def missing(self, texts: Sequence[str]) -> int:
        """How many of these it has not, though they have a visible character."""
        return int((self.find([texts[at] for at in with_text(texts)[0]]) < 0).sum())

    def of(self, at: int) -> NDArray[np.uint8]:
        """The contents of one text that was found."""
        found: NDArray[np.uint8] = self.contents[self.bounds[at] : self.bounds[at + 1]]
        return found

    def gathered(self, at: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The contents of texts that were found, end to end, and where each begins and ends."""
        parts = [self.of(one) for one in at.tolist()]
        bounds = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return np.concatenate(parts or [self.contents[:0]]), bounds


class CurrentStore:
    """The store of a kind beside a collection as it is now: it may come, be replaced and go."""

    def __init__(self, collection: Path, kind: StoreKind, fingerprint: str) -> None:
        """Take the collection's folder, and the fingerprint of the model that reads the store."""
        self._folder, self._kind = collection / kind.folder, kind
        self._fingerprint = fingerprint
        self._opened: tuple[object, TextStore | None] = None, None  # which folder; None: no use

    def opened(self) -> TextStore | None:
        """The store; None where there is none, or another model's, of which a warning tells.

        Raises:
            CorruptionError: it is damaged.
        """
        now = self._now()
        while now != self._opened[0]:
            try:
                self._opened = now, self._open()
            except CorruptionError:
                if now == self._now():
                    raise
            now = self._now()  # another one may have taken its place while it was read
        return self._opened[1]

    def _now(self) -> tuple[int, int] | None:
        """Which folder is there."""
        try:
            stat = self._folder.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns

    def _open(self) -> TextStore | None:
        if self._now() is None:
            return None
        try:
            return TextStore.open(self._folder, self._kind, self._fingerprint)
        except CorruptionError:
            raise
        except (FormatError, MismatchError) as error:
            warnings.warn(f"{error}; texts are read instead", TamisWarning, stacklevel=2)
            return None


def read_about(folder: Path, kind: StoreKind) -> About:
    """What a store says of itself.

    Raises:
        FormatError: there is no finished store of this version.
        MismatchError: it is of another kind.
    """
    try:
        about = About(**json.loads((folder / ABOUT).read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise FormatError(
            f"{folder}: expected a finished store of {kind.name}, found none ({error}); "
            f"{kind.remedy}"
        ) from error
    if (about.format, about.kind) != (FORMAT, kind.name):
        raise MismatchError(
            f"{folder}: expected {kind.name} of format {FORMAT}, found {about.kind} of format "
            f"{about.format}; {kind.remedy}"
        )
    return about


class _Writer:
    """Appends texts to the files of a store, within a budget."""

    def __init__(self, file: BinaryIO, kind: StoreKind, budget_bytes: int) -> None:
        self._file, self._kind, self._budget = file, kind, budget_bytes
        self._bounds = [0]
        self._hashes: list[NDArray[np.uint64]] = [np.empty((0, 2), np.uint64)]

    def add(self, texts: Sequence[str], contents: Contents) -> None:
        self._hashes.append(_hashes(texts))
        for one in contents:
            self._bounds.append(self._bounds[-1] + one.nbytes)
        if self._bounds[-1] > self._budget:
            raise InputError(
                f"expected {self._kind.name} of at most {self._budget} bytes, found more after "
                f"{len(self._bounds) - 1} documents; raise the budget, or store less of each"
            )
        self._file.writelines(one.tobytes() for one in contents)

    def finish(self, folder: Path, fingerprint: str, settings: dict[str, Any]) -> About:
        np.array(self._bounds, np.int64).tofile(folder / BOUNDS)
        np.concatenate(self._hashes).tofile(folder / HASHES)
        files = (CONTENTS, BOUNDS, HASHES)
        checksums = {name: _checksum(folder / name) for name in files}
        texts = len(self._bounds) - 1
        about = About(FORMAT, self._kind.name, fingerprint, texts, settings, checksums)
        (folder / ABOUT).write_text(json.dumps(asdict(about), indent=1) + "\n", "utf-8")
        return about


def _known(
    folder: Path, kind: StoreKind, fingerprint: str, settings: dict[str, Any]
) -> TextStore | None:
    """The store that is to be replaced, where the same model filled it in the same way."""
    try:
        found = TextStore.open(folder, kind, fingerprint)
    except (FormatError, MismatchError, CorruptionError):
        return None
    return found if found.about.settings == settings else None


def _taken_over(
    known: TextStore | None, texts: list[str], compute: Callable[[list[str]], Contents]
) -> Contents:
    """The contents of texts; those that are not known are computed."""
    at = known.find(texts) if known is not None else np.full(len(texts), -1, np.int64)
    missing = [text for text, one in zip(texts, at.tolist(), strict=True) if one < 0]
    computed = iter(compute(missing) if missing else ())
    return [next(computed) if known is None or one < 0 else known.of(one) for one in at.tolist()]


def _replace(folder: Path, draft: Path) -> None:
    """Put a draft in the place of a folder, so that who looks finds one of them, whole, or none."""
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _different(texts: Iterable[str]) -> Iterator[list[str]]:
    """The different texts that have a visible character, some at a time."""
    seen: set[bytes] = set()
    batch: list[str] = []
    for text in texts:
        digest = _digest(text)
        if digest not in seen and with_text([text])[0]:
            seen.add(digest)
            batch.append(text)
        if len(batch) == TEXTS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _digest(text: str) -> bytes:
    return xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass"))


def _hashes(texts: Sequence[str]) -> NDArray[np.uint64]:
    """``[texts, 2]``: the hash of each text."""
    return np.frombuffer(b"".join(map(_digest, texts)), np.uint64).reshape(-1, 2)


def _checksum(path: Path) -> str:
    return file_digest(path).hex()
