#!/usr/bin/env python
"""Measure how three manuals of Debian are read: titles, text, boilerplate, pages a second.

    python scripts/dev/measure_manuals.py OUT.json      # needs apt-get, dpkg and lxml

Fetches the packages into a temporary folder. `manuals.toml` says what is boilerplate on 60 pages;
lxml, which Tamis does not use, takes it out. Words are counted, not placed: those of the text that
are not found again are lost, and those found too often that the boilerplate holds are left over.
trafilatura and resiliparse are measured beside Tamis where they are installed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

from lxml import html

from tamis.eval.provenance import provenance
from tamis.retriever.corpus.passages import read_passages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Words = Counter[str]

MARKS = Path(__file__).with_name("manuals.toml")
SPEED_PAGES = 20  # that slower peers are timed on
_WORDS = re.compile(r"\w+")
_INLINE = re.compile(
    "a|abbr|b|bdi|cite|code|del|dfn|em|i|img|ins|kbd|mark|q|s|samp|small|span|strong|sub|sup|tt|u|var"
)


def main() -> None:
    """Write the figures to the only argument."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} OUT.json")
    manuals = tomllib.loads(MARKS.read_text())["manual"]
    with tempfile.TemporaryDirectory() as folder:
        found = [_measured(manual, Path(folder)) for manual in manuals]
    report = {"manuals": found, "all": _together(found), "provenance": provenance(0)}
    Path(sys.argv[1]).write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["all"]))


def _measured(manual: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    version, root = _fetched(manual, folder)
    pages = sorted(root.rglob("*.html"))
    largest = max(pages, key=lambda page: page.stat().st_size)
    began = process_time()
    read = {passage.doc_id: passage for passage in read_passages(_pages_alone(root, folder))}
    took_s = process_time() - began
    right = sum(read[_name(page, root)].title == _own_title(page, manual["site"]) for page in pages)
    marked = [_marked(root / name, manual["boilerplate"]) for name in manual["pages"]]
    peers = {
        name: {
            **_judged(marked, [extract((root / one).read_text()) for one in manual["pages"]]),
            "pages_per_s": _pages_per_s(extract, pages),
        }
        for name, extract in _peers().items()
    }
    return {
        "package": manual["package"],
        "version": version,
        "pages": len(pages),
        "size_mb": round(sum(page.stat().st_size for page in pages) / 1e6, 1),
        "titles_right": right,
        "marked_pages": len(marked),
        **_judged(marked, [read[name].content for name in manual["pages"]]),
        "pages_per_s": round(len(pages) / took_s),
        "peak_mib": _peak_mib(_pages_alone(root, folder)),
        "peak_mib_of_largest_page": _peak_mib(largest),
        "peers": peers,
    }


def _fetched(manual: Mapping[str, Any], folder: Path) -> tuple[str, Path]:
    """The version of a package and where its manual lies."""
    package = manual["package"]
    subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True)
    (archive,) = folder.glob(f"{package}_*.deb")
    subprocess.run(["dpkg", "-x", str(archive), str(folder / package)], check=True)
    field = ["dpkg-deb", "-f", str(archive), "Version"]
    version = subprocess.run(field, check=True, capture_output=True, text=True).stdout.strip()
    return version, folder / package / manual["root"]


def _pages_alone(root: Path, folder: Path) -> Path:
    """A folder of the pages and nothing else, so that pages alone are timed."""
    alone = folder / f"{root.parent.name}-{root.name}-pages"
    for page in root.rglob("*.html"):
        target = alone / page.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(page.read_bytes())
    return alone


def _peak_mib(source: Path) -> int:
    """The most memory of a process that reads a source and keeps nothing."""
    code = (
        "import resource, sys\n"
        "from tamis.retriever.corpus.passages import read_passages\n"
        "for passage in read_passages(sys.argv[1]): pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)"
    )
    run = [sys.executable, "-c", code, str(source)]
    return int(subprocess.run(run, check=True, capture_output=True, text=True).stdout)


def _name(page: Path, root: Path) -> str:
    return page.relative_to(root).as_posix()


def _tree(page: Path) -> html.HtmlElement:
    tree = html.fromstring(page.read_bytes(), parser=html.HTMLParser(encoding="utf-8"))
    for unseen in tree.xpath("//script|//style"):
        unseen.drop_tree()
    return tree


def _own_title(page: Path, site: str) -> str:
    return " ".join(_tree(page).findtext(".//title").split()).removesuffix(site)


def _marked(page: Path, boilerplate: list[str]) -> tuple[Words, Words]:
    """The words of a page's text and of its boilerplate."""
    body, dropped = _tree(page).find("body"), Counter[str]()
    for path in boilerplate:
        for found in body.xpath(path):
            dropped.update(_words(_text(found)))
            found.drop_tree()
    return _words(_text(body)), dropped


def _text(node: html.HtmlElement) -> str:
    if not isinstance(node.tag, str):
        return ""
    apart = "" if _INLINE.fullmatch(node.tag) else " "
    inner = "".join(_text(child) + (child.tail or "") for child in node)
    return f"{apart}{node.text or ''}{inner}{apart}"


def _words(text: str) -> Words:
    return Counter(_WORDS.findall(text))


def _judged(marked: list[tuple[Words, Words]], found: list[str]) -> dict[str, Any]:
    text = boilerplate = kept = left = 0
    for (own, dropped), words in zip(marked, map(_words, found), strict=True):
        text, boilerplate = text + own.total(), boilerplate + dropped.total()
        kept += (own & words).total()
        left += (dropped & (words - own)).total()
    return {
        "text_words": text,
        "text_words_kept": kept,
        "boilerplate_words": boilerplate,
        "boilerplate_words_left": left,
    }


def _peers() -> dict[str, Callable[[str], str]]:
    """Extractors that are installed, set to keep as much text as they can."""
    found: dict[str, Callable[[str], str]] = {}
    try:
        from trafilatura import extract

        found["trafilatura"] = lambda page: extract(page, favor_recall=True) or ""
    except ImportError:
        pass
    try:
        from resiliparse.extract.html2text import extract_plain_text

        found["resiliparse"] = lambda page: extract_plain_text(page, main_content=True)
    except ImportError:
        pass
    return found


def _pages_per_s(extract: Callable[[str], str], pages: list[Path]) -> int:
    texts = [page.read_text() for page in pages[:: max(len(pages) // SPEED_PAGES, 1)]]
    began = process_time()
    for text in texts:
        extract(text)
    return round(len(texts) / (process_time() - began))


def _together(manuals: list[dict[str, Any]]) -> dict[str, Any]:
    def total(name: str) -> int:
        return sum(manual[name] for manual in manuals)

    return {
        "titles_right": round(total("titles_right") / total("pages"), 4),
        "text_kept": round(total("text_words_kept") / total("text_words"), 4),
        "boilerplate_gone": round(
            1 - total("boilerplate_words_left") / total("boilerplate_words"), 4
        ),
        "pages_per_s": round(
            total("pages") / sum(each["pages"] / each["pages_per_s"] for each in manuals)
        ),
    }


if __name__ == "__main__":
    main()
