"""Reading a corpus: every input format becomes a stream of passages. Nothing is held in memory.

A mistake in the corpus raises InputError, whose message begins with the file and the line.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.index.errors import InputError
from tamis.index.files.lines import (
    ALL_LINES,
    Told,
    count_lines,
    json_file,
    json_lines,
    open_bytes,
    refuse,
)
from tamis.index.segment.identifiers import check_id
from tamis.retriever.corpus.advice import CorpusWarning
from tamis.retriever.corpus.folders import list_folder, not_read, page_of_source, said_of
from tamis.retriever.corpus.shares import WHOLE, Share
from tamis.retriever.corpus.sites import PAGES, Site
from tamis.retriever.corpus.tables import csv_rows, parquet_count, parquet_rows, tsv_rows
from tamis.retriever.corpus.texts import HTML, TEXT_FILES, read_page, read_text_file
from tamis.retriever.corpus.web_pages import WebPage
from tamis.retriever.types import Passage, content_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from tamis.index.files.lines import Fault, Rows

STDIN = "-"
ID_KEYS = ("_id", "id", "docid", "doc_id")
TEXT_KEYS = ("text", "contents", "body", "segment", "passage")
TITLE_KEY = "title"
DATA_FILES = (".jsonl", ".ndjson", ".json", ".parquet")
TABLES = (".tsv", ".csv")
FORMATS = (
    "a BEIR folder (corpus.jsonl), .jsonl, .json, .tsv or .csv, each also with .gz or .zst, "
    ".parquet, a folder of .txt, .md, .html, .rst, .adoc or .org files, a folder of .jsonl, .json "
    "or .parquet files, or - for JSON lines on standard input"
)
_ABOUT = ("readme", "license", "licence", "source", "notice")  # files beside the data


@dataclass(frozen=True, slots=True)
class Keys:
    """Under which names a record holds what; None tries the usual ones.

    Attributes:
        doc_id: of the id.
        title: of the title.
        text: of the text.
        searched: fields that are searched; where there are any, a record needs no text.
    """

    doc_id: str | None = None
    title: str | None = None
    text: str | None = None
    searched: tuple[str, ...] = ()

    @property
    def are_named(self) -> bool:
        """Whether a record has its id, title or text under a name that was given."""
        return any([self.doc_id, self.title, self.text])

    def has_text(self, names: Container[str]) -> bool:
        """Whether one of these names is of a field that is searched."""
        return any(name in names or name.partition(".")[0] in names for name in self.searched)

    def pick(self, names: Iterable[str]) -> tuple[str | None, str | None]:
        """The name of the id and of the text among these names; None where there is none."""
        there = set(names)
        ids = (self.doc_id,) if self.doc_id else ID_KEYS
        texts = (self.text,) if self.text else TEXT_KEYS
        return tuple(  # type: ignore[return-value]
            next((key for key in wanted if key in there), None) for wanted in (ids, texts)
        )

    def check(self, name: str, columns: Sequence[str]) -> None:
        """Refuse a table with a column twice, or without id, text or the named title."""
        doubled = [column for column, count in Counter(columns).items() if count > 1]
        if doubled:
            raise InputError(
                f"{name}: expected each column once, found {doubled[0]!r} twice; rename one of them"
            )
        place = f"{name}: "
        doc_id, text = self.pick(columns)
        if doc_id is None:
            raise self._missing(place, "an id", self.doc_id, ID_KEYS, "--id-field", columns)
        if text is None and not self.has_text(columns):
            raise self._missing(place, "a text", self.text, TEXT_KEYS, "--text-field", columns)
        for one in set(self.searched) - {"_id", "title", "text"}:
            if one not in columns:
                raise InputError(
                    f"{name}: expected a column for the text field {one!r}, found "
                    f"{', '.join(columns)}; correct --text-field"
                )
        if self.title is not None and self.title not in columns:
            raise self._missing(place, "a title", self.title, (), "--title-field", columns)

    def missing(self, place: str, row: Mapping[str, Any]) -> InputError:
        """What to say of a record without an id or a text; ``place`` is empty outside of files."""
        doc_id, _ = self.pick(key for key, value in row.items() if value is not None)
        if doc_id is None:
            return self._missing(place, "an id", self.doc_id, ID_KEYS, "--id-field", list(row))
        return self._missing(place, "a text", self.text, TEXT_KEYS, "--text-field", list(row))

    def _missing(
        self,
        place: str,
        what: str,
        wanted: str | None,
        usual: Sequence[str],
        option: str,
        found: Sequence[str],
    ) -> InputError:
        where = repr(wanted) if wanted else f"one of {', '.join(usual)}"
        other = f", or name one with {option}" if place else ""  # options are for files
        return InputError(
            f"{place}expected {what} under {where}; found the fields "
            f"{', '.join(map(str, found)) or 'none'}; add it{other}"
        )


def read_passages(
    source: str | Path,
    *,
    id_field: str | None = None,
    title_field: str | None = None,
    text_field: str | None = None,
    searched: Sequence[str] = (),
    fault: Fault = refuse,
    share: Share = WHOLE,
) -> Iterator[Passage]:
    """Read a corpus, passage by passage.

    All other fields of a record are kept in `Passage.fields`, but for those that are named
    ``_id``, ``title`` or ``text`` without being it.

    Args:
        source: a BEIR folder, ``.jsonl``, ``.json`` (lines, or Anserini's arrays and objects),
            ``.csv`` (with a header), ``.tsv`` (with a header, or MS MARCO's), each also compressed
            (``.gz``, ``.zst``), ``.parquet``, a folder of text, Markdown, HTML, reStructuredText,
            AsciiDoc and Org files, a folder of JSON or Parquet files, or ``-`` for JSON lines on
            standard input.
        id_field: where the id is; None tries ``_id``, ``id``, ``docid``, ``doc_id``.
        title_field: where the title is; None tries ``title``.
        text_field: where the text is; None tries ``text``, ``contents``, ``body``, ``segment``,
            ``passage``.
        searched: names of text fields, as `LexicalConfig.fields`; with them a record needs no text.
        fault: told of each passage that is faulty, which is then left out; raises by default.
        share: what to read of it.

    Raises:
        InputError: no such corpus, or standard input in shares, or, through ``fault``, a line that
            is not a passage: broken JSON, a missing id, an empty text, bytes that are not UTF-8.

    Warns:
        CorpusWarning: a folder holds files that are not read; how many of each ending.
    """
    keys = Keys(id_field, title_field, text_field, tuple(searched))
    return _with_text(read_documents(source, keys, fault, share), searched, fault)


def read_documents(
    source: str | Path, keys: Keys = Keys(), fault: Fault = refuse, share: Share = WHOLE
) -> Iterator[Passage]:
    """As `read_passages`, with the documents that have no text among them.

    Published collections hold such documents, and judgements may name them.
    """
    if str(source) == STDIN:
        if share.of > 1:
            raise InputError(
                f"expected files to read share {share} of, found standard input; store it first"
            )
        name = "standard input"
        return _from_rows(name, json_lines(name, sys.stdin.buffer, fault), keys, fault)
    files, unread = _found(Path(source))
    if unread:
        warnings.warn(f"{source}: {unread}", CorpusWarning, stacklevel=3)
    if files[0].suffix.lower() not in TEXT_FILES:
        return _from_files(files, keys, fault, share)
    if keys.are_named:
        raise InputError(
            f"{source}: expected records to name the fields of, found text files; "
            "their names are the ids, leave the options out"
        )
    return _from_text_files(Path(source), files, fault, share)


def _with_text(
    documents: Iterator[Passage], searched: Sequence[str], fault: Fault
) -> Iterator[Passage]:
    for one in documents:
        if content_of(one.record(), searched).strip():
            yield one
        else:
            fault(
                InputError(
                    f"{one.place}expected some text, found none for id {one.doc_id!r}; "
                    "remove the document or give it a text"
                )
            )


def corpus_files(source: Path) -> list[Path]:
    """The files to read for a source, in order: all of text or none.

    Raises:
        InputError: there is nothing that can be read, or files of both kinds.
    """
    return _found(source)[0]


def is_text_folder(source: str | Path) -> bool:
    """Whether a source is a folder of text files, or one such file."""
    return str(source) != STDIN and corpus_files(Path(source))[0].suffix.lower() in TEXT_FILES


def _found(source: Path) -> tuple[list[Path], str]:
    """The files to read, and a sentence of those that a folder holds besides."""
    if not source.exists():
        raise InputError(f"{source}: expected {FORMATS}; found nothing; check the path")
    if not source.is_dir():
        _kind(source)
        return [source], ""
    for name in ("corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst"):
        if (source / name).is_file():
            return [source / name], ""
    try:
        listing = list_folder(source)
    except OSError as error:
        raise InputError(
            f"{error.filename}: expected a folder that can be listed, found {error.strerror}; "
            "check its permissions"
        ) from error
    files = _files_of_folder(source, listing.files)
    return files, said_of(not_read(listing, files))


def _files_of_folder(folder: Path, files: Sequence[Path]) -> list[Path]:
    """All records, or all texts; a JSON file among texts is a setting of something."""
    data = [path for path in files if path.parent == folder and _ending(path) in DATA_FILES]
    among = set(files)
    texts = [
        path
        for path in files
        if path.suffix.lower() in TEXT_FILES and page_of_source(path) not in among
    ]
    about = [path for path in texts if path.name.lower().startswith(_ABOUT)]
    beside = [path for path in texts if path not in about] if data else texts
    if beside and all(_ending(path) == ".json" for path in data):
        return texts
    if data and beside:
        raise InputError(
            f"{folder}: expected either records or texts, found both, such as {data[0].name} and "
            f"{beside[0].relative_to(folder)}; put one kind into a folder of its own"
        )
    if not data and not texts:
        raise InputError(f"{folder}: expected {FORMATS}; found a folder without any of them")
    return data or texts


def _ending(path: Path) -> str:
    """The ending that tells the format: that before ``.gz`` or ``.zst``."""
    return Path(path.name.removesuffix(".gz").removesuffix(".zst")).suffix.lower()


def _kind(path: Path) -> str:
    kind = _ending(path)
    if kind not in (*DATA_FILES, *TABLES, *TEXT_FILES) or _is_packed_text(kind, path):
        raise InputError(f"{path}: expected {FORMATS}; found a file ending in {kind!r}; rename it")
    return kind


def _is_packed_text(kind: str, path: Path) -> bool:
    return kind in TEXT_FILES and kind != path.suffix.lower()


def _from_files(files: Sequence[Path], keys: Keys, fault: Fault, share: Share) -> Iterator[Passage]:
    wanted = [ALL_LINES] * len(files)
    if share.of > 1:
        wanted = share.rows([_count(path, _kind(path)) for path in files])
    for path, numbers in zip(files, wanted, strict=True):
        if numbers:
            yield from _from_file(path, keys, fault, numbers)


def _count(path: Path, kind: str) -> int:
    """How many rows a file holds, by its lines: about as many, where a row may take several."""
    return parquet_count(path) if kind == ".parquet" else count_lines(path)


def _from_file(path: Path, keys: Keys, fault: Fault, wanted: range) -> Iterator[Passage]:
    try:
        rows = _rows(path, _kind(path), keys, fault, wanted)
        yield from _from_rows(str(path), rows, keys, fault)
    except InputError as error:  # the rest of the file cannot be read
        fault(error)


def _rows(path: Path, kind: str, keys: Keys, fault: Fault, wanted: range) -> Rows:
    """The rows of these numbers; lines of JSON and row groups beside them are not parsed."""
    name = str(path)
    if kind == ".parquet":
        yield from parquet_rows(path, keys.check, wanted)
        return
    with open_bytes(path) as stream:
        if kind == ".csv":
            rows = csv_rows(name, stream, keys.check, fault)
        elif kind == ".tsv":
            rows = tsv_rows(name, stream, lambda cells: _names(cells, keys), keys.check, fault)
        elif kind == ".json":
            rows = json_file(path, fault)
        else:
            rows = json_lines(name, stream, fault, wanted)
        yield from ((number, row) for number, row in rows if number in wanted)


def _names(cells: Sequence[str], keys: Keys) -> bool:
    """Whether these cells are the header of a table: told so by an option, or by usual names."""
    return keys.are_named or None not in keys.pick(cells)


def _from_rows(name: str, rows: Rows, keys: Keys, fault: Fault) -> Iterator[Passage]:
    for number, row in rows:
        try:
            passage = _with_good_id(passage_of(row, keys, number, name))
        except InputError as error:
            fault(error)
        else:
            yield passage


def passage_of(
    row: Mapping[str, Any], keys: Keys = Keys(), line: int = 0, file: str = ""
) -> Passage:
    """The passage of a record, which may be without text; its id is not checked.

    Raises:
        InputError: it has no id or text, or one that is no string; the message begins with file
            and line where there are such.
    """
    place = f"{file}:{line}: " if file else ""
    there = {key for key, value in row.items() if value is not None}
    id_key, text_key = keys.pick(there)
    if id_key is None or (text_key is None and not keys.has_text(there)):
        raise keys.missing(place, row)
    title_key = keys.title or TITLE_KEY
    doc_id, title = row[id_key], row.get(title_key)
    is_whole = isinstance(doc_id, int) and not isinstance(doc_id, bool)
    known = {id_key, text_key, title_key, "_id", "title", "text"}
    return Passage(
        _string(place, id_key, str(doc_id) if is_whole else doc_id),
        "" if text_key is None else _string(place, text_key, row[text_key]),
        "" if title is None else _string(place, title_key, title),
        {key: value for key, value in row.items() if key not in known},
        line,
        file,
    )


def _with_good_id(passage: Passage) -> Passage:
    try:
        check_id(passage.doc_id)
    except InputError as error:
        raise InputError(f"{passage.place}{error}") from None
    return passage


def _string(place: str, name: str, value: Any) -> str:  # noqa: ANN401  whatever a record holds
    if not isinstance(value, str):
        raise InputError(
            f"{place}expected a string as {name}, found {type(value).__name__}; "
            "write it as a string"
        )
    return value


def _from_text_files(
    source: Path, files: Sequence[Path], fault: Fault, share: Share
) -> Iterator[Passage]:
    """One passage a file; its id is the path within the folder, or the file's own name."""
    folder = source if source.is_dir() else source.parent
    site, told = _site_of(files), Told(fault)
    for path in compress(files, share.rows([1] * len(files))):
        try:
            one = read_text_file(path, site, told)
            name = path.relative_to(folder).as_posix()
            passage = _with_good_id(
                Passage(name, one.text, one.title, one.fields, 1, str(path), one.headings)
            )
        except InputError as error:
            fault(error)
        else:
            if not told.anything():
                yield passage


def _site_of(files: Sequence[Path]) -> Site:
    """What the pages among some files have in common, learned from a sample of them."""
    pages = [path for path in files if path.suffix.lower() in HTML]
    count = min(len(pages), PAGES)
    return Site.of(map(_page, (pages[at * len(pages) // count] for at in range(count))))


def _page(path: Path) -> WebPage:
    try:
        return read_page(path, lambda error: None)  # told when its turn comes
    except InputError:
        return WebPage("", ())
