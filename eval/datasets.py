"""Collections to evaluate on: queries and judgements in memory, documents as a stream.

Knows the layouts of BEIR, MS MARCO, TREC and ``ir_datasets``; knows nothing of systems or measures.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.eval.languages import pair_of, pairs_in
from tamis.eval.protocol import Protocol, protocol_of
from tamis.eval.registry import is_known, read_collection, read_texts
from tamis.index.errors import InputError
from tamis.index.files.lines import find_file
from tamis.retriever.corpus.judgements import read_judgements
from tamis.retriever.corpus.passages import read_documents
from tamis.retriever.corpus.queries import read_queries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tamis.retriever.types import Passage

DATA_VARIABLE = "TAMIS_DATA"
SAMPLE = "squadshifts-new-wiki"
ROLES = ("corpus", "queries", "qrels")  # of the files that make a collection
_DL_YEARS = {"dl19": "2019", "dl20": "2020"}


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a collection, whether or not anybody judged them.

    Attributes:
        name: as messages print it.
        queries: query id -> text, of all queries.
        corpus: gives a fresh stream of all documents at each call.
    """

    name: str
    queries: Mapping[str, str]
    corpus: Callable[[], Iterator[Passage]]


@dataclass(frozen=True)
class Dataset:
    """A collection, one split of its judgements, and the rules it is evaluated by.

    Attributes:
        name: as reports print it.
        split: which judgements, such as "test".
        queries: query id -> text, the judged queries alone, in the order of their file.
        qrels: query id -> document id -> grade.
        corpus: gives a fresh stream of all documents at each call.
        protocol: the collection's rules.
        files: what was read, for checksums: role -> path.
        repeated_judgements: judgement lines that repeat an earlier pair.
    """

    name: str
    split: str
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    corpus: Callable[[], Iterator[Passage]]
    protocol: Protocol
    files: Mapping[str, Path] = field(default_factory=dict)
    repeated_judgements: int = 0

    def passages(self) -> Iterator[Passage]:
        """The documents that have a text, which is what systems index."""
        return (passage for passage in self.corpus() if passage.content.strip())

    @property
    def label(self) -> str:
        """The name, with the split where that is not the test split."""
        return self.name if self.split == "test" else f"{self.name}:{self.split}"

    def sample(self, queries: int, seed: int) -> Dataset:
        """This dataset with at most ``queries`` of its queries, drawn without replacement."""
        ids = list(self.queries)
        if queries >= len(ids):
            return self
        drawn = np.random.default_rng(seed).choice(len(ids), queries, replace=False)
        kept = [ids[i] for i in sorted(drawn)]
        return replace(
            self,
            queries={q: self.queries[q] for q in kept},
            qrels={q: self.qrels[q] for q in kept},
        )


def load_dataset(
    name: str,
    *,
    split: str | None = None,
    data: Path | None = None,
    queries: Path | None = None,
    qrels: Path | None = None,
) -> Dataset:
    """Load a collection by folder, by name in a data folder, or by ``ir_datasets`` name.

    Args:
        name: a folder in BEIR's or MS MARCO's layout, a name such as "scifact", "beir/scifact" or
            "wikiqa:dev" (the part after the colon is the split), or an ``ir_datasets`` id. With
            both ``queries`` and ``qrels`` it may be any corpus that `tamis index` reads.
        split: which judgements; "test" where the name gives none (MS MARCO: "dev.small").
        data: folder in which names resolve; else the one in the variable TAMIS_DATA.
        queries: queries or topics to use in place of the folder's own.
        qrels: judgements to use in place of the folder's own.

    Raises:
        InputError: no such collection or split, files that cannot be read, or no judged query.
    """
    bare, split = _bare_name(name, split)
    given = {k: v for k, v in {"queries": queries, "qrels": qrels}.items() if v}
    if queries and qrels and Path(bare).is_file():
        return _from_files(Path(bare), queries, qrels, split or "test")
    folder = resolve(bare, data)
    if folder is None:
        return _from_registry(bare, split)
    split = split or _usual_split(folder)
    needed = [role for role in ROLES if role not in given]
    return _assemble(_shown_name(bare, folder), split, _files(folder, split, needed) | given)


def load_texts(name: str, *, split: str | None = None, data: Path | None = None) -> Texts:
    """The queries and documents of a collection, which needs no judgements.

    Args:
        name: as for `load_dataset`.
        split: whose queries, where splits have files of their own.
        data: as for `load_dataset`.

    Raises:
        InputError: no such collection, or files that cannot be read.
    """
    bare, split = _bare_name(name, split)
    folder = resolve(bare, data)
    if folder is None:
        return Texts(name, *read_texts(f"{bare}/{split}" if split else bare))
    files = _files(folder, split or _usual_split(folder), ("corpus", "queries"))
    corpus = files["corpus"]
    return Texts(
        _shown_name(bare, folder), read_queries(files["queries"]), lambda: _documents(corpus)
    )


def _bare_name(name: str, split: str | None) -> tuple[str, str | None]:
    """A name without the split that may follow its colon, and the split."""
    bare, _, tail = name.partition(":") if not Path(name).exists() else (name, "", "")
    return bare, split or tail or None


def load_parts(name: str, *, split: str | None = None, data: Path | None = None) -> list[Dataset]:
    """The collection itself, or its parts where its protocol averages over parts.

    Raises:
        InputError: as `load_dataset`.
    """
    bare, chosen = _bare_name(name, split)
    parts = protocol_of(bare, chosen or "test").parts
    if not parts:
        return [load_dataset(name, split=split, data=data)]
    return [load_dataset(f"{bare}/{part}", split=chosen, data=data) for part in parts]


def with_pairs(names: Sequence[str], data: Path | None = None) -> list[str]:
    """Names of collections; a folder of language pairs gives the name of each pair.

    Raises:
        InputError: nothing of a name; as `resolve`.
    """
    found = []
    for name in names:
        bare, split = _bare_name(name, None)
        folder = resolve(bare, data)
        pairs = pairs_in(folder) if folder is not None else []
        tail = f":{split}" if split else ""
        found += [f"{bare}/{pair}{tail}" for pair in pairs] or [name]
    return found


def resolve(name: str, data: Path | None = None) -> Path | None:
    """The folder that a name stands for; None where ``ir_datasets`` has to know it.

    "sample" is the collection that comes with the package.

    Raises:
        InputError: nothing of that name; the message shows the nearest names there are.
    """
    if name == "sample":
        return _sample()
    if Path(name).is_dir():
        return Path(name)
    roots = _data_folders(data)
    for root in roots:
        for candidate in (root / name, root / name.removeprefix("beir/")):
            if candidate.is_dir():
                return candidate
    if is_known(name):
        return None
    known = sorted({p.name for root in roots for p in root.iterdir() if p.is_dir()})
    nearest = difflib.get_close_matches(name, known, 3, 0.4) or known[:12]
    where = f"in {' or '.join(map(str, roots))}" if roots else f"({DATA_VARIABLE} is not set)"
    raise InputError(
        f"expected a dataset folder or name, found {name!r}, which is no folder {where}; "
        + (f"nearest: {', '.join(nearest)}" if nearest else f"set {DATA_VARIABLE} or give a path")
    )


def _sample() -> Path:
    """The collection that comes with the package."""
    return Path(__file__).parent / "sample" / SAMPLE


def _data_folders(data: Path | None) -> list[Path]:
    chosen = data or (Path(os.environ[DATA_VARIABLE]) if os.environ.get(DATA_VARIABLE) else None)
    if chosen is None:
        return []
    if not chosen.is_dir():
        raise InputError(f"{chosen}: expected a folder of datasets, found none; check the path")
    return [folder for folder in (chosen, chosen / "eval", chosen / "beir") if folder.is_dir()]


def _shown_name(name: str, folder: Path) -> str:
    if name == "sample":
        return SAMPLE
    if Path(name).is_dir() and (Path(name).is_absolute() or name.startswith(".")):
        resolved = folder.resolve()
        whole = f"{resolved.parent.name}/{resolved.name}"
        is_part = resolved.parent.name == "cqadupstack" or pair_of(whole) is not None
        return whole if is_part else resolved.name
    return name.removeprefix("beir/").strip("/")


def _usual_split(folder: Path) -> str:
    return "dev.small" if _is_msmarco(folder) else "test"


def _is_msmarco(folder: Path) -> bool:
    return find_file(folder, "collection.tsv") is not None


def _files(folder: Path, split: str, needed: Sequence[str]) -> dict[str, Path]:
    """The files of a published layout that play the roles needed.

    Raises:
        InputError: one is not there.
    """
    found = _msmarco_files(folder, split) if _is_msmarco(folder) else _beir_files(folder, split)
    missing = [role for role in needed if found[role] is None]
    if not missing:
        return {role: path for role in needed if (path := found[role])}
    if _is_msmarco(folder):
        raise InputError(
            f"{folder}: expected MS MARCO's collection.tsv, queries.{split}.tsv and "
            f"qrels.{split}.tsv, found no {', '.join(missing)}; name a split whose files are there"
        )
    splits = sorted({p.name.split(".")[0] for p in folder.glob("qrels/*.tsv*")})
    raise InputError(
        f"{folder}: expected corpus.jsonl, queries.jsonl and qrels/{split}.tsv (or .gz, .zst), "
        f"found no {', '.join(missing)}; splits there: {', '.join(splits) or 'none'}"
    )


def _beir_files(folder: Path, split: str) -> dict[str, Path | None]:
    return {
        "corpus": find_file(folder, "corpus.jsonl"),
        "queries": find_file(folder, "queries.jsonl"),
        "qrels": find_file(folder / "qrels", f"{split}.tsv"),
    }


def _msmarco_files(folder: Path, split: str) -> dict[str, Path | None]:
    year = _DL_YEARS.get(split, split)
    return {
        "corpus": find_file(folder, "collection.tsv"),
        "queries": find_file(folder, f"queries.{split}.tsv", f"msmarco-test{year}-queries.tsv"),
        "qrels": find_file(folder, f"qrels.{split}.tsv", f"{year}qrels-pass.txt"),
    }


def _from_files(corpus: Path, queries: Path, qrels: Path, split: str) -> Dataset:
    """A corpus with queries and judgements; in a published folder, the folder's rules hold."""
    files = {"corpus": corpus, "queries": queries, "qrels": qrels}
    found = _assemble(corpus.name.split(".")[0], split, files)
    if found.name not in ("corpus", "collection"):
        return found
    folder = corpus.resolve().parent
    return replace(found, protocol=protocol_of(_shown_name(str(folder), folder), split))


def _assemble(name: str, split: str, files: dict[str, Path]) -> Dataset:
    judgements = read_judgements(files["qrels"])
    texts = read_queries(files["queries"])
    _check_queries(files, texts, judgements.grades)
    corpus = files["corpus"]
    kept = {query: text for query, text in texts.items() if query in judgements.grades}
    return Dataset(
        name,
        split,
        kept,
        {query: judgements.grades[query] for query in kept},
        lambda: _documents(corpus),
        protocol_of(name, split),
        files,
        judgements.repeated,
    )


def _documents(path: Path) -> Iterator[Passage]:
    """What a published collection says of its documents: the texts, and no other field."""
    return (replace(one, fields={}) if one.fields else one for one in read_documents(path))


def _check_queries(
    files: Mapping[str, Path], texts: Mapping[str, str], grades: Mapping[str, Any]
) -> None:
    unknown = [query for query in grades if query not in texts]
    if unknown:
        raise InputError(
            f"{files['qrels']}: expected judged queries to be in {files['queries'].name}, found "
            f"{len(unknown)} that are not, such as {', '.join(map(repr, unknown[:3]))}; "
            "use queries and judgements of the same split"
        )
    empty = [query for query in grades if not texts[query].strip()]
    if empty:
        raise InputError(
            f"{files['queries']}: expected a text for each judged query, found {len(empty)} empty, "
            f"such as {', '.join(map(repr, empty[:3]))}; fill them in or drop their judgements"
        )


def _from_registry(name: str, split: str | None) -> Dataset:
    full = f"{name}/{split}" if split else name
    queries, judged, documents = read_collection(full)
    if not queries:
        raise InputError(f"expected judged queries in {full!r}, found none; name a split of it")
    return Dataset(
        full,
        split or "test",
        queries,
        {query: judged.grades[query] for query in queries},
        documents,
        protocol_of(full, split or "test"),
        repeated_judgements=judged.repeated,
    )
