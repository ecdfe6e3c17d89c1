"""Systems as data: what a suite file or the command line says, and the systems it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from tamis.eval.baselines import MINILM, Bm25System, DenseSystem
from tamis.eval.hybrid import ByRank, ByScore, FeedbackSystem, FusedSystem
from tamis.eval.lucene import LuceneSystem
from tamis.eval.ranker import Feedback, System
from tamis.eval.reranking import reranked
from tamis.eval.systems import TamisSystem
from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Bm25Spec(
    msgspec.Struct, frozen=True, tag="bm25", tag_field="kind", forbid_unknown_fields=True
):
    """BM25 by bm25s; ``language = "auto"`` is that of the documents of a pair of languages."""

    name: str = "bm25"
    k1: float = 0.9
    b: float = 0.4
    language: str = "english"

    def build(self, known: Mapping[str, System]) -> System:
        """The system."""
        return Bm25System(self.k1, self.b, self.name, self.language)


class DenseSpec(
    msgspec.Struct, frozen=True, tag="dense", tag_field="kind", forbid_unknown_fields=True
):
    """A dense bi-encoder; ``folder`` is where the model lies without a network."""

    name: str = "dense"
    model: str = MINILM
    folder: str | None = None
    computed_in: str = "float32"
    max_tokens: int = 256

    def build(self, known: Mapping[str, System]) -> System:
        """The system."""
        folder = Path(self.folder) if self.folder else None
        return DenseSystem(self.model, folder, self.computed_in, self.max_tokens, name=self.name)


class LuceneSpec(
    msgspec.Struct, frozen=True, tag="lucene", tag_field="kind", forbid_unknown_fields=True
):
    """BM25 by Lucene, through pyserini."""

    name: str = "lucene"
    k1: float = 0.9
    b: float = 0.4

    def build(self, known: Mapping[str, System]) -> System:
        """The system."""
        return LuceneSystem(self.k1, self.b, self.name)


class TamisSpec(
    msgspec.Struct, frozen=True, tag="tamis", tag_field="kind", forbid_unknown_fields=True
):
    """This package's search; encoder "bm25" is the lexical channel alone.

    ``chunk = "200:40"`` divides documents into passages; a document scores as its best one.
    ``device = "cuda"`` ranks whole documents on a GPU, exactly.
    """

    name: str = "tamis"
    encoder: str = "default"
    lexical: bool = True
    language: str = "english"
    lexical_weight: float | None = None
    document_terms: int | None = None
    exact: bool = True
    chunk: str | None = None
    device: Literal["cpu", "cuda"] = "cpu"

    def build(self, known: Mapping[str, System]) -> System:
        """The system, its encoder loaded."""
        from tamis.retriever.corpus.chunking import Chunking
        from tamis.retriever.models.encoder import load_encoder
        from tamis.retriever.words.lexical import LexicalConfig

        words_alone = self.encoder == "bm25"
        return TamisSystem(
            None if words_alone else load_encoder(self.encoder),
            LexicalConfig(language=self.language) if self.lexical or words_alone else None,
            self.name,
            self.lexical_weight,
            self.document_terms,
            self.exact,
            Chunking.parse(self.chunk) if self.chunk else None,
            self.device,
        )


class HybridSpec(
    msgspec.Struct, frozen=True, tag="hybrid", tag_field="kind", forbid_unknown_fields=True
):
    """Fused rankings: a weighted sum with ``weights``, reciprocal ranks without."""

    parts: tuple[str, ...]
    name: str = "hybrid"
    weights: tuple[float, ...] | None = None
    k: int = 60

    def build(self, known: Mapping[str, System]) -> System:
        """The system over parts that stand before it."""
        parts = tuple(_named(part, known) for part in self.parts)
        return FusedSystem(
            parts, ByScore(self.weights) if self.weights else ByRank(self.k), self.name
        )


class PrfSpec(msgspec.Struct, frozen=True, tag="prf", tag_field="kind", forbid_unknown_fields=True):
    """Pseudo-relevance feedback, with another system mixed in before it where one is named."""

    base: str
    name: str = "prf"
    documents: int = 5
    alpha: float = 1.0
    beta: float = 0.4
    terms: int = 64
    before: str | None = None
    weights: tuple[float, float] = (0.5, 0.5)

    def build(self, known: Mapping[str, System]) -> System:
        """The system over a base that stands before it."""
        rule = Feedback(self.documents, self.alpha, self.beta, self.terms)
        before = _named(self.before, known) if self.before else None
        return FeedbackSystem(
            _named(self.base, known), rule, before, ByScore(self.weights), self.name
        )


class RerankSpec(
    msgspec.Struct, frozen=True, tag="rerank", tag_field="kind", forbid_unknown_fields=True
):
    """Another system's best documents, ordered by a block reranker."""

    base: str
    name: str = "tamis+rerank"
    model: str = "default"
    depth: int = 100
    conditioning: Literal["query", "none"] = "query"

    def build(self, known: Mapping[str, System]) -> System:
        """The system over a base that stands before it, its model loaded."""
        return reranked(
            _named(self.base, known),
            self.depth,
            self.name,
            model=self.model,
            conditioning=self.conditioning,
        )


SystemSpec = Bm25Spec | LuceneSpec | DenseSpec | TamisSpec | HybridSpec | PrfSpec | RerankSpec


_BM25, _DENSE = Bm25Spec(language="auto"), DenseSpec()
BASELINES: dict[str, tuple[SystemSpec, ...]] = {
    "bm25": (_BM25,),
    "lucene": (LuceneSpec(),),
    "dense": (_DENSE,),
    "hybrid": (_BM25, _DENSE, HybridSpec(("bm25", "dense"), "hybrid")),
    "hybrid-sum": (_BM25, _DENSE, HybridSpec(("bm25", "dense"), "hybrid-sum", (0.5, 0.5))),
    "dense+prf": (_DENSE, PrfSpec("dense", "dense+prf")),
}


def build_systems(specs: Sequence[SystemSpec]) -> list[System]:
    """The systems of these descriptions; a description may name those before it.

    Raises:
        InputError: a part or base that does not stand before the system that names it.
    """
    known: dict[str, System] = {}
    for spec in specs:
        known[spec.name] = spec.build(known)
    return list(known.values())


def baseline_specs(names: Sequence[str]) -> list[SystemSpec]:
    """Usual baselines by name, each after those it is made of.

    Raises:
        InputError: a name that is not among `BASELINES`.
    """
    found: dict[str, SystemSpec] = {}
    for name in names:
        if name not in BASELINES:
            raise InputError(
                f"expected baselines among {', '.join(BASELINES)}, found {name!r}; "
                "describe other systems in a suite file"
            )
        for spec in BASELINES[name]:
            found.setdefault(spec.name, spec)
    return list(found.values())


def _named(name: str, known: Mapping[str, System]) -> System:
    if name not in known:
        raise InputError(
            f"expected a system that stands before, found {name!r}; there are "
            f"{', '.join(known) or 'none'}"
        )
    return known[name]


def needed(specs: Sequence[SystemSpec], only: Sequence[str]) -> list[SystemSpec]:
    """The descriptions of these systems and of all that they are made of."""
    unknown = set(only) - {spec.name for spec in specs}
    if unknown:
        raise InputError(
            f"expected systems of the suite, found {', '.join(sorted(unknown))}; there are "
            f"{', '.join(spec.name for spec in specs)}"
        )
    wanted = set(only) or {spec.name for spec in specs}
    for spec in reversed(specs):  # what a system is made of stands before it
        if spec.name in wanted:
            wanted |= _made_of(spec)
    return [spec for spec in specs if spec.name in wanted]


def _made_of(spec: SystemSpec) -> set[str]:
    if isinstance(spec, HybridSpec):
        return set(spec.parts)
    if isinstance(spec, RerankSpec):
        return {spec.base}
    if isinstance(spec, PrfSpec):
        return {spec.base} | ({spec.before} if spec.before else set())
    return set()
