"""What a folder holds: files that are read, and those that are not, which are counted and told.

Links to files are followed, links to folders are not: they may lead in a circle or out of the
corpus. Hidden files and folders are no part of a corpus.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

NO_ENDING = "no ending"
LINKED = "linked folder"
BROKEN = "broken link"
OTHER = "device, pipe or socket"
_SHOWN = 8  # endings in a message
_TO_CONVERT = frozenset(
    {
        ".pdf", ".doc", ".docx", ".odt", ".rtf", ".xls", ".xlsx", ".ods", ".ppt", ".pptx",
        ".odp", ".epub", ".pages", ".numbers", ".key"
    }
)  # fmt: skip


class Listing(NamedTuple):
    """The files of a folder and of those within it.

    Attributes:
        files: that can be read as files, in the order of their paths.
        others: links to folders, broken links and special files, counted.
    """

    files: list[Path]
    others: Counter[str]


def list_folder(folder: Path) -> Listing:
    """All that a folder holds and is not hidden.

    Raises:
        OSError: a folder within it cannot be listed.
    """
    files: list[Path] = []
    others: Counter[str] = Counter()
    for parent, folders, names in os.walk(folder, onerror=_raise):
        seen = [name for name in folders if not name.startswith(".")]
        folders[:] = [name for name in seen if not os.path.islink(os.path.join(parent, name))]
        others[LINKED] += len(seen) - len(folders)
        for name in names:
            path = Path(parent, name)
            if name.startswith("."):
                continue
            if path.is_file():
                files.append(path)
            else:
                others[OTHER if path.exists() else BROKEN] += 1
    return Listing(sorted(files), +others)


def _raise(error: OSError) -> None:
    raise error


def page_of_source(path: Path) -> Path | None:
    """The page that Sphinx made of a source it laid into ``_sources`` beside it; None of others."""
    if "_sources" not in path.parts:
        return None
    at = path.parts.index("_sources")
    inner = Path(*path.parts[at + 1 :]).with_suffix("").with_suffix(".html")
    return Path(*path.parts[:at]) / inner


def not_read(listing: Listing, read: list[Path]) -> Counter[str]:
    """How many files of each ending are not among those that are read, and the other entries."""
    among = set(read)
    endings = (path.suffix.lower() or NO_ENDING for path in listing.files if path not in among)
    return Counter(endings) + listing.others


def said_of(counts: Counter[str]) -> str:
    """What is not read, in a sentence; empty where all is."""
    if not counts:
        return ""
    listed = [f"{count:,} {ending}" for ending, count in counts.most_common(_SHOWN)]
    if len(counts) > _SHOWN:
        listed.append(f"{counts.total() - sum(c for _, c in counts.most_common(_SHOWN)):,} others")
    advice = (
        "; make texts of PDF and Office files first, with pdftotext or pandoc"
        if _TO_CONVERT & set(counts)
        else ""
    )
    number = counts.total()
    what = "1 entry is" if number == 1 else f"{number:,} entries are"
    return f"{what} not read: {', '.join(listed)}{advice}"
