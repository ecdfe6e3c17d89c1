"""Reads training texts: queries, passages, and which belongs to which. Knows nothing of models.

A source is a file of JSON lines (``.jsonl``, also ``.gz`` or ``.zst``) whose fields are named in
the configuration, a BEIR folder with a split of judgements, or a ``.tsv`` of tags and queries.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tamis.index.errors import InputError
from tamis.index.files.lines import numbered_lines
from tamis.index.files.strict_json import parse_json
from tamis.retriever.corpus.judgements import beir_judgements, judgement_lines
from tamis.retriever.corpus.passages import read_passages
from tamis.retriever.corpus.queries import beir_queries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tamis.retriever.training.config import SourceConfig


class Candidate(NamedTuple):
    """A passage that is a candidate for a query, and a teacher's score, NaN where there is none."""

    passage: str
    score: float


class Example(NamedTuple):
    """A query, a passage, or both.

    judged: somebody said that the passage answers the query.
    listed: other candidates for the query, none of which is known to answer it.
    """

    query: str
    passage: str
    judged: bool
    listed: tuple[Candidate, ...] = ()


def read_source(config: SourceConfig, root: Path, seed: int) -> list[Example]:
    """The examples of one source, in the order of the file.

    Args:
        config: what to read.
        root: folder that a relative path starts from.
        seed: chooses the rows where the configuration sets a limit.

    Raises:
        InputError: a file is missing, or a line (named) is not what the configuration says.
    """
    path = root / config.path
    if not path.exists():
        raise InputError(
            f"{path}: expected training texts, found nothing; check `path` and TAMIS_DATA"
        )
    if path.is_dir() and config.triples:
        examples = list(_triples(path, config))
    elif path.is_dir():
        examples = list(_beir(path, config))
    elif ".tsv" in path.suffixes:
        examples = list(_tagged_queries(path, config))
    else:
        examples = list(_json_lines(path, config))
    examples = [one for one in examples if not _held_out(one.passage, config.holdout)]
    if config.limit is None or len(examples) <= config.limit:
        return examples
    chosen = np.random.default_rng(seed).choice(len(examples), config.limit, replace=False)
    return [examples[i] for i in np.sort(chosen)]


def _json_lines(path: Path, config: SourceConfig) -> Iterator[Example]:
    for number, line in numbered_lines(path):
        try:
            row = parse_json(line)
            query = _joined(row, config.query)
            passage = _joined(row, config.passage)
            listed = _listed(row, config)
        except (ValueError, KeyError, TypeError) as error:
            fields = (*config.query, *config.passage, *config.listed, config.scores)
            wanted = ", ".join(filter(None, fields))
            raise InputError(
                f"{path}:{number}: expected a JSON object with {wanted}, found none "
                f"({error!r}); correct the line, or the fields named for this source"
            ) from error
        yield Example(query, passage, config.judged and bool(passage), listed)


def _listed(row: dict[str, Any], config: SourceConfig) -> tuple[Candidate, ...]:
    """The candidates of a line; with scores, one for each."""
    values = [row[name] for name in config.listed]
    texts = [text for one in values for text in ([one] if isinstance(one, str) else one)]
    scores = row[config.scores] if config.scores else [math.nan] * len(texts)
    return tuple(
        Candidate(text.strip(), float(score)) for text, score in zip(texts, scores, strict=True)
    )


def _joined(row: dict[str, Any], fields: tuple[str, ...]) -> str:
    return " ".join(filter(None, (str(row[name] or "").strip() for name in fields)))


def _tagged_queries(path: Path, config: SourceConfig) -> Iterator[Example]:
    for number, line in numbered_lines(path):
        tag, tab, query = line.partition("\t")
        if not tab:
            raise InputError(f"{path}:{number}: expected a tag, a tab and a query, found no tab")
        if tag not in config.exclude:
            yield Example(query.strip(), "", judged=False)


def _triples(folder: Path, config: SourceConfig) -> Iterator[Example]:
    """Lines of ids: a query, its answer, and hard negatives."""
    passages = {passage.doc_id: passage.content for passage in read_passages(folder)}
    queries = beir_queries(folder)
    path = folder / config.triples
    if not path.is_file():
        raise InputError(f"{path}: expected triples of ids, found no file; check `triples`")
    for number, line in numbered_lines(path):
        query, *docs = line.split("\t")
        unknown = [] if query in queries else [query]
        unknown += [doc for doc in docs if doc not in passages]
        if unknown or not docs:
            raise InputError(
                f"{path}:{number}: expected ids of a query and of passages of {folder}, found "
                f"{', '.join(map(repr, unknown)) or 'no passage'}; use triples and corpus of "
                "one collection"
            )
        negatives = tuple(Candidate(passages[doc], math.nan) for doc in docs[1:])
        yield Example(queries[query], passages[docs[0]], config.judged, negatives)


def _beir(folder: Path, config: SourceConfig) -> Iterator[Example]:
    """The judged pairs of a split; a query judged for several passages comes several times."""
    passages = {passage.doc_id: passage.content for passage in read_passages(folder)}
    queries = beir_queries(folder)
    judgements = beir_judgements(folder, config.split)
    for line, query, doc, grade in judgement_lines(judgements):
        if query not in queries or doc not in passages:
            raise InputError(
                f"{judgements}:{line}: expected ids of the collection, found {query!r} and "
                f"{doc!r}; use queries, corpus and judgements of one collection"
            )
        if grade > 0:
            yield Example(queries[query], passages[doc], config.judged)


def _held_out(passage: str, share: float) -> bool:
    """Whether a passage is kept out of training: by its text, so whatever queries it has."""
    if share == 0 or not passage:
        return False
    digest = hashlib.blake2b(passage.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64
