"""BlockReranker: a query and its candidates in one context, scored by the query's attention.

The lists of BlockRank (Gupta et al., 2025): every document reads the instruction and itself, the
query reads everything, and relevance is how much of the query's attention a document draws in one
middle layer. Nothing is generated.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tamis.index.errors import FormatError, InputError
from tamis.index.interrupts import check_for_interrupts
from tamis.retriever.models.encoder import ahead, choose_device
from tamis.retriever.rerank.attention import DocumentKeys
from tamis.retriever.rerank.backbone import Backbone
from tamis.retriever.rerank.batches import batches_of
from tamis.retriever.rerank.cascade import OverStoredKeys
from tamis.retriever.rerank.held_documents import HeldQueries
from tamis.retriever.rerank.layout import BlockLayout
from tamis.retriever.rerank.loading import LoadedReranker, load_reranker, usual_dtype
from tamis.retriever.rerank.readout import SHARE, Readout
from tamis.retriever.rerank.reranker import check_first_stage, with_others_below, with_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.retriever.rerank.batches import Batch
    from tamis.retriever.rerank.layout import Block
    from tamis.retriever.rerank.prompt import Conditioning
    from tamis.retriever.rerank.reranker import Reranker

    _Masses = tuple[torch.Tensor, ...]  # by list, [documents, signals, heads]

CPU_TOKENS = 2048  # hidden states stay near the cache, and each core has a batch
GPU_TOKENS = 131_072


class BlockReranker:
    """Reranks candidate documents; safe to use from several threads, one list after the other.

    Attributes:
        parts: model, prompts and settings.
        conditioning: "query" lets documents read the query, which is better; "none" keeps them
            independent of it, so that their keys can be stored.
        batch_tokens: tokens of one forward; longer lists are split there and merged.
    """

    def __init__(
        self,
        parts: LoadedReranker,
        conditioning: Conditioning = "query",
        batch_tokens: int | None = None,
    ) -> None:
        """Join what `load_reranker` gives; see `from_pretrained`."""
        self.parts = parts
        self.conditioning: Conditioning = conditioning
        on_cpu = parts.backbone.device.type == "cpu"
        self.batch_tokens = batch_tokens or (CPU_TOKENS if on_cpu else GPU_TOKENS)

    @staticmethod
    def from_pretrained(
        name_or_path: str = "default",
        *,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        conditioning: Conditioning = "query",
        compiled: bool = False,
        products: torch.dtype | None = None,
    ) -> BlockReranker:
        """Load a reranker.

        Args:
            name_or_path: ``default`` for the bundled one; a folder or hub name of a Llama, Mistral,
                Qwen3, BERT or ModernBERT, with or without ``reranker.json``.
            device: such as ``cpu`` or ``cuda:0``; None takes CUDA where there is a device.
            dtype: of the weights; None takes what the device multiplies fastest, see
                `load_reranker`.
            conditioning: see the class.
            compiled: fuse the layers with torch.compile: a large model on a GPU runs faster, after
                a first list that takes half a minute longer.
            products: ``torch.float8_e4m3fn`` for a decoder's linear layers to multiply in float8,
                on a GPU that can, best together with ``compiled``; None for ``dtype``.

        Raises:
            InputError: there is no such model or device, or it cannot multiply as asked.
            FormatError: the model is of no format or architecture that can be read.
        """
        from tamis.retriever.rerank.float8 import check_products

        where = choose_device(device)
        if products is not None:
            check_products(products, where)
        in_floats = compiled or products is not None
        parts = load_reranker(
            name_or_path, where, dtype or (usual_dtype(where) if in_floats else None)
        )
        if in_floats:
            assert isinstance(parts.backbone, Backbone)
            if products is not None:
                parts.backbone.use_float8()
            if compiled:
                parts.backbone.compile_layers()
        return BlockReranker(parts, conditioning)

    def over(self, folder: Path) -> Reranker:
        """This reranker for the documents of one collection, by the keys stored in its folder.

        Where none are stored, all texts are read; documents that do not read the query are, too.
        """
        return OverStoredKeys(self, folder) if self.conditioning == "query" else self

    @property
    def readout(self) -> Readout:
        """How attention becomes a score under the conditioning in use."""
        return self.parts.settings.readouts.get(self.conditioning, SHARE)

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        *,
        ids: Sequence[str] | None = None,
        first_stage: Sequence[float] | None = None,
    ) -> list[dict[str, Any]]:
        """The documents best first, as sentence-transformers' CrossEncoder gives them.

        Args:
            query: its text.
            documents: candidates; may be empty and hold duplicates.
            top_k: how many to return; None for all.
            return_documents: whether to add each document's ``text``.
            ids: of the documents; adds ``id``.
            first_stage: the scores they were found with, mixed in as the model was tuned to.

        Returns:
            ``[{"corpus_id", "score"}]``, ``corpus_id`` the position in ``documents``; equal scores
            keep the order given, and documents without text come last.

        Raises:
            InputError: ids or first-stage scores are of another number, or top_k is below 1.
            FormatError: the model gave scores that are not finite.
        """
        if ids is not None and len(ids) != len(documents):
            raise InputError(
                f"expected {len(documents)} ids, found {len(ids)}; give one a document"
            )
        if top_k is not None and top_k < 1:
            raise InputError(f"expected top_k of at least 1, found {top_k}")
        scores = self.score(query, documents, first_stage=first_stage)
        found = []
        for at in np.argsort(-scores, kind="stable")[:top_k].tolist():
            row: dict[str, Any] = {"corpus_id": at, "score": float(scores[at])}
            if ids is not None:
                row["id"] = ids[at]
            if return_documents:
                row["text"] = documents[at]
            found.append(row)
        return found

    def score(
        self, query: str, documents: Sequence[str], *, first_stage: Sequence[float] | None = None
    ) -> NDArray[np.float32]:
        """The scores ``[documents]`` of one list; see `rank`."""
        prior = None if first_stage is None else [first_stage]
        return self.score_batch([(query, documents)], first_stage=prior)[0]

    @torch.inference_mode()
    def score_batch(
        self,
        lists: Sequence[tuple[str, Sequence[str]]],
        *,
        first_stage: Sequence[Sequence[float]] | None = None,
    ) -> list[NDArray[np.float32]]:
        """The scores of several lists of any sizes, packed into few forwards.

        Documents without text are not read: they stand below all others.

        Args:
            lists: queries and their documents.
            first_stage: the scores of each list's documents.

        Raises:
            InputError: first-stage scores are of another number than the documents.
            FormatError: the model gave scores that are not finite.
        """
        priors = self._priors(lists, first_stage)
        places = [with_text(documents) for _, documents in lists]
        scores = self._scores(lists, places)
        if self.readout.null:
            nothing = self.parts.settings.null_query
            less = self._scores([(nothing, documents) for _, documents in lists], places)
            pairs = zip(scores, less, strict=True)
            scores = [one - self.readout.null * other for one, other in pairs]
        return [self._placed(*row) for row in zip(scores, priors, places, strict=True)]

    @torch.inference_mode()
    def explain(self, query: str, documents: Sequence[str]) -> list[dict[str, Any]]:
        """`rank` with the attention of each document's words.

        Returns:
            ``[{"corpus_id", "score", "tokens": [{"text", "start", "stop", "attention"}]}]``, best
            first; start and stop are characters, the attention of a document's block sums to 1, and
            what its template's own tokens draw is left out.
        """
        found = self.rank(query, documents)
        for row in found:
            text = documents[row["corpus_id"]]
            shares = self._token_shares(self._build(query, [text]))
            first = self.parts.prompts.document_start
            spans = self.parts.prompts.spans(text)
            row["tokens"] = [
                {"text": text[start:stop], "start": start, "stop": stop, "attention": share}
                for (start, stop), share in zip(spans, shares[first:], strict=False)
            ]
        return found

    @torch.no_grad()
    def document_keys(self, documents: Sequence[str]) -> DocumentKeys:
        """The keys and values of documents, as a store keeps them; see `DocumentStore`."""
        blank = with_text(documents)[1]
        if not documents:
            return DocumentKeys(np.zeros(1, np.int32), {}, np.zeros(0, bool))
        block = self.parts.prompts.build("", documents, "none")
        held = self.parts.backbone.document_keys(
            BlockLayout.pack([block], self.parts.prompts.sizes)
        )
        held.blank[blank] = True
        return held

    def hold(self, held: DocumentKeys) -> HeldQueries:
        """Documents that many queries are going to be scored against by `score_held`.

        On a GPU their keys are copied at the first query, and later queries replay what the first
        of their length launched.
        """
        return HeldQueries(self.parts.backbone, held, self.parts.prompts.sizes.query)

    @torch.inference_mode()
    def score_held(self, query: str, held: DocumentKeys | HeldQueries) -> NDArray[np.float32]:
        """The scores ``[documents]`` of documents whose keys are known; no document is read.

        Args:
            query: its text.
            held: what `document_keys` gave for them, or, for many queries, `hold`.

        Raises:
            FormatError: the model gave scores that are not finite.
        """
        if not len(held.blank):
            return np.empty(0, np.float32)
        readout = self.parts.settings.readouts.get("none", SHARE)
        scores = self._held_scores(query, held, readout)
        if readout.null:
            nothing = self.parts.settings.null_query
            scores = scores - readout.null * self._held_scores(nothing, held, readout)
        found: NDArray[np.float32] = scores.cpu().numpy()
        order = np.argsort(held.blank, kind="stable")
        texts = order[: len(order) - int(held.blank.sum())]
        found[order] = with_others_below(found[texts], len(found))
        return found

    def _held_scores(
        self, query: str, held: DocumentKeys | HeldQueries, readout: Readout
    ) -> torch.Tensor:
        block = self.parts.prompts.build(query, (), "none")
        layout = BlockLayout.pack([block], self.parts.prompts.sizes)
        if isinstance(held, HeldQueries):
            mass = held(layout)
        else:
            mass = self.parts.backbone.with_held(layout, held)
        lengths = torch.from_numpy(np.diff(held.bounds)).to(mass.device)
        return _finite(readout.scores(mass, lengths))

    def _scores(
        self, lists: Sequence[tuple[str, Sequence[str]]], places: Sequence[tuple[list[int], ...]]
    ) -> list[torch.Tensor]:
        """The scores ``[documents with text]`` float32 of each list, without first stage."""
        blocks = [
            _with_documents(self._build(query, documents), texts)
            for (query, documents), (texts, _) in zip(lists, places, strict=True)
        ]
        masses: list[list[torch.Tensor]] = [[] for _ in blocks]
        for batch, found in self._forwards(batches_of(blocks, self.batch_tokens)):
            check_for_interrupts()
            for (number, block), part in zip(batch, found, strict=True):
                masses[number].append(part[:, : block.signals])
        return [self._read(parts, block) for parts, block in zip(masses, blocks, strict=True)]

    def _forwards(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, _Masses]]:
        """Each batch with the log mass of its lists, in order."""
        lanes = self.parts.backbone.lanes
        if lanes == 1:
            yield from map(self._forward, batches)
            return
        threads = max(1, torch.get_num_threads() // lanes)
        with ThreadPoolExecutor(lanes, "rerank", torch.set_num_threads, (threads,)) as pool:
            yield from ahead(pool, self._forward, batches, lanes)

    @torch.inference_mode()  # of each thread
    def _forward(self, batch: Batch) -> tuple[Batch, _Masses]:
        layout = BlockLayout.pack([block for _, block in batch], self.parts.prompts.sizes)
        mass = self.parts.backbone(layout)
        return batch, torch.split(mass, np.diff(layout.documents).tolist())

    def _build(self, query: str, documents: Sequence[str]) -> Block:
        return self.parts.prompts.build(query, documents, self.conditioning)

    def _token_shares(self, block: Block) -> list[float]:
        layout = BlockLayout.pack([block], self.parts.prompts.sizes)
        s0, s1, start, stop = layout.segments[0].tolist()
        rows = [[s0, s1, at, at + 1] for at in range(start, stop)]
        mass = self.parts.backbone(layout, np.array(rows, np.int32))  # [tokens, signals, heads]
        heads = torch.tensor(self.readout.heads or (1.0,) * mass.shape[2], device=mass.device)
        weights = heads.clamp_min(0) / heads.clamp_min(0).sum()
        shares: list[float] = (mass.softmax(0).mean(1) @ weights).tolist()
        return shares

    def _read(self, masses: list[torch.Tensor], block: Block) -> torch.Tensor:
        if not block.documents:
            return torch.empty(0)
        mass = torch.cat(masses)
        lengths = torch.tensor([len(ids) for ids in block.documents], device=mass.device)
        return _finite(self.readout.scores(mass, lengths))

    def _placed(
        self,
        scores: torch.Tensor,
        prior: Sequence[float] | None,
        places: tuple[list[int], list[int]],
    ) -> NDArray[np.float32]:
        """The scores of a whole list from those of its documents with text."""
        texts, blank = places
        if prior is not None and len(scores):
            found_with = [prior[at] for at in texts]
            first_stage = torch.tensor(found_with, dtype=torch.float32, device=scores.device)
            scores = self.readout.with_prior(scores, first_stage)
        found = np.empty(len(texts) + len(blank), np.float32)
        found[[*texts, *blank]] = with_others_below(scores.float().cpu().numpy(), len(found))
        return found

    def _priors(
        self,
        lists: Sequence[tuple[str, Sequence[str]]],
        first_stage: Sequence[Sequence[float]] | None,
    ) -> Sequence[Sequence[float] | None]:
        if first_stage is None:
            return [None] * len(lists)
        sizes = [len(documents) for _, documents in lists]
        if [len(scores) for scores in first_stage] != sizes:
            raise InputError(
                f"expected first-stage scores of {sizes[:5]} documents, found "
                f"{[len(scores) for scores in first_stage][:5]}; give one a document"
            )
        for scores, size in zip(first_stage, sizes, strict=True):
            check_first_stage(scores, size)
        return first_stage


def _finite(scores: torch.Tensor) -> torch.Tensor:
    if not torch.isfinite(scores).all():
        bad = int((~torch.isfinite(scores)).nonzero()[0, 0])
        raise FormatError(
            f"expected finite scores, found {scores[bad].item()} for document {bad}; the "
            "model's weights are damaged, or overflow in this dtype: try dtype=torch.float32"
        )
    return scores.float()


def _with_documents(block: Block, places: Sequence[int]) -> Block:
    return replace(block, documents=[block.documents[at] for at in places])
