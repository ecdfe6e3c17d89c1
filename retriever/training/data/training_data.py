"""Training data ready to batch: token rows of passages and queries, and who belongs to whom.

Prepared once from the sources, kept in a folder that can travel to another machine.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file
from xxhash import xxh3_64

from tamis.index.errors import FormatError, InputError, MismatchError
from tamis.retriever.models.tensor_files import save_arrays
from tamis.retriever.training.data.dev_sets import read_dev_set
from tamis.retriever.training.data.sources import read_source
from tamis.retriever.training.data.stems import WordTable, build_word_table
from tamis.retriever.training.data.token_rows import TokenRows, row_hashes, tokenise
from tamis.retriever.training.records import identity
from tamis.retriever.words.analysis import Analyzer, LexicalConfig

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.retriever.models.tokenizer import Tokenizer
    from tamis.retriever.training.config import DataConfig
    from tamis.retriever.training.data.sources import Example

LISTED_FILE = "listed.safetensors"
LEAST_WORD_COUNT = 2  # a word seen once in all texts matches nothing


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Which queries stand by which passages.

    Attributes:
        queries: ``[pairs]`` int32, rising.
        passages: ``[pairs]`` int32.
        judged: ``[pairs]`` bool, somebody said that the passage answers the query.
    """

    queries: NDArray[np.int32]
    passages: NDArray[np.int32]
    judged: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.queries)


class Listed(NamedTuple):
    """Candidates of queries beside the passages they stand by: hard negatives, and scored pairs.

    queries, passages: ``[pairs]`` int32, distinct pairs, queries rising.
    scores: ``[pairs]`` float32 of a teacher, NaN where there is none.
    """

    queries: NDArray[np.int32]
    passages: NDArray[np.int32]
    scores: NDArray[np.float32]


NOTHING_LISTED = Listed(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))


class DevSet(NamedTuple):
    """A development collection; pairs are the judged ones, ``grades`` [pairs] their gains."""

    name: str
    passages: TokenRows
    queries: TokenRows
    pairs: Pairs
    grades: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """All that a training reads.

    Attributes:
        passages: no two rows are equal.
        queries: no two rows are equal.
        pairs: a query may be in none (a question without a passage).
        words: stems of the pieces, for the lexical channel.
        dev: collections to validate on.
        listed: candidates that came with the sources.
    """

    passages: TokenRows
    queries: TokenRows
    pairs: Pairs
    words: WordTable
    dev: tuple[DevSet, ...]
    listed: Listed = NOTHING_LISTED

    def save(self, folder: Path, settings: str) -> None:
        """Write everything into a new or existing folder; ``settings`` identify what was made."""
        folder.mkdir(parents=True, exist_ok=True)
        self.passages.save(folder / "passages.rows")
        self.queries.save(folder / "queries.rows")
        _save_pairs(self.pairs, folder / "pairs.safetensors")
        self.words.save(folder / "words.safetensors")
        for i, dev in enumerate(self.dev):
            dev.passages.save(folder / f"dev{i}.passages.rows")
            dev.queries.save(folder / f"dev{i}.queries.rows")
            _save_pairs(dev.pairs, folder / f"dev{i}.pairs.safetensors", dev.grades)
        if len(self.listed.queries):
            save_arrays(self.listed._asdict(), folder / LISTED_FILE)
        names = [dev.name for dev in self.dev]
        about = {"settings": settings, "dev": names}
        (folder / "data.json").write_text(json.dumps(about, indent=2))

    @staticmethod
    def load(folder: Path, settings: str) -> TrainingData:
        """Read what `save` wrote.

        Raises:
            FormatError: a file is missing or is not what it should be.
            MismatchError: it was made with other settings.
        """
        try:
            about = json.loads((folder / "data.json").read_text())
        except (OSError, ValueError) as error:
            raise FormatError(
                f"{folder}: expected prepared training data, found none ({error}); remove it"
            ) from error
        if about["settings"] != settings:
            raise MismatchError(
                f"{folder}: expected data prepared with this configuration, of these files and "
                "for this base's tokenizer, found other data; remove the folder, or set "
                "data.prepared to another one"
            )
        return TrainingData(
            TokenRows.load(folder / "passages.rows"),
            TokenRows.load(folder / "queries.rows"),
            _load_pairs(folder / "pairs.safetensors")[0],
            WordTable.load(folder / "words.safetensors"),
            tuple(_load_dev(folder, i, name) for i, name in enumerate(about["dev"])),
            _load_listed(folder / LISTED_FILE),
        )


def load_or_prepare(
    config: DataConfig, tokenizer: Tokenizer, root: Path, folder: Path, seed: int
) -> TrainingData:
    """The prepared data of a folder, made there first if it is new.

    Raises:
        InputError: the sources hold no passages, or a line is wrong (file and line are named).
        FormatError, MismatchError: the folder holds something else.
    """
    about = [identity(config) | {"prepared": ""}, seed, _tokens(tokenizer), _contents(config, root)]
    settings = json.dumps(about, sort_keys=True)
    if not (folder / "data.json").is_file():
        prepare(config, tokenizer, root, seed).save(folder, settings)
    return TrainingData.load(folder, settings)


def _tokens(tokenizer: Tokenizer) -> str:
    """Changes with whatever changes the ids of a text: rows are ids of one tokenizer alone."""
    return xxh3_64(tokenizer.untruncated().backend.to_str().encode()).hexdigest()


def _contents(config: DataConfig, root: Path) -> dict[str, str]:
    """A checksum of each file that texts come from."""
    named = [one.path for one in config.sources] + [one.rpartition(":")[0] for one in config.dev]
    checksums = {}
    for name in sorted(set(named)):
        place = root / name
        files = [place] if place.is_file() else [*place.glob("*"), *place.glob("qrels/*")]
        for path in sorted(one for one in files if one.is_file()):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, xxh3_64)
            checksums[f"{name}:{path.name}"] = digest.hexdigest()
    return checksums


def prepare(config: DataConfig, tokenizer: Tokenizer, root: Path, seed: int) -> TrainingData:
    """Read all sources and development sets and tokenise them; see `load_or_prepare`."""
    examples = [one for source in config.sources for one in read_source(source, root, seed)]
    others = [other.passage for one in examples for other in one.listed]
    texts = [one.passage for one in examples] + others
    passages, passage_of = _distinct(texts, tokenizer, config, 0)
    queries, query_of = _distinct([one.query for one in examples], tokenizer, config, 1)
    if len(passages) < 2 or len(queries) == 0:
        raise InputError(
            f"expected at least two passages and a query, found {len(passages)} and "
            f"{len(queries)}; add sources to [data]"
        )
    judged = np.array([one.judged for one in examples])
    listed = _listed(examples, query_of, passage_of[len(examples) :])
    passage_of = _with_best_listed(examples, passage_of)
    pairs = _pairs(query_of, passage_of, judged)
    dev = tuple(_dev_set(name, config, tokenizer, root, seed) for name in config.dev)
    corpora = [passages, queries, *(part for one in dev for part in (one.passages, one.queries))]
    words = build_word_table(
        corpora, tokenizer, Analyzer(LexicalConfig()), least_count=LEAST_WORD_COUNT
    )
    return TrainingData(passages, queries, pairs, words, dev, listed)


def _distinct(
    texts: Sequence[str], tokenizer: Tokenizer, config: DataConfig, side: int
) -> tuple[TokenRows, NDArray[np.int64]]:
    """The distinct token rows of texts, and the row of each text; -1 where it has no token."""
    limit = (config.passage_tokens - 2, config.query_tokens)[side]  # two special ids
    rows = tokenise(texts, tokenizer, limit)
    _, first, number = np.unique(row_hashes(rows), return_index=True, return_inverse=True)
    kept = np.sort(first[rows.lengths[first] > 0])  # in the order of the sources
    position = np.full(len(texts), -1, np.int64)
    position[kept] = np.arange(len(kept))
    return rows.take(kept), position[first][number.reshape(-1)]


def _pairs(
    query_of: NDArray[np.int64], passage_of: NDArray[np.int64], judged: NDArray[np.bool_]
) -> Pairs:
    """Distinct pairs by rising query; one that came judged and not judged is judged."""
    whole = (query_of >= 0) & (passage_of >= 0)
    queries, passages, judged = query_of[whole], passage_of[whole], judged[whole]
    order = np.lexsort((~judged, passages, queries))
    queries, passages, judged = queries[order], passages[order], judged[order]
    new = np.ones(len(queries), bool)
    new[1:] = (np.diff(queries) != 0) | (np.diff(passages) != 0)
    return Pairs(queries[new].astype(np.int32), passages[new].astype(np.int32), judged[new])


def _listed(
    examples: Sequence[Example], query_of: NDArray[np.int64], passage_of: NDArray[np.int64]
) -> Listed:
    """The candidates of all examples; ``passage_of`` is theirs. Of equal pairs the last counts."""
    queries = np.repeat(query_of, [len(one.listed) for one in examples])
    scores = np.array([other.score for one in examples for other in one.listed], np.float32)
    keys = queries * (1 + passage_of.max(initial=0)) + passage_of
    whole = np.flatnonzero((queries >= 0) & (passage_of >= 0))
    _, last = np.unique(keys[whole][::-1], return_index=True)
    rows = whole[::-1][last]
    return Listed(queries[rows].astype(np.int32), passage_of[rows].astype(np.int32), scores[rows])


def _with_best_listed(
    examples: Sequence[Example], passage_of: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The passage of each example; of one without its own, the candidate that scores highest."""
    found = passage_of[: len(examples)].copy()
    first = len(examples)
    for i, one in enumerate(examples):
        scores = [other.score for other in one.listed]
        if not one.passage and scores:
            best = int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))
            found[i] = passage_of[first + best]
        first += len(scores)
    return found


def _dev_set(name: str, config: DataConfig, tokenizer: Tokenizer, root: Path, seed: int) -> DevSet:
    texts = read_dev_set(name, root, config.dev_passages, seed, config.dev_queries)
    passages = tokenise(texts.passages, tokenizer, config.passage_tokens - 2)
    queries = tokenise(texts.queries, tokenizer, config.query_tokens)
    pairs = Pairs(texts.query_of, texts.passage_of, np.ones(len(texts.query_of), bool))
    return DevSet(name, passages, queries, pairs, texts.grades)


def _save_pairs(pairs: Pairs, path: Path, grades: NDArray[np.float32] | None = None) -> None:
    tensors: dict[str, NDArray[Any]] = {
        "queries": pairs.queries,
        "passages": pairs.passages,
        "judged": pairs.judged.astype(np.uint8),
        "grades": np.ones(len(pairs), np.float32) if grades is None else grades,
    }
    save_arrays(tensors, path)


def _load_pairs(path: Path) -> tuple[Pairs, NDArray[np.float32]]:
    try:
        tensors = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise FormatError(
            f"{path}: expected pairs of queries and passages, found none ({error}); prepare again"
        ) from error
    pairs = Pairs(tensors["queries"], tensors["passages"], tensors["judged"].astype(bool))
    return pairs, tensors["grades"]


def _load_listed(path: Path) -> Listed:
    return Listed(**load_file(str(path))) if path.is_file() else NOTHING_LISTED


def _load_dev(folder: Path, i: int, name: str) -> DevSet:
    pairs, grades = _load_pairs(folder / f"dev{i}.pairs.safetensors")
    passages = TokenRows.load(folder / f"dev{i}.passages.rows")
    return DevSet(name, passages, TokenRows.load(folder / f"dev{i}.queries.rows"), pairs, grades)
