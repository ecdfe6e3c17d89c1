"""A system whose best documents another model reranks."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tamis.index.errors import InputError
from tamis.retriever.rerank.named import NamedRerankers, about_stored
from tamis.retriever.rerank.reranker import bind, with_others_below
from tamis.retriever.rerank.text_store import KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tamis.eval.datasets import Dataset
    from tamis.eval.ranker import Ranker, System
    from tamis.retriever.rerank.named import RerankerName
    from tamis.retriever.rerank.reranker import Reranker


@dataclass(frozen=True)
class RerankedSystem:
    """A first stage and a reranker.

    Attributes:
        base: the first stage.
        reranker: scores its best documents, given its scores.
        about: what identifies the reranker, as JSON values.
        depth: how many documents of a query are reranked; the others keep their order below.
        name: as reports print it.
    """

    base: System
    reranker: Reranker
    about: Mapping[str, Any]
    depth: int = 100
    name: str = "tamis+rerank"

    def settings(self) -> dict[str, Any]:
        """The first stage's settings and the reranker's."""
        return {"base": self.base.settings(), "reranker": dict(self.about), "depth": self.depth}

    def prepare(self, dataset: Dataset, work: Path) -> RerankedRanker:
        """Prepare the first stage, and hold the texts."""
        texts = {passage.doc_id: passage.content for passage in dataset.corpus()}
        return RerankedRanker(self.base.prepare(dataset, work), self.reranker, texts, self.depth)


@dataclass(frozen=True)
class RerankedRanker:
    """Ranks, and ranks the best again."""

    base: Ranker
    reranker: Reranker
    texts: Mapping[str, str]
    reranked: int

    def rank(self, queries: Sequence[str], depth: int) -> list[dict[str, float]]:
        """The reranked documents with the reranker's scores, the others below the last of them."""
        found = self.base.rank(queries, max(depth, self.reranked))
        pairs = zip(queries, found, strict=True)
        return [self._again(query, ranking, depth) for query, ranking in pairs]

    def timed(self, query: str, k: int) -> dict[str, float]:
        """The first stage's stages and one of reranking."""
        stages = self.base.timed(query, max(k, self.reranked))
        (found,) = self.base.rank([query], max(k, self.reranked))
        began = perf_counter()
        self._again(query, found, k)
        return {**stages, "rerank_ms": (perf_counter() - began) * 1000}

    def facts(self) -> dict[str, Any]:
        """Those of the first stage."""
        return self.base.facts()

    def distributions(self) -> dict[str, list[int]]:
        """None of its own."""
        return {}

    def _again(self, query: str, ranking: Mapping[str, float], depth: int) -> dict[str, float]:
        ordered = list(ranking.items())  # best first, as `Ranker.rank` gives them
        head = ordered[: self.reranked]
        first_stage = [score for _, score in head]
        texts = [self._text(doc) for doc, _ in head]
        best = self.reranker.score(query, texts, first_stage=first_stage)
        scores = with_others_below(best, len(ordered))
        order = np.argsort(-scores, kind="stable")[:depth].tolist()
        return {ordered[at][0]: float(scores[at]) for at in order}

    def _text(self, doc_id: str) -> str:
        if doc_id not in self.texts:
            raise InputError(
                f"expected documents of the dataset to rerank, found {doc_id!r}, which it has not; "
                "index the dataset's own corpus"
            )
        return self.texts[doc_id]


def reranked(
    base: System,
    depth: int,
    name: str,
    *,
    model: str = "default",
    conditioning: Literal["query", "none"] = "query",
    folder: Path | None = None,
) -> RerankedSystem:
    """A system with its best documents ordered by a block reranker, which is loaded.

    Args:
        base: the first stage.
        depth: how many documents of a query are reranked.
        name: as reports print it.
        model: ``default``, a folder, or a hub name.
        conditioning: what documents are read with.
        folder: of the collection that the first stage searches; keys stored there are used.
    """
    from tamis.retriever.rerank.block_reranker import BlockReranker

    found = BlockReranker.from_pretrained(model, conditioning=conditioning)
    about: dict[str, Any] = {
        "fingerprint": found.parts.fingerprint,
        "name": found.parts.settings.name,
        "conditioning": conditioning,
    }
    if folder is None:
        return RerankedSystem(base, found, about, depth, name)
    about["stored_keys"] = (folder / KEYS.folder).is_dir()
    return RerankedSystem(base, bind(found, folder), about, depth, name)


def reranked_by_name(
    base: System, depth: int, name: str, *, folder: Path, reranker: RerankerName
) -> RerankedSystem:
    """A system with its best documents ordered by what is stored beside its collection.

    Args:
        base: the first stage.
        depth: how many documents of a query are reranked.
        name: as reports print it.
        folder: of the collection that the first stage searches.
        reranker: which one.

    Raises:
        InputError: nothing is stored for it.
    """
    found = NamedRerankers(folder).named(reranker, None)
    about = {"name": reranker, "fingerprint": about_stored(folder, reranker).fingerprint}
    return RerankedSystem(base, found, about, depth, name)
