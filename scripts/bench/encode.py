"""`tamis bench encode`: documents a second of our encoder against sentence-transformers'.

Both run the same checkpoint on the same texts and must agree first. Calls are interleaved; rates
are medians. Ours ends with rows in main memory, theirs where the model runs.
"""

from __future__ import annotations

import functools
import itertools
import statistics
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tamis.eval.datasets import load_dataset
from tamis.eval.measures import means, parse_measures, per_query
from tamis.eval.provenance import provenance
from tamis.eval.run import Run
from tamis.index.reference import search
from tamis.retriever.corpus.passages import read_passages
from tamis.retriever.models.arithmetic import ARITHMETICS, choose_arithmetic, speeds
from tamis.retriever.models.description import (
    Architecture,
    Checkpoint,
    HeadKind,
    read_checkpoint,
)
from tamis.retriever.models.encoder import SparseEncoder
from tamis.retriever.models.language_model import load_whole_model, make_head_linear
from tamis.retriever.models.stored_bert import runs_in_int8
from tamis.retriever.models.weights import save_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from tamis.eval.datasets import Dataset
    from tamis.index.vectors import SparseVectors

PEERS = {  # batch, and whether rows are made sparse: the default, and what is fastest
    "cpu": ((32, True), (32, False)),
    "cuda": ((32, True), (256, True), (256, False)),
}
GATE_TEXTS = 48
MEASURE = "nDCG@10"
SHORTEST, LONGEST, USUAL, SPREAD = 4, 220, 90, 0.8  # words of a generated text, log-normal


@dataclass(frozen=True)
class System:
    """Something that encodes, and how its rates are shown."""

    name: str
    arithmetic: str
    encode: Callable[[Sequence[str]], object]


def measure_encode(
    documents: int,
    *,
    encoder: str = "default",
    device: str = "cpu",
    corpus: Path | None = None,
    repeats: int = 5,
    quality: bool = True,
) -> dict[str, Any]:
    """Return every figure as plain values.

    Args:
        documents: texts a turn encodes.
        encoder: a masked language model that `load_encoder` finds.
        device: such as ``cpu`` or ``cuda``.
        corpus: where texts are read, as they are; None makes a mix of lengths from the sample.
        repeats: turns, each of every system.
        quality: on the CPU, compare the nDCG@10 of float32 and of the model's usual arithmetic.

    Raises:
        RuntimeError: the encoders disagree.
    """
    texts = _read(corpus, documents) if corpus else length_mix(documents, seed=0)
    files = read_checkpoint(encoder)
    with float32_copy(files) as copy:
        systems = list(_systems(files, copy, device))
        result: dict[str, Any] = {
            "provenance": provenance(seed=0) | {"torch_threads": torch.get_num_threads()},
            "device": torch.cuda.get_device_name() if device != "cpu" else "cpu",
            "encoder": files.description.name,
            "texts": describe(texts, SparseEncoder(copy, device=device)),
            "gate": check(copy, device, texts[:GATE_TEXTS]),
        }
        result["systems"] = interleaved(systems, texts, repeats, device)
        if quality and device == "cpu":
            result["quality"] = _quality(copy, files, load_dataset("sample"))
    return result


def length_mix(documents: int, seed: int) -> list[str]:
    """Real text of varied length: runs of words from the sample collection, log-normal in length.

    The sample is read from its start again when it ends.
    """
    words = [w for p in load_dataset("sample").passages() for w in p.content.split()]
    drawn = np.random.default_rng(seed).lognormal(np.log(USUAL), SPREAD, documents)
    lengths = np.clip(drawn, SHORTEST, LONGEST).astype(int)
    stream = itertools.cycle(words)
    return [" ".join(itertools.islice(stream, int(n))) for n in lengths]


@contextmanager
def float32_copy(files: Checkpoint) -> Iterator[Checkpoint]:
    """The encoder with its document model in float32, in a folder that any library reads."""
    side = files.document
    if side.architecture is not Architecture.MASKED:
        raise ValueError(f"expected a masked language model, found a {side.architecture}")
    with tempfile.TemporaryDirectory() as name:
        save_model(load_whole_model(side, torch.float32), Path(name))
        SparseEncoder(files, device="cpu").tokenizer.save(Path(name))
        copy = replace(side, folder=Path(name), adapter=None)
        yield replace(files, document=copy)


def sentence_transformer(copy: Checkpoint, device: str, dtype: torch.dtype) -> Any:  # noqa: ANN401
    """The same model as a sentence-transformers `SparseEncoder`."""
    import sentence_transformers
    from sentence_transformers.sparse_encoder.modules import SpladePooling, Transformer

    side = copy.document
    language_model = Transformer(
        str(side.folder),
        transformer_task="fill-mask",
        model_kwargs={"dtype": dtype},
        max_seq_length=side.max_length,
    )
    if side.linear_head:
        make_head_linear(language_model.auto_model, side.folder)
    pooling = SpladePooling(
        "sum" if side.head is HeadKind.SUM else "max",
        activation_function="log1p_relu" if side.double_log else "relu",
    )
    return sentence_transformers.SparseEncoder(
        modules=[language_model, pooling], device=device, max_active_dims=side.top_n
    )


def check(copy: Checkpoint, device: str, texts: Sequence[str]) -> dict[str, float]:
    """Compare whole vectors with sentence-transformers in float32, before any cut to top terms.

    Returns:
        Relative errors of both, and on the CPU the largest difference of a weight.

    Raises:
        RuntimeError: ours is not equal (CPU), or no closer than half-precision rounding (CUDA).
    """
    uncut = replace(copy, document=replace(copy.document, top_n=None))
    truth = _dense(sentence_transformer(uncut, "cpu", torch.float32), texts)
    ours = SparseEncoder(uncut, device=device)
    truth[:, list(ours.tokenizer.special_ids)] = 0.0
    found = ours.encode_documents(texts).to_scipy().toarray()
    error = float(np.linalg.norm(found - truth) / np.linalg.norm(truth))
    if device == "cpu":
        largest = float(np.abs(found - truth).max())
        if not largest < 1e-4:
            raise RuntimeError(f"expected weights equal within 1e-4, found {largest:.1e} apart")
        return {"relative_error": error, "largest_difference": largest}
    peer = _dense(sentence_transformer(uncut, device, torch.bfloat16), texts)
    peer[:, list(ours.tokenizer.special_ids)] = 0.0
    theirs = float(np.linalg.norm(peer - truth) / np.linalg.norm(truth))
    if not error < 1.1 * theirs:
        raise RuntimeError(f"expected an error near theirs, {theirs:.1e}, found {error:.1e}")
    return {"relative_error": error, "relative_error_of_peer": theirs}


def interleaved(
    systems: Sequence[System], texts: Sequence[str], repeats: int, device: str
) -> list[dict[str, Any]]:
    """Time each system on all texts in turn, after one round that does not count."""
    rates: dict[str, list[float]] = {system.name: [] for system in systems}
    for turn in range(repeats + 1):
        for system in systems:
            start = time.perf_counter()
            system.encode(texts if turn else texts[: max(1, len(texts) // 2)])
            if device != "cpu":
                torch.cuda.synchronize()
            if turn:
                rates[system.name].append(len(texts) / (time.perf_counter() - start))
    peers = [statistics.median(rates[s.name]) for s in systems if not s.name.startswith("tamis")]
    return [
        {
            "system": system.name,
            "arithmetic": system.arithmetic,
            "documents_per_s": (rate := statistics.median(rates[system.name])),
            "slowest": min(rates[system.name]),
            "fastest": max(rates[system.name]),
            "against_default_peer": rate / peers[0] if peers else None,
            "against_best_peer": rate / max(peers) if peers else None,
        }
        for system in systems
    ]


def _systems(files: Checkpoint, copy: Checkpoint, device: str) -> Iterator[System]:
    kind = torch.device(device).type
    dtype = torch.float32 if kind == "cpu" else torch.bfloat16
    peer = sentence_transformer(copy, device, dtype)
    for size, sparse in PEERS[kind]:
        call = functools.partial(
            peer.encode_document,
            batch_size=size,
            show_progress_bar=False,
            convert_to_sparse_tensor=sparse,
        )
        name = f"sentence-transformers, batch {size}{'' if sparse else ', dense rows'}"
        yield System(name, str(dtype).removeprefix("torch."), call)
    side, where = files.document, torch.device(device)
    usual = choose_arithmetic(side, where, None)
    rates = speeds() if kind == "cpu" else {}
    others = [one for one in ARITHMETICS if rates.get(one) and one != usual]
    if not runs_in_int8(side):
        others = [one for one in others if one != "int8"]
    for arithmetic in (usual, *others):
        ours = SparseEncoder(files, device=device, arithmetic=arithmetic)
        name = "tamis" if arithmetic == usual else f"tamis, {arithmetic}"
        yield System(name, arithmetic, ours.encode_documents)


def _dense(peer: Any, texts: Sequence[str]) -> NDArray[np.float32]:  # noqa: ANN401  no types there
    rows = peer.encode_document(list(texts), batch_size=16, show_progress_bar=False)
    dense: NDArray[np.float32] = rows.to_dense().float().cpu().numpy()
    return dense


def _quality(copy: Checkpoint, files: Checkpoint, dataset: Dataset) -> dict[str, Any]:
    """nDCG@10 of learned terms alone, exact search, in float32 and in the usual arithmetic."""
    passages = list(dataset.passages())
    found: dict[str, Any] = {"dataset": dataset.name, "measure": MEASURE}
    for name, variant in (("float32", copy), ("usual", files)):
        ours = SparseEncoder(variant, device="cpu")
        documents = ours.encode_documents([passage.content for passage in passages])
        queries = ours.encode_queries(list(dataset.queries.values()))
        found[name] = _ndcg(documents, queries, dataset, [p.doc_id for p in passages])
    found["usual_over_float32"] = found["usual"] / found["float32"]
    return found


def _ndcg(
    documents: SparseVectors, queries: SparseVectors, dataset: Dataset, ids: Sequence[str]
) -> float:
    top = search(documents, queries, 10)
    scores = {
        query: {ids[d]: float(s) for d, s in zip(*rows, strict=True) if d >= 0}
        for query, *rows in zip(dataset.queries, top.docs, top.scores, strict=True)
    }
    return means(per_query(Run(scores), dataset.qrels, parse_measures([MEASURE])))[MEASURE]


def _read(corpus: Path, documents: int) -> list[str]:
    """Texts spread evenly over a corpus: its first ones may be alike."""
    passages = [passage.content for passage in read_passages(corpus)]
    step = max(1, len(passages) // documents)
    return passages[::step][:documents]


def describe(texts: Sequence[str], encoder: SparseEncoder) -> dict[str, float]:
    """How many texts there are, and their lengths in tokens."""
    lengths = [len(ids) for ids in encoder.tokenizer.document_ids(texts)]
    low, median, high = np.percentile(lengths, [5, 50, 95]).tolist()
    return {
        "documents": len(texts),
        "tokens_mean": float(np.mean(lengths)),
        "tokens_5_percent": low,
        "tokens_median": median,
        "tokens_95_percent": high,
    }


def table(result: dict[str, Any]) -> list[str]:
    """Return the figures as lines for a terminal."""
    texts = result["texts"]
    lines = [f"{result['device']}: {texts['documents']} texts of {texts['tokens_mean']:.0f} tokens"]
    lines += [
        f"{row['system']:46} {row['arithmetic']:9} {row['documents_per_s']:10.1f} documents/s"
        f" {row['against_default_peer']:7.2f}x"
        for row in result["systems"]
    ]
    if "quality" in result:
        q = result["quality"]
        lines.append(f"{MEASURE} on {q['dataset']}: {q['usual']:.4f}, float32 {q['float32']:.4f}")
    return lines
