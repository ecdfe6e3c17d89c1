"""A dense encoder: texts in, one vector each out. transformers runs the language model unforked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoModel

from tamis.index.errors import FormatError, InputError
from tamis.index.interrupts import check_for_interrupts
from tamis.retriever.models.arithmetic import faster_float
from tamis.retriever.models.code_head import embed
from tamis.retriever.models.dense_format import DenseFiles, read_dense_encoder
from tamis.retriever.models.encoder import batches_by_length, choose_device
from tamis.retriever.models.fast_linear import use_fast_products
from tamis.retriever.models.packing import pack_texts, prepare_packing, run_packed
from tamis.retriever.models.splade_model import (
    CPU_BATCH_TOKENS,
    GPU_BATCH_TOKENS,
    pad,
    padding_id,
)
from tamis.retriever.models.weights import load_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WINDOW_TEXTS = 1024  # tokenised at once, and sorted by length


class DenseEncoder:
    """Texts to vectors; safe to use from several threads.

    Attributes:
        files: what was loaded.
        fingerprint: of its files.
        size: numbers of a vector.
    """

    def __init__(
        self, files: DenseFiles, device: str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        """Load a model; see `load`."""
        self.files, self.fingerprint = files, files.fingerprint
        self._device = choose_device(device)
        on_cpu = self._device.type == "cpu"
        dtype = dtype or (faster_float() if on_cpu else torch.bfloat16)
        loaded = load_model(AutoModel, files.side.folder, dtype).model
        self._model: Any = loaded.to(self._device).eval()
        self._first_position = prepare_packing(self._model)
        if on_cpu:
            use_fast_products(self._model)
        self._tokenizer = files.side.tokenizer()
        for prompt in (files.query_prompt, files.document_prompt):
            self._tokenizer.check_prompt(prompt, files.folder)
        self.size = int(self._model.config.hidden_size)
        self._batch_tokens = CPU_BATCH_TOKENS if on_cpu else GPU_BATCH_TOKENS

    @staticmethod
    def load(
        name_or_path: str, *, device: str | None = None, dtype: torch.dtype | None = None
    ) -> DenseEncoder:
        """Load a dense encoder of sentence-transformers.

        Args:
            name_or_path: a folder, or a hub name.
            device: such as ``cpu`` or ``cuda:0``; None takes CUDA where there is a device.
            dtype: of its weights; None takes what the device multiplies fastest.

        Raises:
            InputError: there is no such model or device, or torch is not installed.
            FormatError: it has modules or settings that are not computed here.
        """
        return DenseEncoder(read_dense_encoder(name_or_path), device, dtype)

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors ``[texts, size]`` of documents."""
        return self._encode(texts, self.files.document_prompt)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors ``[texts, size]`` of queries."""
        return self._encode(texts, self.files.query_prompt)

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        if isinstance(texts, str):
            raise InputError("expected a list of texts, found one string; write [text]")
        vectors = np.empty((len(texts), self.size), np.float32)
        for start in range(0, len(texts), WINDOW_TEXTS):
            window = [prompt + text for text in texts[start : start + WINDOW_TEXTS]]
            ids = self._tokenizer.document_ids(window)
            for batch in batches_by_length([len(row) for row in ids], self._batch_tokens):
                check_for_interrupts()
                vectors[[start + at for at in batch]] = self._pooled([ids[at] for at in batch])
        if not np.isfinite(vectors).all():
            raise FormatError(
                f"{self.files.folder}: expected finite vectors, found NaN or infinity; copy the "
                "folder anew from its source"
            )
        return vectors

    def _pooled(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """``[texts, size]`` of one batch."""
        if self._first_position is not None:
            texts = pack_texts(ids, self._first_position, self._device)
            hidden, offsets = run_packed(self._model, texts).float(), texts.offsets.long()
        else:
            padded, mask = (part.to(self._device) for part in pad(ids, padding_id(self._model)))
            hidden = self._model(input_ids=padded, attention_mask=mask)[0][mask.bool()].float()
            offsets = torch.nn.functional.pad(mask.sum(1).cumsum(0), (1, 0))
        vectors = embed(hidden, offsets, self.files.pooling, scaled=self.files.is_cosine)
        found: NDArray[np.float32] = vectors.cpu().numpy()
        return found
