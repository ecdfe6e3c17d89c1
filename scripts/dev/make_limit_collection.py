#!/usr/bin/env python
"""Make a collection in the full shape of LIMIT: 50,000 people, 1,000 questions of two answers each.

    python scripts/dev/make_limit_collection.py SMALL TERMS OUT [DOCUMENTS]

LIMIT (Weller et al., arXiv 2508.21038) asks who likes something. Its small form has the 46 people
who answer; its full form adds people who like other things alone, so that each question keeps its
two answers. SMALL is the folder of the small form. TERMS is the file of WordNet's terms and
glosses, lines with a field ``query``. What the others like is made of both: single terms, and the
words of things asked about put together anew, which is what lexical search confuses. OUT is a
folder as of BEIR. Equal files give an equal collection.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.index.files.lines import numbered_lines
from tamis.retriever.corpus.passages import read_passages

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DOCUMENTS, SEED = 50_000, 0
LIKED = 45  # things that each person of the small form likes
KINDS = 1_848  # of things liked in the published form
TOGETHER = 0.15  # of what is made, words put together anew: so BM25 finds what it finds there
VERB = " likes "


def main() -> None:
    """Write the collection."""
    if len(sys.argv) not in (4, 5):
        sys.exit(f"usage: {sys.argv[0]} SMALL TERMS OUT [DOCUMENTS]")
    small, terms, out = map(Path, sys.argv[1:4])
    wanted = int(sys.argv[4]) if len(sys.argv) == 5 else DOCUMENTS
    made = collection([one.content for one in read_passages(small)], read_terms(terms), wanted)
    (out / "qrels").mkdir(parents=True, exist_ok=True)
    with (out / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for name, text in made:
            file.write(json.dumps({"_id": name, "title": "", "text": text}) + "\n")
    shutil.copyfile(small / "queries.jsonl", out / "queries.jsonl")
    shutil.copyfile(small / "qrels" / "test.tsv", out / "qrels" / "test.tsv")


def collection(texts: Sequence[str], terms: Sequence[str], documents: int) -> list[tuple[str, str]]:
    """Names and texts: those of the small form, then others who like nothing that they like.

    Args:
        texts: of the small form.
        terms: single words to like.
        documents: how many in all.
    """
    draw = random.Random(SEED)
    known = [text.partition(VERB) for text in texts]
    liked = sorted({thing for _, _, things in known for thing in split(things)})
    others = other_things(liked, terms, KINDS - len(liked), draw)
    first, last = (sorted({name.split()[at] for name, _, _ in known}) for at in (0, -1))
    names = [f"{a} {b} {c}" for a in first for b in first for c in last if a != b]
    found = [(name, name + verb + things) for name, verb, things in known]
    for name in draw.sample(names, documents - len(found)):
        *many, end = draw.sample(others, LIKED)
        found.append((name, f"{name}{VERB}{', '.join(many)} and {end}."))
    return found


def split(things: str) -> list[str]:
    """What an enumeration names."""
    head, _, end = things.rstrip(".").rpartition(" and ")
    return [*head.split(", "), end]


def other_things(
    liked: Sequence[str], terms: Sequence[str], count: int, draw: random.Random
) -> list[str]:
    """Things that are not among those liked: single terms, and their words put together anew."""
    several = [thing.split() for thing in liked if " " in thing]
    taken = {thing.lower() for thing in liked}
    pairs = {f"{one[0]} {other[-1]}" for one in several for other in several}
    anew = sorted(pair for pair in pairs if pair.lower() not in taken)
    single = [term.title() for term in terms if {term, term + "s", term + "es"}.isdisjoint(taken)]
    found = draw.sample(anew, min(len(anew), round(count * TOGETHER)))
    return found + draw.sample(single, count - len(found))


def read_terms(path: Path) -> list[str]:
    """The single plain words among a file's terms, in order, each once."""
    terms: Iterable[str] = (json.loads(line)["query"] for _, line in numbered_lines(path))
    return list(dict.fromkeys(term for term in terms if term.isalpha() and term.islower()))


if __name__ == "__main__":
    main()
