"""Times block attention and whole rerankers on a GPU, behind a gate of correctness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from triton.testing import do_bench

from tamis.eval.provenance import provenance
from tamis.kernels.blocks import cpu
from tamis.kernels.blocks.ops import block_attention, block_ranges
from tamis.retriever.rerank.backbone import Backbone
from tamis.retriever.rerank.held_documents import HeldQueries
from tamis.retriever.rerank.layout import Block, BlockLayout, BlockSizes
from tamis.scripts.bench.attention_peers import flex_attention, flex_mask, variable_length_attention

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tamis.kernels.blocks.ranges import Ranges
    from tamis.retriever.rerank.attention import DocumentKeys

VOCABULARY = 32000
MISTRAL = {"heads": 32, "kv_heads": 8, "width": 128}
SIZES = BlockSizes(prefix=512, document=7680, query=512)


@dataclass(frozen=True)
class AttentionShape:
    """One list: documents of a length each, prefix and query of their own."""

    name: str
    documents: Sequence[int]
    prefix: int = 160
    query: int = 160

    def bounds(self) -> np.ndarray[Any, Any]:
        """First token of each block."""
        lengths = [self.prefix, *self.documents, self.query]
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)

    def ranges(self) -> Ranges:
        """As causal models read."""
        lists = np.array([0, len(self.documents) + 2], np.int32)
        return block_ranges(self.bounds(), lists, causal=True)


def ragged(count: int, seed: int = 0) -> list[int]:
    """Lengths as real passages have them: about 100 tokens, from 20 to 160."""
    lengths = np.random.default_rng(seed).lognormal(np.log(95), 0.35, count)
    found: list[int] = np.clip(lengths, 20, 160).astype(int).tolist()
    return found


SHAPES = (
    AttentionShape("100 x 160", [160] * 100),
    AttentionShape("500 x 200", [200] * 500, 200, 200),
)
RAGGED = AttentionShape("500 ragged", ragged(500), 90, 70)


def measure_attention(repeats: int) -> list[dict[str, Any]]:
    """One attention layer of Mistral's shape, and the gate before it."""
    return [_measure_shape(shape, repeats) for shape in (*SHAPES, RAGGED)]


def _measure_shape(shape: AttentionShape, repeats: int) -> dict[str, Any]:
    ranges = shape.ranges()
    q, k, v = _operands(ranges)
    flex = torch.compile(torch.nn.attention.flex_attention.flex_attention)
    mask = flex_mask(ranges, q.device)
    runs: dict[str, Callable[[], torch.Tensor]] = {
        "block": lambda: block_attention(q, k, v, ranges, 0.088),
        "varlen": lambda: variable_length_attention(q, k, v, ranges, 0.088),
        "flex": lambda: flex_attention(q, k, v, mask, 0.088, flex),
    }
    found: dict[str, Any] = {"shape": shape.name}
    for name, run in runs.items():
        error = _against(q, k, v, ranges, run())
        if not error < 1e-2:
            raise AssertionError(f"{shape.name}: {name} differs by {error}")
        found |= {f"{name}_error": error, f"{name}_ms": _time(run, repeats)}
    return found


def measure_training(repeats: int) -> dict[str, Any]:
    """Forward and backward of one attention layer, 30 documents of 160 tokens."""
    ranges = AttentionShape("30 x 160", [160] * 30).ranges()
    q, k, v = leaves = [t.requires_grad_() for t in _operands(ranges)]
    mask = flex_mask(ranges, leaves[0].device)
    flex = torch.compile(torch.nn.attention.flex_attention.flex_attention)
    grad = torch.randn_like(leaves[0])

    def both(run: Callable[[], torch.Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(run(), leaves, grad)

    ours = both(lambda: block_attention(q, k, v, ranges, 0.088))
    theirs = both(lambda: flex_attention(q, k, v, mask, 0.088, flex))
    for one, other in zip(ours(), theirs(), strict=True):  # type: ignore[call-overload]
        error = ((one - other).float().norm() / other.float().norm()).item()
        assert error < 2e-2, f"gradients differ by {error}"
    return {
        "shape": "30 x 160",
        "block_ms": _time(ours, repeats),
        "flex_ms": _time(theirs, repeats),
        "block_kernels_ms": _device_ms(ours),
        "flex_kernels_ms": _device_ms(theirs),
    }


def measure_mistral(repeats: int) -> list[dict[str, Any]]:
    """A model of Mistral-7B's shape with random weights, to its scoring layer 20.

    As loaded, with its layers compiled, and compiled in float8; and how far float8 ranks documents
    as bfloat16 does. Random weights tell documents hardly apart, which is the hard case.
    """
    backbone = _mistral()
    runs = {"as loaded": _measure_passes(backbone, repeats)}
    backbone.compile_layers()
    runs["compiled"] = _measure_passes(backbone, repeats)
    layout = random_layout(SHAPES[0], VOCABULARY)
    exact = _shares(backbone, layout)
    backbone.use_float8()
    backbone.compile_layers()
    runs["compiled, float8"] = _measure_passes(backbone, repeats)
    agreement = rank_agreement(exact, _shares(backbone, layout))
    rows = [{"run": name} | row for name, found in runs.items() for row in found]
    return [*rows, {"run": "float8 against bfloat16", "shape": SHAPES[0].name, **agreement}]


@torch.inference_mode()
def _shares(backbone: Backbone, layout: BlockLayout) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = backbone(layout).softmax(0).mean((1, 2)).double().cpu().numpy()
    return shares


def rank_agreement(one: NDArray[np.float64], other: NDArray[np.float64]) -> dict[str, float]:
    """How alike two scorings of the same documents order them."""
    first, second = np.triu_indices(len(one), 1)
    same = np.sign(one[first] - one[second]) * np.sign(other[first] - other[second])
    ranks = [np.argsort(np.argsort(scores)) for scores in (one, other)]
    top = [set(np.argsort(-scores)[:10].tolist()) for scores in (one, other)]
    return {
        "spearman": float(np.corrcoef(ranks[0], ranks[1])[0, 1]),
        "kendall": float(same.mean()),
        "of the first ten": len(top[0] & top[1]),
    }


def _mistral() -> Backbone:
    config = transformers.MistralConfig(
        num_hidden_layers=21, sliding_window=None, max_position_embeddings=32768
    )
    with torch.device("meta"):
        model: Any = transformers.MistralModel(config)
    model = model.to(torch.bfloat16).to_empty(device="cuda")
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.02)
    model.rotary_emb = type(model.rotary_emb)(config).to("cuda")
    return Backbone(model.eval(), 20)


def _measure_passes(backbone: Backbone, repeats: int) -> list[dict[str, Any]]:
    """Whole lists of several shapes, and a query over documents whose keys are held."""
    cases = (
        AttentionShape("100 x 160", [160] * 100),
        AttentionShape("500 x 160", [160] * 500),
        RAGGED,
        AttentionShape("500 padded to 160", [160] * 500, 160, 160),
    )
    found = []
    with torch.inference_mode():
        for shape in cases:
            layout = random_layout(shape, VOCABULARY)
            ms = _time(lambda layout=layout: backbone(layout), repeats)  # type: ignore[misc]
            found.append({"shape": shape.name, "tokens": layout.tokens, "ms": ms})
        held = backbone.document_keys(random_layout(RAGGED, VOCABULARY))
        found += _measure_held(backbone, held, 10 * repeats)
    return found


def _measure_held(backbone: Backbone, held: DocumentKeys, repeats: int) -> list[dict[str, Any]]:
    """A query over held documents, launch by launch and as one graph, once both agree."""
    layout = random_layout(AttentionShape("query", [], RAGGED.prefix, RAGGED.query), VOCABULARY)
    queries = HeldQueries(backbone, held, RAGGED.query)
    shares = [scores.softmax(0) for scores in (backbone.with_held(layout, held), queries(layout))]
    error = ((shares[0] - shares[1]).norm() / shares[0].norm()).item()
    if not error < 1e-2:
        raise AssertionError(f"a replayed query differs by {error}")
    name, tokens = f"{RAGGED.name}, keys held", layout.tokens
    ms = _time(lambda: backbone.with_held(layout, held), repeats)
    replayed = _time(lambda: queries(layout), repeats)
    return [
        {"shape": name, "tokens": tokens, "ms": ms},
        {"shape": f"{name}, replayed", "tokens": tokens, "ms": replayed, "error": error},
    ]


def random_layout(shape: AttentionShape, vocab: int) -> BlockLayout:
    """Random ids in a shape's blocks."""
    generator = np.random.default_rng(1)

    def ids(count: int) -> Any:  # noqa: ANN401  an array of ids
        return generator.integers(5, vocab, count)

    block = Block(ids(shape.prefix), [ids(n) for n in shape.documents], ids(shape.query), 2)
    return BlockLayout.pack([block], SIZES)


def _operands(ranges: Ranges) -> list[torch.Tensor]:
    generator = torch.Generator("cuda").manual_seed(0)
    return [
        torch.randn(
            ranges.keys,
            heads,
            MISTRAL["width"],
            device="cuda",
            dtype=torch.bfloat16,
            generator=generator,
        )
        for heads in (MISTRAL["heads"], MISTRAL["kv_heads"], MISTRAL["kv_heads"])
    ]


def _against(q: Any, k: Any, v: Any, ranges: Ranges, found: torch.Tensor) -> float:  # noqa: ANN401
    """The relative difference to float32 arithmetic."""
    truth = cpu.attention(q.float(), k.float(), v.float(), ranges, 0.088)
    return float(((found.float() - truth).norm() / truth.norm()).item())


def _device_ms(run: Callable[[], object]) -> float:
    """What the kernels of one call take, without the host's part."""
    run()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as trace:
        run()
        torch.cuda.synchronize()
    total: float = sum(event.self_device_time_total for event in trace.key_averages())
    return total / 1e3


def bench_rerank(repeats: int) -> dict[str, Any]:
    """All figures, with their origin."""
    return {
        "attention": measure_attention(repeats),
        "training": measure_training(repeats),
        "mistral": measure_mistral(max(3, repeats // 5)),
        **provenance(seed=0),
    }


def _time(run: Callable[[], object], repeats: int) -> float:
    for _ in range(3):
        run()
    ms: float = do_bench(run, warmup=20, rep=4 * repeats, return_mode="median")
    return ms
