"""Hugging Face language models cut before their vocabulary head: ids in, head inputs out.

transformers runs the backbone and the head's transform unforked; the last product, with the
vocabulary, is left to `tamis.kernels`, which never builds ``[batch, tokens, vocabulary]``.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM
from transformers.utils import logging

from tamis.index.errors import FormatError
from tamis.index.vectors import SparseVectors
from tamis.kernels.activation import Activation
from tamis.kernels.ops import SparseRows, splade_encode, splade_encode_packed, splade_head_sum
from tamis.retriever.checkpoint import Architecture, NeuralSide, Pooling
from tamis.retriever.fast_linear import use_fast_products
from tamis.retriever.packing import pack_texts, prepare_packing, run_packed
from tamis.retriever.quantised_weights import SCALE, load_quantised

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

CPU_BATCH_TOKENS = 4096  # hidden states stay near the cache
GPU_BATCH_TOKENS = 65_536
GPU_LANES = 2


class SpladeModel(nn.Module):
    """A language model whose pooled logits are the weights of terms.

    Attributes:
        model: the Hugging Face model, whose output embeddings pass their input through.
        decoder: the vocabulary head, ``weight`` [V, D] (tied where the model ties it) and ``bias``.
        activation: from pooled logit to weight.
        excluded: ``[V]`` bool, terms that are never emitted.
    """

    excluded: torch.Tensor

    def __init__(
        self, side: NeuralSide, model: nn.Module, decoder: nn.Linear, special_ids: Iterable[int]
    ) -> None:
        """Join a model and the head that was cut from it; see `load_language_model`."""
        super().__init__()
        self.side = side
        self.model = model
        self.decoder = decoder
        self.activation = Activation.LOG1P_LOG1P_RELU if side.double_log else Activation.LOG1P_RELU
        excluded = torch.zeros(side.vocab_size, dtype=torch.bool)
        excluded[list(special_ids)] = True
        self.register_buffer("excluded", excluded, persistent=False)
        config: Any = model.config
        self._padding_id = int(config.pad_token_id or 0)
        self._first_position: int | None = None  # set where texts are packed
        self._streams: list[torch.cuda.Stream] = []

    @property
    def vocab_size(self) -> int:
        """Number of terms."""
        return self.side.vocab_size

    @property
    def batch_tokens(self) -> int:
        """Tokens, padding included, that make a good batch on this device."""
        return CPU_BATCH_TOKENS if self.excluded.device.type == "cpu" else GPU_BATCH_TOKENS

    @property
    def lanes(self) -> int:
        """Batches that are best under way at once, each in a thread of its own."""
        return max(1, len(self._streams))

    def forward(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The head's inputs ``[B, S, D]`` for ids and mask ``[B, S]`` (1 token, 0 padding)."""
        options: dict[str, Any] = {}
        attention = mask
        if self.side.architecture is Architecture.CAUSAL:
            options["use_cache"] = False
        if self.side.bidirectional:
            attention = mask[:, None, None, :].bool().expand(-1, 1, mask.shape[1], -1)
        output = self.model(input_ids=input_ids, attention_mask=attention, **options)
        hidden: torch.Tensor = output[0]  # logits, which are the head's input once it is cut
        return hidden

    @property
    def packs(self) -> bool:
        """Whether texts of any lengths make a batch without padding."""
        return self._first_position is not None

    def prepare_to_encode(self) -> SpladeModel:
        """Make the model, on the device where it will stay, fast without gradients; give it back.

        Its class, parameters and results stay; texts are no longer padded where that can be.
        """
        if self.side.pooling is Pooling.MAX and self.side.architecture is Architecture.MASKED:
            self._first_position = prepare_packing(self.model)
        if self.excluded.device.type == "cpu":
            use_fast_products(self.model)
        else:
            self._streams = _streams(self.excluded.device)
        return self

    @torch.inference_mode()
    def encode(self, ids: Sequence[Sequence[int]], lane: int = 0) -> SparseVectors:
        """The vectors of one batch of texts, given as token ids.

        Args:
            ids: of each text; none for a text without tokens where the model `packs`.
            lane: calls at once from several threads take numbers of their own.
        """
        with self._lane(lane):
            rows = self._encode_packed(ids) if self.packs else self._encode_padded(ids)
            offsets, terms, weights = (part.cpu().numpy() for part in rows)
        return SparseVectors(offsets, terms, weights, self.vocab_size)

    def _lane(self, number: int) -> AbstractContextManager[object]:
        """On a GPU, one of the streams that run side by side."""
        if not self._streams:
            return contextlib.nullcontext()
        return torch.cuda.stream(self._streams[number % len(self._streams)])

    def _encode_packed(self, ids: Sequence[Sequence[int]]) -> SparseRows:
        texts = pack_texts(ids, self._first_position or 0, self.excluded.device)
        return splade_encode_packed(
            run_packed(self.model, texts),
            self.decoder.weight,
            self.decoder.bias,
            offsets=texts.offsets,
            max_len=texts.max_len,
            activation=self.activation,
            logit_scale=self.side.logit_scale,
            exclude=self.excluded,
            top_n=self.side.top_n,
        )

    def _encode_padded(self, ids: Sequence[Sequence[int]]) -> SparseRows:
        device = self.decoder.weight.device
        input_ids, mask = (part.to(device) for part in pad(ids, self._padding_id))
        return self._pool(self(input_ids, mask), mask, input_ids)

    def _pool(self, hidden: torch.Tensor, mask: torch.Tensor, _: torch.Tensor) -> SparseRows:
        side, decoder = self.side, self.decoder
        shared: dict[str, Any] = {
            "mask": mask.bool(),
            "activation": self.activation,
            "logit_scale": side.logit_scale,
        }
        if side.pooling is Pooling.SUM:
            dense = splade_head_sum(hidden, decoder.weight, decoder.bias, **shared)
            return _sparse_rows(dense.masked_fill(self.excluded, 0), side.top_n)
        return splade_encode(
            hidden, decoder.weight, decoder.bias, **shared, exclude=self.excluded, top_n=side.top_n
        )


class TokenWeightModel(SpladeModel):
    """A model that weighs the tokens a text has, and adds none (bge-m3's sparse output).

    The weight of a term is the largest relu(h . w + b) over its occurrences.
    """

    def _pool(self, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> SparseRows:
        scores = torch.relu(self.decoder(hidden)).squeeze(-1).float() * mask
        dense = scores.new_zeros(len(ids), self.side.vocab_size)
        dense.scatter_reduce_(1, ids, scores, reduce="amax")
        return _sparse_rows(dense.masked_fill(self.excluded, 0), self.side.top_n)


def load_language_model(
    side: NeuralSide, special_ids: Iterable[int], device: torch.device
) -> SpladeModel:
    """Load a side's model onto a device, ready to encode.

    It runs in bfloat16 on a GPU and in float32 on a processor; a model whose weights were rounded
    to int8 anyway runs in bfloat16 on processors that multiply it natively, several times faster.

    Args:
        side: what to load.
        special_ids: terms that are never emitted.
        device: where it runs.

    Raises:
        FormatError: weights are missing, or the head does more than a product and a bias.
    """
    dtype = _choose_dtype(side, device)
    if side.architecture is Architecture.TOKEN_WEIGHTS:
        parts = _load_token_weights(side, dtype)
        return TokenWeightModel(side, *parts, special_ids).to(device).eval()
    model = load_whole_model(side, dtype)
    decoder = cut_head(model, side.folder)
    return SpladeModel(side, model, decoder, special_ids).to(device).eval()


def pad(ids: Sequence[Sequence[int]], padding_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask ``[B, S]`` int64 of texts of any lengths, padded on the right."""
    longest = max(len(row) for row in ids)
    padded = np.full((len(ids), longest), padding_id, np.int64)
    mask = np.zeros((len(ids), longest), np.int64)
    for i, row in enumerate(ids):
        padded[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return torch.from_numpy(padded), torch.from_numpy(mask)


class PassThrough(nn.Module):
    """Stands where a vocabulary head stood and gives its input back."""

    weight = None
    bias = None  # some models read the bias of the head they are given

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return ``hidden``."""
        return hidden


@torch.inference_mode()
def cut_head(model: Any, name: object) -> nn.Linear:  # noqa: ANN401  any Hugging Face model
    """Take the vocabulary head out of a model, which then gives the head's input as its logits.

    One short text is run with and without the head, to be certain that head and model together
    still compute the logits: some models scale, cap or cut them afterwards.

    Raises:
        FormatError: they do not.
    """
    decoder = model.get_output_embeddings()
    training = model.training
    model.eval()  # dropout would make two runs differ
    probe = torch.tensor([[1, 2, 3]], device=model.device)
    logits = model(input_ids=probe).logits
    bias = getattr(decoder, "bias", None)
    model.set_output_embeddings(PassThrough())
    decoder.bias = bias
    rebuilt = decoder(model(input_ids=probe).logits)
    model.train(training)
    if logits.shape != rebuilt.shape or not torch.allclose(logits, rebuilt, rtol=1e-3, atol=1e-3):
        raise FormatError(
            f"{name}: expected logits that are a matrix product and a bias, found "
            f"{type(model).__name__}, which changes them afterwards; use another architecture"
        )
    head: nn.Linear = decoder
    return head


def _streams(device: torch.device) -> list[torch.cuda.Stream]:
    kind: Any = torch.cuda.Stream  # untyped
    return [kind(device) for _ in range(GPU_LANES)]


def _choose_dtype(side: NeuralSide, device: torch.device) -> torch.dtype:
    if device.type != "cpu":
        return torch.bfloat16
    rounded = _is_quantised(side.folder / "model.safetensors")
    return torch.bfloat16 if rounded and multiplies_bfloat16() else torch.float32


def multiplies_bfloat16() -> bool:
    """Whether the processor has AVX512-BF16 or AMX; older ones would emulate it, slowly."""
    features = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in features)


def load_whole_model(side: NeuralSide, dtype: torch.dtype) -> Any:  # noqa: ANN401  any HF model
    """A side's Hugging Face model with its vocabulary head, on the processor."""
    causal = side.architecture is Architecture.CAUSAL
    kind: Any = AutoModelForCausalLM if causal else AutoModelForMaskedLM
    if _is_quantised(side.folder / "model.safetensors"):
        weights = load_quantised(side.folder / "model.safetensors")
        config = AutoConfig.from_pretrained(str(side.folder), local_files_only=True)
        model = kind.from_config(config, dtype=dtype)
        _fill(model, weights, side.folder)
    else:
        model = _from_folder(kind, side.folder, dtype)
    if side.linear_head:
        make_head_linear(model, side.folder)
    return model if side.adapter is None else _with_adapter(model, side.adapter)


def make_head_linear(model: Any, folder: Path) -> None:  # noqa: ANN401  any HF model
    """Take the activation out of a BERT head's transform, as ``NeuralSide.linear_head`` says.

    Raises:
        FormatError: the model is not a BERT.
    """
    transform = getattr(
        getattr(getattr(model, "cls", None), "predictions", None), "transform", None
    )
    if transform is None:
        raise FormatError(
            f"{folder}: expected a BERT model for linear_head, found {type(model).__name__}; "
            "remove that setting from encoder.json"
        )
    transform.transform_act_fn = nn.Identity()


def _from_folder(kind: Any, folder: Path, dtype: torch.dtype) -> Any:  # noqa: ANN401  HF classes
    """The model of a folder, with every weight found there (transformers would invent the rest)."""
    with without_progress_bars():
        model, report = kind.from_pretrained(
            str(folder),
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    _check_complete(report["missing_keys"], folder)
    return model


@contextlib.contextmanager
def without_progress_bars() -> Iterator[None]:
    """Have transformers draw none while the context is open."""
    bars: Any = logging  # untyped
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def _fill(model: nn.Module, weights: dict[str, Any], folder: Path) -> None:
    """Give a new model its weights; a head may be absent where it is tied to the embeddings."""
    report = model.load_state_dict(
        {name: torch.from_numpy(weight) for name, weight in weights.items()}, strict=False
    )
    any_model: Any = model
    tied = getattr(any_model, "all_tied_weights_keys", None) or any_model._tied_weights_keys or ()
    _check_complete([name for name in report.missing_keys if name not in tied], folder)


def _check_complete(missing: Iterable[str], folder: Path) -> None:
    names = sorted(missing)
    if names:
        raise FormatError(
            f"{folder}: expected the weights of the model and its vocabulary head, found none for "
            f"{', '.join(names[:3])} ({len(names)} missing); use a checkpoint with its head"
        )


def _with_adapter(model: Any, adapter: Path) -> Any:  # noqa: ANN401  any HF model
    """The model with a PEFT adapter merged into its weights."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise FormatError(
            f"{adapter}: expected peft for this adapter, found none; pip install 'tamis[encode]'"
        ) from error
    return PeftModel.from_pretrained(model, str(adapter), is_trainable=False).merge_and_unload()


def _load_token_weights(side: NeuralSide, dtype: torch.dtype) -> tuple[nn.Module, nn.Linear]:
    model = _from_folder(AutoModel, side.folder, dtype)
    tensors = load_file(str(side.folder / "sparse_linear.safetensors"))
    decoder = nn.Linear(tensors["weight"].shape[1], 1, dtype=dtype)
    decoder.load_state_dict(tensors)
    return model, decoder


def _is_quantised(path: Path) -> bool:
    if not path.is_file():
        return False  # a model in several files
    try:
        with safe_open(str(path), framework="pt") as file:
            return any(name.endswith(SCALE) for name in file.keys())  # noqa: SIM118  no dict
    except SafetensorError as error:
        raise FormatError(
            f"{path}: expected safetensors, found something else ({error}); copy the file anew"
        ) from error


def _sparse_rows(dense: torch.Tensor, top_n: int | None) -> SparseRows:
    """The entries above zero of ``[B, V]``, at most the ``top_n`` heaviest of a row."""
    if top_n is not None and top_n < dense.shape[1]:
        best = dense.topk(top_n, dim=1)
        dense = torch.zeros_like(dense).scatter_(1, best.indices, best.values)
    rows, terms = dense.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(dense)).cumsum(0)
    return SparseRows(nn.functional.pad(counts, (1, 0)), terms.int(), dense[rows, terms].float())
