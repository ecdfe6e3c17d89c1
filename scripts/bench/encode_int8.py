"""`tamis bench encode --int8`: our 8-bit encoder beside other engines', and beside the roofline.

All run the same weights on the same texts, calls interleaved, after a gate against float32. The
roofline is the machine's own: the rate of one large product in 8 bits. What is counted are the
operations of the products that were made, not of those that the head left out.
"""

from __future__ import annotations

import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from tamis.eval.datasets import load_dataset
from tamis.eval.provenance import provenance
from tamis.index.reference import search
from tamis.kernels.int8 import ZERO, int8_product, pack_int8
from tamis.kernels.product import product
from tamis.retriever.models import int8_bert, int8_head
from tamis.retriever.models.arithmetic import check_int8, faster_float
from tamis.retriever.models.description import read_checkpoint
from tamis.retriever.models.encoder import SparseEncoder
from tamis.retriever.models.int8_encoder import Int8Model
from tamis.retriever.models.int8_head import Int8Head
from tamis.scripts.bench.encode import System, describe, interleaved, length_mix
from tamis.scripts.bench.encode_peers import peer_encoders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

    from tamis.index.vectors import SparseVectors
    from tamis.kernels.int8 import Int8Matrix
    from tamis.retriever.models.description import Checkpoint

OURS, WHOLE = "tamis", "tamis, every product of the head"
GATE_TEXTS = 48
LEAST_COSINE = 0.98  # on average, of ours; a peer below it is told
QUESTIONS = 100
TOP = 10
LARGE = 2048  # rows, width and columns of the products that make the roofline
ROOFLINE_TURNS = 40  # a product takes some 10 ms, and a shared machine is fast only at times
WARM_TEXTS = 64  # before operations are counted, so that the head has found its directions


class Work(NamedTuple):
    """What was multiplied for some texts.

    Attributes:
        cpu_s: processor time of all, products or not.
        products: operations in 8 bits, two for each multiplication, and processor time of them.
        attention: the same of attention, in floats.
    """

    cpu_s: float
    products: tuple[int, float]
    attention: tuple[int, float]


def measure_int8(documents: int, *, encoder: str = "default", repeats: int = 5) -> dict[str, Any]:
    """Return every figure as plain values.

    Args:
        documents: texts a turn encodes.
        encoder: a BERT of int8 rows that `load_encoder` finds.
        repeats: turns, each of every system.

    Raises:
        InputError: the encoder or the processor has no 8-bit path.
        RuntimeError: ours does not agree with float32.
    """
    check_int8(torch.device("cpu"))
    files, threads = read_checkpoint(encoder), torch.get_num_threads()
    ours, whole = _ours(files), _ours(files)
    make_every_product(whole)
    texts, others = length_mix(documents, seed=0), length_mix(WARM_TEXTS, seed=1)
    with tempfile.TemporaryDirectory() as scratch:
        truth, peers, missing = peer_encoders(files.document, ours, others, Path(scratch), threads)
        ours.encode_documents(others)
        systems = [
            *(System(name, "int8", peer.encode) for name, peer in peers.items()),
            System(OURS, "int8", ours.encode_documents),
            System(WHOLE, "int8", whole.encode_documents),
        ]
        gate = check(truth.encode, systems, ours, texts[:GATE_TEXTS])
        ceiling = roofline()
        rows = interleaved(systems, texts, repeats, "cpu")
    return {
        "provenance": provenance(seed=0) | {"torch_threads": threads},
        "encoder": files.description.name,
        "texts": describe(texts, ours),
        "left_out": missing,
        "gate": gate,
        "systems": rows,
        "roofline": {
            **ceiling,
            "systems": [
                _against(ceiling, one, work_of(model, texts), len(texts))
                for one, model in ((OURS, ours), (WHOLE, whole))
            ],
        },
    }


def make_every_product(encoder: SparseEncoder) -> None:
    """Let an encoder's head multiply all terms in full: its bounds then have no directions."""
    model = encoder.document_model
    assert isinstance(model, Int8Model)
    model._head = Int8Head(model._head.terms, rank=model._head.terms.rows.shape[1])


def check(
    truth: Callable[[Sequence[str]], object],
    systems: Sequence[System],
    ours: SparseEncoder,
    texts: Sequence[str],
) -> dict[str, Any]:
    """Compare the vectors of each system with float32's, and what questions find with them.

    Returns:
        For each system the cosine of vectors (mean and least), the share of kept terms that float32
        keeps too, and the share of each question's ten best texts that float32 finds too.

    Raises:
        RuntimeError: a cosine of ours is below `LEAST_COSINE` on average.
    """
    exact: Any = truth(texts)
    asked = list(load_dataset("sample").queries.values())[:QUESTIONS]
    questions = ours.encode_queries(asked)
    best = search(exact, questions, TOP).docs
    rows = []
    for system in systems:
        found: Any = system.encode(texts)
        cosines = cosine(exact, found)
        row: dict[str, Any] = {"system": system.name, "cosine": float(cosines.mean())}
        row |= {"least_cosine": float(cosines.min()), "terms": shared_terms(exact, found)}
        row[f"top_{TOP}"] = shared_best(best, search(found, questions, TOP).docs)
        rows.append({**row, "agrees": row["cosine"] >= LEAST_COSINE})
        if system.name.startswith(OURS) and not rows[-1]["agrees"]:
            raise RuntimeError(
                f"{system.name}: expected a cosine of at least {LEAST_COSINE} with float32, found "
                f"{row['cosine']:.4f}"
            )
    return {"texts": len(texts), "questions": len(asked), "systems": rows}


def cosine(one: SparseVectors, other: SparseVectors) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of each pair of rows."""
    a, b = (rows.to_scipy().astype(np.float64) for rows in (one, other))
    lengths = [np.sqrt(rows.multiply(rows).sum(1)) for rows in (a, b)]
    found = np.asarray(a.multiply(b).sum(1)) / np.maximum(np.multiply(*lengths), 1e-30)
    return np.asarray(found, np.float64).ravel()


def shared_terms(truth: SparseVectors, found: SparseVectors) -> float:
    """The share of the truth's terms that are found, of all rows."""
    a, b = (rows.to_scipy().astype(bool) for rows in (truth, found))
    return float(a.multiply(b).nnz / max(1, a.nnz))


def shared_best(truth: Any, found: Any) -> float:  # noqa: ANN401  arrays [queries, k]
    """The share of the truth's documents that are found, mean over queries; -1 is none."""
    shares = [
        len(np.intersect1d(a[a >= 0], b)) / max(1, (a >= 0).sum())
        for a, b in zip(truth, found, strict=True)
    ]
    return float(np.mean(shares))


def roofline() -> dict[str, float]:
    """What one thread multiplies in GFLOP/s, by its processor time: the best of large products."""
    found: dict[str, float] = {}

    def measure() -> None:
        torch.set_num_threads(1)  # of this thread alone
        rows = torch.full((LARGE, LARGE), ZERO + 1, dtype=torch.uint8)
        matrix = pack_int8(torch.ones(LARGE, LARGE, dtype=torch.int8), torch.ones(LARGE))
        floats = torch.ones(LARGE, LARGE, dtype=faster_float())
        with torch.inference_mode():
            found["int8_gflops"] = _rate(lambda: int8_product(rows, matrix))
            found["attention_gflops"] = _rate(lambda: product(floats, floats))

    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    return found


def _rate(multiply: Callable[[], object]) -> float:
    multiply()
    took = []
    for _ in range(ROOFLINE_TURNS):
        began = time.thread_time()
        multiply()
        took.append(time.thread_time() - began)
    return 2 * LARGE**3 / min(took) / 1e9


def work_of(encoder: SparseEncoder, texts: Sequence[str]) -> Work:
    """Count the products that texts take, and their processor time."""
    products: list[tuple[int, float]] = []
    attention: list[tuple[int, float]] = []
    with (
        _counted(int8_bert, "int8_product", lambda rows, by: _operations(rows, by), products),
        _counted(
            int8_head,
            "int8_product_rounded",
            lambda rows, _scale, by, *_: _operations(rows, by),
            products,
        ),
        _counted(int8_head, "int8_sums", lambda rows, by: 2 * rows.numel() * len(by), products),
        _counted(int8_bert, "attend", lambda q, k, *_: 4 * q.numel() * k.shape[1], attention),
    ):
        began = time.process_time()
        encoder.encode_documents(texts)
        cpu_s = time.process_time() - began
    made, attended = (
        (sum(n for n, _ in some), sum(s for _, s in some)) for some in (products, attention)
    )
    return Work(cpu_s, made, attended)


def _operations(rows: torch.Tensor, matrix: Int8Matrix) -> int:
    return 2 * rows.numel() * len(matrix.scales)


@contextmanager
def _counted(
    module: ModuleType, name: str, operations: Callable[..., int], into: list[tuple[int, float]]
) -> Iterator[None]:
    """Keep operations and processor time of each call of a module's function."""
    usual = getattr(module, name)

    def call(*given: Any) -> object:  # noqa: ANN401
        began = time.thread_time()
        found = usual(*given)
        into.append((operations(*given), time.thread_time() - began))
        return found

    setattr(module, name, call)
    try:
        yield
    finally:
        setattr(module, name, usual)


def _against(ceiling: dict[str, float], name: str, work: Work, texts: int) -> dict[str, Any]:
    """A system beside the roofline; all times are of the processor."""
    (made, products_s), (attended, attention_s) = work.products, work.attention
    least_s = made / ceiling["int8_gflops"] / 1e9
    least_attention_s = attended / ceiling["attention_gflops"] / 1e9
    return {
        "system": name,
        "cpu_ms_per_document": 1000 * work.cpu_s / texts,
        "int8_gigaoperations_per_document": made / texts / 1e9,
        "attention_gigaoperations_per_document": attended / texts / 1e9,
        "share": least_s / work.cpu_s,
        "share_with_attention": (least_s + least_attention_s) / work.cpu_s,
        "share_within_products": least_s / products_s,
        "time_in_products": products_s / work.cpu_s,
        "time_in_attention": attention_s / work.cpu_s,
    }


def _ours(files: Checkpoint) -> SparseEncoder:
    """Our encoder in int8.

    Raises:
        InputError: it has no 8-bit path.
    """
    return SparseEncoder(files, device="cpu", arithmetic="int8")


def table(result: dict[str, Any]) -> list[str]:
    """Return the figures as lines for a terminal."""
    texts, gate = result["texts"], {row["system"]: row for row in result["gate"]["systems"]}
    lines = [
        f"{texts['documents']} texts of {texts['tokens_mean']:.0f} tokens, in int8; beside float32:"
    ]
    for row in result["systems"]:
        alike = gate[row["system"]]
        best = alike[f"top_{TOP}"]
        lines.append(
            f"{row['system']:34} {row['documents_per_s']:8.1f} documents/s"
            f"   cosine {alike['cosine']:.4f}, terms {alike['terms']:.1%}, top {TOP} {best:.1%}"
            + ("" if alike["agrees"] else " (DIFFERS)")
        )
    ceiling = result["roofline"]
    lines.append(f"one large product in int8: {ceiling['int8_gflops']:,.0f} GFLOP/s a thread")
    lines += [
        f"{row['system']:34} {row['int8_gigaoperations_per_document']:8.2f} G operations a document"
        f" in {row['cpu_ms_per_document']:.1f} ms, {row['share']:.0%} of that;"
        f" {row['time_in_products']:.0%} of the time multiplies"
        for row in ceiling["systems"]
    ]
    lines += [
        f"left out: {name}; pip install {' '.join(packages)}"
        for name, packages in result["left_out"].items()
    ]
    return lines
