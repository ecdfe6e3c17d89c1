#!/usr/bin/env python
"""Make collections whose queries are in one language and whose pages are in another.

    python scripts/dev/make_crosslingual_sets.py OUT                  # needs apt-get and dpkg
    python scripts/dev/make_crosslingual_sets.py OUT --packages DIR   # of packages fetched before
    tamis eval OUT/libreoffice-help OUT/manual-pages

Two sets of Debian's packages: ``libreoffice-help`` (the help of LibreOffice, MPL-2.0) and
``manual-pages`` (of the package families manpages and manpages-XX, under the licences that each
page states: for evaluation, not for weights that ship). A query is a page's title, or what a manual
page says after its name; a document is the page without it. Folder ``fr-en`` has French queries and
English pages, ``fr-fr`` both in French. Pages are split by their English title in all languages
alike: 60 % train, 10 % dev, 30 % test. What is not translated is left out, counted and told.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import html
import json
import re
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tamis.retriever.corpus.web_pages import parse_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ENGLISH = "en"
HELP = {"en": "en-us", "zh": "zh-cn"}  # Debian's spelling of a language, where it has another
MANUALS = {"en": "", "pt": "-pt-br"}  # after "manpages"
LANGUAGES = "de,fr,es,it,pt,ru,ja,zh"
_SPLITS = ("test",) * 3 + ("dev",) + ("train",) * 6
_SHORTEST = 200  # characters of an English page: less is a list of links


class Page(NamedTuple):
    """A page in one language."""

    title: str
    text: str


Pages = dict[str, Page]


class Set(NamedTuple):
    """How a set is found among packages."""

    packages: Callable[[str], list[str]]
    read: Callable[[Path], Iterator[tuple[str, Page]]]
    licence: str


def main() -> None:
    """Write the sets, and print what they hold."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("out", type=Path)
    options.add_argument("--packages", type=Path, help="folder of .deb files; else apt-get's")
    options.add_argument("--languages", default=LANGUAGES, help=f"by commas; {LANGUAGES}")
    asked = options.parse_args()
    for name, kind in SETS.items():
        with tempfile.TemporaryDirectory() as work:
            pages, versions = {}, []
            for language in (ENGLISH, *asked.languages.split(",")):
                root = Path(work) / language
                versions += _unpack(kind.packages(language), asked.packages, root)
                pages[language] = dict(kind.read(root))
            write_set(asked.out / name, pages, _source(name, kind.licence, versions))


def _unpack(packages: list[str], given: Path | None, root: Path) -> list[str]:
    """Unpack packages under ``root``; their names and versions."""
    found = []
    for package in packages:
        folder = given or root.parent
        if not list(folder.glob(f"{package}_*.deb")):
            if given:
                raise SystemExit(f"expected {package}_VERSION.deb in {given}, found none; fetch it")
            subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True)
        archive = sorted(folder.glob(f"{package}_*.deb"))[-1]
        subprocess.run(["dpkg", "-x", str(archive), str(root)], check=True)
        shown = ["dpkg-deb", "-W", "--showformat=${Package} ${Version}", str(archive)]
        found.append(subprocess.run(shown, check=True, capture_output=True, text=True).stdout)
    return found


def help_pages(root: Path) -> Iterator[tuple[str, Page]]:
    """The pages of LibreOffice's help: the title, and the text without the heading that says it."""
    (top,) = root.glob("usr/share/libreoffice/help/*/text")
    for path in sorted(top.rglob("*.html")):
        page = parse_page(path.read_text(encoding="utf-8"))
        blocks = [one.text for one in page.blocks if one.text != page.named]
        yield path.relative_to(top).as_posix(), Page(page.named, "\n".join(blocks))


def manual_pages(root: Path) -> Iterator[tuple[str, Page]]:
    """Manual pages: what the first section says after the dash, and the sections that follow."""
    for path in sorted((root / "usr/share/man").rglob("man?/*.gz")):
        if path.is_symlink():
            continue
        source = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
        sections = re.split(r"(?m)^\.SH\b", source)
        if len(sections) < 3:  # an alias, or mdoc
            continue
        named = re.search(r"\s[-\u2013\u2014]+\s(.*)", _prose(sections[1].partition("\n")[2]))
        if named is not None:
            text = "\n".join(map(_prose, sections[2:]))
            yield f"{path.parent.name}/{path.stem}", Page(named[1].strip(), text)


def _prose(section: str) -> str:
    """The words of a section of man(7): without requests, fonts and escapes."""
    lines = [
        re.sub(r"^\.(?:[BIR]{1,2}|S[BMH]|SS|TP|IP)\b", "", line) for line in section.split("\n")
    ]
    text = " ".join(line for line in lines if not line.startswith((".", "'\\\"")))
    for escape, plain in ((r"\\f(\[\w*\]|\(..|.)", ""), (r"\\\((em|en)", "-"), (r"\\\(..", " ")):
        text = re.sub(escape, plain, text)
    text = text.replace(r"\-", "-").replace(r"\ ", " ").replace(r"\(aq", "'")
    return " ".join(html.unescape(re.sub(r"\\[&,/|:%]|\\", "", text)).split())


SETS = {
    "libreoffice-help": Set(
        lambda language: [f"libreoffice-help-{HELP.get(language, language)}"],
        help_pages,
        "MPL-2.0 (https://mozilla.org/MPL/2.0/)",
    ),
    "manual-pages": Set(
        lambda language: [
            f"manpages{MANUALS.get(language, '-' + language)}{part}"
            for part in (("", "-dev") if language != "zh" else ("",))
        ],
        manual_pages,
        "as each page states, GPL among them: for evaluation",
    ),
}


def write_set(folder: Path, pages: Mapping[str, Pages], source: str) -> None:
    """Write a set of all pairs of English and another language, and of each with itself."""
    english = {name: page for name, page in pages[ENGLISH].items() if len(page.text) >= _SHORTEST}
    pages = {language: _kept(language, found, english) for language, found in pages.items()}
    folder.mkdir(parents=True)
    for language, found in pages.items():
        _write_corpus(folder / f"{language}-{language}", found)
    counts = {}
    for asked in pages:
        for held in pages:
            if ENGLISH in (asked, held) or asked == held:
                counts[f"{asked}-{held}"] = _write_pair(folder, asked, held, pages)
    table = [
        f"| {pair} | {documents:,} | {queries:,} |" for pair, (documents, queries) in counts.items()
    ]
    head = "| queries-pages | pages | test queries |\n|---|---:|---:|"
    told = "\n".join([source, head, *table]) + "\n"
    (folder / "SOURCE.md").write_text(told, encoding="utf-8")
    print(told)


def _kept(language: str, found: Pages, english: Pages) -> Pages:
    """Pages that have a title and enough text, and are translated; tells how many are not."""
    kept = {
        name: page
        for name, page in found.items()
        if page.title and page.text and name in english
        if language == ENGLISH or page.text != english[name].text
    }
    print(
        f"{language}: {len(kept):,} of {len(found):,} pages have text of their own, and an English "
        "page beside it"
    )
    return kept


def _write_corpus(folder: Path, pages: Pages) -> None:
    (folder / "qrels").mkdir(parents=True)
    _write_lines(
        folder / "corpus.jsonl.gz",
        [{"_id": name, "title": "", "text": page.text} for name, page in pages.items()],
    )


def _write_pair(folder: Path, asked: str, held: str, pages: Mapping[str, Pages]) -> tuple[int, int]:
    """Write queries and judgements; the numbers of pages and of test queries."""
    pair, english = folder / f"{asked}-{held}", pages[ENGLISH]
    if asked != held:
        (pair / "qrels").mkdir(parents=True)
        (pair / "corpus.jsonl.gz").symlink_to(f"../{held}-{held}/corpus.jsonl.gz")
    queries = {
        name: page.title
        for name, page in pages[asked].items()
        if name in pages[held] and (asked == ENGLISH or page.title != english[name].title)
    }
    named = defaultdict(list)  # a title that several pages have finds each of them
    for name, title in queries.items():
        named[title].append(name)
    _write_lines(
        pair / "queries.jsonl.gz", [{"_id": name, "text": title} for name, title in queries.items()]
    )
    rows = defaultdict(list)
    for names in named.values():
        rows[split_of(english[names[0]].title)].append((names[0], names))
    for split in set(_SPLITS):
        judged = [f"{query}\t{name}\t1\n" for query, names in rows[split] for name in names]
        (pair / "qrels" / f"{split}.tsv").write_text(
            "query-id\tcorpus-id\tscore\n" + "".join(judged), encoding="utf-8"
        )
    return len(pages[held]), len(rows["test"])


def split_of(title: str) -> str:
    """Train, dev or test, by a page's English title."""
    return _SPLITS[hashlib.sha256(title.casefold().encode()).digest()[0] % len(_SPLITS)]


def _write_lines(path: Path, rows: list[dict[str, str]]) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(lines.encode(), mtime=0))


def _source(name: str, licence: str, versions: list[str]) -> str:
    return (
        f"# {name}\n\nMade by `scripts/dev/make_crosslingual_sets.py`. Queries are titles, "
        "documents the pages without them.\n\n"
        f"- Origin: Debian packages {', '.join(versions)}.\n- Licence: {licence}.\n"
        "- Changed: text alone, split by English title.\n"
    )


if __name__ == "__main__":
    main()
