"""Other engines that encode on a processor in 8 bits: OpenVINO and onnxruntime.

Each runs the same weights, exported here from float32 and rounded by its own tool: OpenVINO's with
scales found on texts beforehand (NNCF, SmoothQuant), onnxruntime's with a scale a product. Both
take batches of texts of like length, pool within the model and keep the terms that ours keeps. An
engine that is not installed is left out, and told.
"""

from __future__ import annotations

import logging
import time
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import nn

from tamis.index.vectors import SparseVectors
from tamis.kernels.head.activation import Activation
from tamis.retriever.models.language_model import load_whole_model
from tamis.scripts.bench.peers import quiet_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.retriever.models.encoder import SparseEncoder
    from tamis.retriever.models.sides import NeuralSide

    Ids = NDArray[np.int64]

NEEDS = {  # packages of each engine
    "OpenVINO": ("openvino", "nncf", "onnx"),
    "onnxruntime": ("onnxruntime", "onnx"),
}
SIZES = (4, 8, 16, 32)  # texts a batch; each engine takes what is fastest for it
TRIES = 5  # with each size, the first to warm up
CALIBRATED = 32  # texts that static scales are found on
MASKED = 1e4  # taken from the logits of padding


class Peer(Protocol):
    """An engine with the model loaded."""

    def run(self, batches: Sequence[tuple[Ids, Ids]]) -> list[NDArray[np.float32]]:
        """Pooled logits [B, V], at least 0, of batches of token ids and masks [B, L]."""


def missing_packages(engine: str) -> list[str]:
    """The packages that an engine needs and that are not installed."""
    return [name for name in NEEDS[engine] if not find_spec(name)]


class Pooled(nn.Module):
    """A masked language model that gives each text's largest logits, [B, V], at least 0."""

    kept: torch.Tensor  # [V], 0 for what is never emitted

    def __init__(self, model: nn.Module, vocab_size: int, excluded: Iterable[int]) -> None:
        """Take a model, and terms that are never emitted."""
        super().__init__()
        self.model = model
        kept = torch.ones(vocab_size)
        kept[list(excluded)] = 0
        self.register_buffer("kept", kept)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Run token ids and masks [B, L]."""
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        padding = (attention_mask[..., None].to(logits.dtype) - 1) * MASKED
        return torch.relu((logits + padding).amax(1)) * self.kept


class OpenVino:
    """OpenVINO, as many streams as it finds best for throughput."""

    def __init__(self, exported: Path, batches: Sequence[tuple[Ids, Ids]], threads: int) -> None:
        """Round an exported model with the scales of some batches."""
        import nncf
        import openvino

        nncf.set_log_level(logging.ERROR)
        rounded = nncf.quantize(
            openvino.convert_model(exported),
            nncf.Dataset(batches, _named),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(batches),
        )
        settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": threads}
        self._queue = openvino.AsyncInferQueue(
            openvino.Core().compile_model(rounded, "CPU", settings)
        )
        self._found: dict[int, NDArray[np.float32]] = {}
        self._queue.set_callback(self._take)

    def _take(self, request: Any, number: int) -> None:  # noqa: ANN401  no types there
        self._found[number] = request.get_output_tensor(0).data.copy()

    def run(self, batches: Sequence[tuple[Ids, Ids]]) -> list[NDArray[np.float32]]:
        """See `Peer`."""
        for number, batch in enumerate(batches):
            self._queue.start_async(_named(batch), number)
        self._queue.wait_all()
        return [self._found.pop(number) for number in range(len(batches))]


class OnnxRuntime:
    """onnxruntime, all threads at one batch."""

    def __init__(self, exported: Path, batches: Sequence[tuple[Ids, Ids]], threads: int) -> None:
        """Round an exported model; scales of what is multiplied are found as it runs."""
        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic

        rounded = exported.with_suffix(".int8.onnx")
        quantize_dynamic(exported, rounded, weight_type=QuantType.QInt8, per_channel=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            rounded, options, providers=["CPUExecutionProvider"]
        )

    def run(self, batches: Sequence[tuple[Ids, Ids]]) -> list[NDArray[np.float32]]:
        """See `Peer`."""
        return [self._session.run(None, _named(batch))[0] for batch in batches]


ENGINES: dict[str, Callable[[Path, Sequence[tuple[Ids, Ids]], int], Peer]] = {
    "OpenVINO": OpenVino,
    "onnxruntime": OnnxRuntime,
}


class PeerEncoder:
    """Texts in, sparse vectors out, by another engine; tokens by the encoder's own tokenizer.

    Attributes:
        size: texts a batch.
    """

    def __init__(self, peer: Peer, ours: SparseEncoder, side: NeuralSide) -> None:
        """Take an engine, and the encoder whose tokenizer and settings it shares."""
        self._peer, self._side, self._tokenizer = peer, side, ours.tokenizer
        self.size = SIZES[0]

    def choose_size(self, texts: Sequence[str]) -> None:
        """Keep the size of a batch that is fastest for some texts, the least time of each, warm."""
        took: dict[int, list[float]] = {size: [] for size in SIZES}
        for _ in range(TRIES):  # in turns, as the machine's own speed changes
            for self.size in SIZES:
                took[self.size].append(self._timed(texts))
        self.size = min(SIZES, key=lambda size: min(took[size][1:]))

    def _timed(self, texts: Sequence[str]) -> float:
        began = time.perf_counter()
        self.encode(texts)
        return time.perf_counter() - began

    def encode(self, texts: Sequence[str]) -> SparseVectors:
        """The vectors of texts, in their order."""
        ids = self._tokenizer.document_ids(texts)
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        groups = [order[at : at + self.size] for at in range(0, len(order), self.size)]
        found = self._peer.run([padded([ids[row] for row in group]) for group in groups])
        rows = SparseVectors.concatenate([self._kept(logits) for logits in found])
        return rows.take(np.argsort(order))

    def _kept(self, logits: NDArray[np.float32]) -> SparseVectors:
        """The heaviest terms of pooled logits [B, V]."""
        side, pooled = self._side, torch.from_numpy(logits)
        best, terms = pooled.topk(side.top_n or pooled.shape[1])
        log = Activation.LOG1P_LOG1P_RELU if side.double_log else Activation.LOG1P_RELU
        weights = log.apply(best * side.logit_scale)
        terms, order = terms.sort(dim=1)
        weights = weights.gather(1, order)
        kept = weights > 0
        offsets = np.concatenate([[0], kept.sum(1).cumsum(0).numpy()])
        return SparseVectors(
            offsets, terms[kept].to(torch.int32).numpy(), weights[kept].numpy(), side.vocab_size
        )


class Float32:
    """The exported model in torch: the truth."""

    def __init__(self, model: nn.Module) -> None:
        """Take the model."""
        self._model = model

    @torch.inference_mode()
    def run(self, batches: Sequence[tuple[Ids, Ids]]) -> list[NDArray[np.float32]]:
        """See `Peer`."""
        return [self._model(*map(torch.from_numpy, batch)).numpy() for batch in batches]


def peer_encoders(
    side: NeuralSide, ours: SparseEncoder, texts: Sequence[str], scratch: Path, threads: int
) -> tuple[PeerEncoder, dict[str, PeerEncoder], dict[str, list[str]]]:
    """Load a masked language model in float32, and in 8 bits in every engine that is installed.

    Args:
        side: of documents.
        ours: its encoder.
        texts: that scales are found on and sizes of batches tried with.
        scratch: an empty folder.
        threads: of each engine.

    Returns:
        The model in float32, the engines by name, and the packages that others lack.
    """
    model = Pooled(
        load_whole_model(side, torch.float32), side.vocab_size, ours.tokenizer.special_ids
    ).eval()
    missing = {name: packages for name in ENGINES if (packages := missing_packages(name))}
    ids = ours.tokenizer.document_ids(texts)
    batches = [padded([one]) for one in ids[:CALIBRATED]]
    encoders = {}
    with _silence():
        if len(missing) < len(ENGINES):
            exported = _export(model, batches[0], scratch)
        for name, engine in ENGINES.items():
            if name not in missing:
                peer = PeerEncoder(engine(exported, batches, threads), ours, side)
                peer.choose_size(texts)
                encoders[f"{name}, batch {peer.size}"] = peer
    return PeerEncoder(Float32(model), ours, side), encoders, missing


def padded(ids: Sequence[Sequence[int]]) -> tuple[Ids, Ids]:
    """Token ids and masks [B, L] of texts, filled up with 0."""
    tokens = np.zeros((len(ids), max(map(len, ids))), np.int64)
    mask = np.zeros_like(tokens)
    for row, one in enumerate(ids):
        tokens[row, : len(one)], mask[row, : len(one)] = one, 1
    return tokens, mask


def _named(batch: tuple[Ids, Ids]) -> dict[str, Ids]:
    return dict(zip(("input_ids", "attention_mask"), batch, strict=True))


def _export(model: Pooled, batch: tuple[Ids, Ids], scratch: Path) -> Path:
    path, names = scratch / "model.onnx", list(_named(batch))
    torch.onnx.export(
        model,
        tuple(map(torch.from_numpy, batch)),
        str(path),
        input_names=names,
        output_names=["pooled"],
        dynamic_axes={
            **{name: {0: "texts", 1: "tokens"} for name in names},
            "pooled": {0: "texts"},
        },
        opset_version=17,
        dynamo=False,
    )
    return path


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what the tools say of their progress and of each other away from the report."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), quiet_output():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
