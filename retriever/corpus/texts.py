"""Files that are one document each become a title, a text and fields."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Any

from tamis.index.errors import InputError
from tamis.index.files.lines import MAX_LINE_BYTES, UTF16_MARKS, decoded, refuse
from tamis.retriever.corpus.asciidoc import read_asciidoc
from tamis.retriever.corpus.blocks import TextFile, heading_text
from tamis.retriever.corpus.front_matter import split_front_matter
from tamis.retriever.corpus.markdown import read_markdown
from tamis.retriever.corpus.org import read_org
from tamis.retriever.corpus.restructured_text import read_restructured_text
from tamis.retriever.corpus.sites import Site
from tamis.retriever.corpus.web_pages import WebPage, parse_page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tamis.index.files.lines import Fault
    from tamis.retriever.corpus.blocks import TextBlock

    Read = Callable[[str], tuple[list[TextBlock], Mapping[str, Any]]]

HTML = (".html", ".htm", ".xhtml")
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset=[\"']?([A-Za-z0-9_-]{2,40})", re.IGNORECASE)
_NOT_OF_PAGES = frozenset({"unicode-escape", "raw-unicode-escape", "utf-7", "idna", "punycode"})
_AS_BROWSERS_DO = {"iso8859-1": "cp1252", "ascii": "cp1252"}
_OWN = ("_id", "text")


def read_text_file(path: Path, site: Site = Site(), fault: Fault = refuse) -> TextFile:  # noqa: B008  frozen
    """The title, the text, its headings and its fields; paragraphs stand apart by a blank line.

    Markup is left out. The title is what the front matter says, or the first heading of level 1;
    for a page of HTML see `Site.read`. A plain text has neither.

    Args:
        path: the file; its ending tells the format.
        site: what the pages of its folder have in common.
        fault: told of a file in another encoding, of which as much is read as can be.

    Raises:
        InputError: the file is gone, changes while it is read, is larger than 64 MiB, or has
            front matter that cannot be read; or, through ``fault``, of another encoding.
    """
    if path.suffix.lower() in HTML:
        return site.read(read_page(path, fault))
    text = decoded(str(path), 1, _bytes_of(path), fault).replace("\r\n", "\n")
    read = READERS[ending_of(path)]
    if read is None:
        return TextFile("", text)
    try:
        named, text, _ = split_front_matter(text)
    except InputError as error:
        raise InputError(f"{path}:1: {error}") from error
    blocks, found = read(text)
    fields = {**found, **named}
    if taken := [name for name in _OWN if name in fields]:
        raise InputError(
            f"{path}:1: expected front matter without {' and '.join(taken)}, which name a "
            "document's own id and text; rename the field"
        )
    title = fields.pop("title", None)
    return TextFile.of(str(title) if title is not None else heading_text(blocks), blocks, fields)


def ending_of(path: Path) -> str:
    """What tells a file's format; Sphinx names its sources ``.rst.txt``."""
    return ".rst" if path.name.lower().endswith(".rst.txt") else path.suffix.lower()


def read_page(path: Path, fault: Fault = refuse) -> WebPage:
    """A page of HTML; raises as `read_text_file`."""
    return parse_page(_decoded_html(path, _bytes_of(path), fault))


def _bytes_of(path: Path) -> bytes:
    """The whole file, which nobody writes meanwhile."""
    try:
        before = path.stat()
        if before.st_size > MAX_LINE_BYTES:
            raise InputError(
                f"{path}:1: expected text files of at most {MAX_LINE_BYTES >> 20} MiB, found one "
                f"of {before.st_size >> 20} MiB; split it"
            )
        data = path.read_bytes()
        after = path.stat()
    except OSError as error:
        raise InputError(
            f"{path}:1: expected a file that can be read, found {error.strerror}; "
            "check its permissions, and that nothing removes it"
        ) from error
    if (len(data), after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise InputError(
            f"{path}:1: expected a file that stays as it is, found it changed while it was read; "
            "index it when nothing writes it"
        )
    return data


def _decoded_html(path: Path, data: bytes, fault: Fault) -> str:
    """As UTF-8 where it is valid; else in the encoding that the page names, as browsers do."""
    if data[:2] in UTF16_MARKS:
        return data.decode("utf-16", errors="replace")
    named = _CHARSET.search(data[:2048])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        if named is None:
            return decoded(str(path), 1, data, fault)
    try:
        name = codecs.lookup(named.group(1).decode()).name
        if name != "utf-8" and name not in _NOT_OF_PAGES:
            return data.decode(_AS_BROWSERS_DO.get(name, name))
        said: object = f"bytes that are not {name}"
    except (LookupError, UnicodeDecodeError) as error:
        said = error
    fault(
        InputError(
            f"{path}:1: expected the encoding that the page names, found {said}; "
            "correct its <meta charset>"
        )
    )
    return data.decode("utf-8", errors="replace")


READERS: dict[str, Read | None] = {
    ".txt": None,
    ".text": None,
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".rst": read_restructured_text,
    ".adoc": read_asciidoc,
    ".asciidoc": read_asciidoc,
    ".org": read_org,
}
TEXT_FILES = (*READERS, *HTML)
