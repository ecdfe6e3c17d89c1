"""`tamis bench head`: the fused head against PyTorch, on the machine at hand.

A correctness gate runs first; floors stand beside every figure. Times are medians of single
launches between device events, so they hold the launches a user's call makes, not a graph's replay.
"""

from __future__ import annotations

import functools
import json
import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import triton

from tamis.eval.provenance import provenance
from tamis.kernels.head.ops import Activation, splade_encode, splade_head, splade_head_packed
from tamis.scripts.bench.head_baselines import chunked, eager, eager_with_index, hybrid
from tamis.scripts.bench.step import largest_step

if TYPE_CHECKING:
    from pathlib import Path

Forward = Callable[..., torch.Tensor]
_GIB = 1 << 30


class Shape(NamedTuple):
    """Sequences x tokens x width x vocabulary."""

    batch: int
    length: int
    width: int
    vocab: int

    @property
    def flops(self) -> float:
        """Multiplications and additions of one forward, every position counted."""
        return 2.0 * self.batch * self.length * self.width * self.vocab

    @property
    def name(self) -> str:
        """The shape as the tables write it."""
        return "x".join(map(str, self))


BERT = Shape(64, 256, 768, 30522)
XLM_R = Shape(32, 256, 768, 250002)
MISTRAL = Shape(8, 512, 4096, 32000)
MINILM = Shape(64, 256, 384, 30522)
QUERIES = Shape(64, 32, 768, 30522)


class Inputs(NamedTuple):
    """One shape's operands, and a mask that counts every token."""

    hidden: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    mask: torch.Tensor

    def leaves(self) -> Inputs:
        """Return the same values as fresh leaves that want gradients."""
        hidden, weight, bias = (t.detach().requires_grad_() for t in self[:3])
        return Inputs(hidden, weight, bias, self.mask)


def bench_head(out: Path | None = None, repeats: int = 40, *, quick: bool = False) -> None:
    """Measure, print a table, and write the figures as JSON.

    Args:
        out: where the JSON goes; None writes none.
        repeats: launches a median is taken over.
        quick: leave the PyTorch baselines and the largest-batch search out.
    """
    result = measure_head(repeats, quick=quick)
    for line in table(result):
        print(line)
    if out is not None:
        out.write_text(json.dumps(result, indent=1) + "\n")


def measure_head(repeats: int = 40, *, quick: bool = False) -> dict[str, Any]:
    """Return every figure as plain values; arguments as `bench_head`.

    Raises:
        RuntimeError: no CUDA device, or the fused head disagrees with float64 arithmetic.
    """
    if not torch.cuda.is_available():
        raise RuntimeError("expected a CUDA device, found none; the head's figures are a GPU's")
    torch.manual_seed(0)
    result: dict[str, Any] = {"provenance": provenance(seed=0), "gate": _gate()}
    # A card just woken may run its first products slowly: the better of two measurements counts.
    result["ceiling"] = max((_ceiling(repeats) for _ in range(2)), key=_tflops)
    top = _tflops(result["ceiling"])
    shapes = (BERT, XLM_R, MISTRAL, MINILM, QUERIES)
    result["forward"] = [_forward(shape, repeats, top) for shape in shapes]
    result["packed"] = [_packed(shape, repeats) for shape in (BERT, XLM_R, MINILM)]
    result["training"] = [_training(shape, repeats) for shape in (BERT, MINILM, QUERIES, XLM_R)]
    result["encode"] = [_encode(shape, repeats) for shape in (BERT, MINILM)]
    if not quick:
        result["baselines"] = _baselines(BERT, max(5, repeats // 4))
        result["largest_batch"] = _largest_batch(XLM_R)
        result["largest_step"] = largest_step(XLM_R)
    return result


def make_inputs(shape: Shape, active: float = 1.0) -> Inputs:
    """Return random bf16 operands whose pooled logits are positive for a share of the entries."""
    hidden = torch.randn(shape.batch, shape.length, shape.width, device="cuda")
    weight = torch.randn(shape.vocab, shape.width, device="cuda") / shape.width**0.5
    bias = torch.zeros(shape.vocab, device="cuda")
    mask = torch.ones(shape.batch, shape.length, dtype=torch.bool, device="cuda")
    inputs = Inputs(hidden.bfloat16(), weight.bfloat16(), bias, mask)
    if active < 1.0:
        pooled = splade_head(*inputs[:3], mask=mask, activation=Activation.NONE)
        bias -= torch.quantile(pooled[:, :4096].float(), 1.0 - active)
    return inputs


def fused(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Pool with the fused head."""
    return splade_head(hidden, weight, bias, mask=mask)


def median_ms(work: Callable[[], object], repeats: int) -> float:
    """Return the median milliseconds of one call, between device events, after three warm-ups."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    pairs = []
    for _ in range(repeats):
        pair = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
        pair[0].record()
        work()
        pair[1].record()
        pairs.append(pair)
    torch.cuda.synchronize()
    return float(statistics.median(a.elapsed_time(b) for a, b in pairs))


def device_ms(work: Callable[[], object]) -> float:
    """Return the milliseconds that the kernels of one call ran, without the host's part."""
    work()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as trace:
        work()
        torch.cuda.synchronize()
    return float(sum(event.self_device_time_total for event in trace.key_averages())) / 1e3


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the most memory the allocator held above what was held before."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def both_ways(head: Forward, inputs: Inputs) -> Callable[[], object]:
    """Return a call that makes the weights and every gradient."""
    leaves = inputs.leaves()
    with torch.no_grad():
        upstream = torch.randn_like(head(*inputs))
    return lambda: torch.autograd.grad(head(*leaves), leaves[:3], upstream)


def _ceiling(repeats: int) -> dict[str, Any]:
    """Measure what the card gives the library: a large product, a large copy."""
    a, b = (torch.randn(8192, 8192, device="cuda").bfloat16() for _ in range(2))
    matmul_ms = median_ms(lambda: a @ b, repeats)
    source = torch.empty(2 * _GIB, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copy_ms = median_ms(lambda: target.copy_(source), repeats)
    return {
        "card": torch.cuda.get_device_name(),
        "triton": triton.__version__,
        "matmul_tflops": 2 * 8192**3 / matmul_ms / 1e9,
        "copy_tb_per_s": 2 * source.numel() / copy_ms / 1e9,
    }


def _tflops(ceiling: dict[str, Any]) -> float:
    return float(ceiling["matmul_tflops"])


def _gate() -> dict[str, float]:
    """Compare with float64 arithmetic before any timing; return relative errors."""
    inputs = make_inputs(Shape(5, 77, 384, 3001))
    inputs.mask[1, 40:] = False
    leaves = inputs.leaves()
    hidden, weight, bias = (t.double() for t in inputs[:3])
    wide = Inputs(hidden, weight, bias, inputs.mask).leaves()
    ours, truth = fused(*leaves), eager(*wide)
    upstream = torch.randn_like(ours)
    grads = torch.autograd.grad(ours, leaves[:3], upstream)
    true_grads = torch.autograd.grad(truth, wide[:3], upstream.double())
    names = ("output", "grad_hidden", "grad_weight", "grad_bias")
    pairs = zip(names, (ours, *grads), (truth, *true_grads), strict=True)
    errors = {n: ((a.double() - b).norm() / b.norm()).item() for n, a, b in pairs}
    if not (errors["output"] < 1e-5 and max(errors.values()) < 1e-2):
        raise RuntimeError(f"expected relative errors under 1e-5 and 1e-2, found {errors}")
    return errors


def _forward(shape: Shape, repeats: int, ceiling_tflops: float) -> dict[str, Any]:
    """Time the forward alone, and the forward that remembers winners."""
    inputs = make_inputs(shape)
    leaves = inputs.leaves()
    row: dict[str, Any] = {"shape": shape.name, "floor_ms": shape.flops / ceiling_tflops / 1e9}
    for name, operands in (("inference", inputs), ("training", leaves)):
        ms = median_ms(functools.partial(fused, *operands), repeats)
        tflops = shape.flops / ms / 1e9
        row |= {f"{name}_ms": ms, f"{name}_tflops": tflops}
        row[f"{name}_share"] = tflops / ceiling_tflops
    return row


def _packed(shape: Shape, repeats: int) -> dict[str, Any]:
    """Time ragged batches at density 0.67 against the dense form of the same size."""
    inputs = make_inputs(shape)
    lengths = torch.linspace(0.34 * shape.length, shape.length, shape.batch).round().int()
    lengths = lengths[torch.randperm(shape.batch)].to("cuda")
    counted = torch.arange(shape.length, device="cuda")[None] < lengths[:, None]
    rows = inputs.hidden[counted]
    offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))

    def ragged() -> torch.Tensor:
        return splade_head_packed(
            rows, inputs.weight, inputs.bias, offsets=offsets, max_len=shape.length
        )

    dense_ms, packed_ms = median_ms(lambda: fused(*inputs), repeats), median_ms(ragged, repeats)
    masked_ms = median_ms(lambda: fused(*inputs[:3], counted), repeats)
    density = counted.float().mean().item()
    return {
        "shape": shape.name,
        "density": density,
        "bound": 1 / density,
        "dense_ms": dense_ms,
        "packed_ms": packed_ms,
        "masked_ms": masked_ms,
        "speedup": dense_ms / packed_ms,
    }


def _training(shape: Shape, repeats: int) -> dict[str, Any]:
    """Time forward and backward, all entries active and one in a hundred; count saved bytes."""
    row: dict[str, Any] = {"shape": shape.name}
    for name, active in (("all_active", 1.0), ("one_percent", 0.01)):
        inputs = make_inputs(shape, active)
        leaves = inputs.leaves()
        row[f"{name}_forward_ms"] = median_ms(functools.partial(fused, *leaves), repeats)
        row[f"{name}_ms"] = median_ms(both_ways(fused, inputs), repeats)
        row[f"{name}_device_ms"] = device_ms(both_ways(fused, inputs))
        row[f"{name}_peak_mib"] = peak_bytes(both_ways(fused, inputs)) / 2**20
        row[f"{name}_over_forward"] = row[f"{name}_ms"] / row[f"{name}_forward_ms"]
    row["saved_bytes_per_entry"] = saved_bytes(leaves) / (shape.batch * shape.vocab)
    return row


def saved_bytes(leaves: Inputs) -> int:
    """Return the bytes kept for the backward in tensors that grow with batch x vocabulary."""
    entries = leaves.hidden.shape[0] * leaves.weight.shape[0]
    kept: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.numel() == entries:
            kept.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        fused(*leaves)
    return sum(kept)


def _encode(shape: Shape, repeats: int) -> dict[str, Any]:
    """Time the way straight to sparse rows, about 200 terms a row."""
    inputs = make_inputs(shape, 200 / shape.vocab)

    def encode() -> object:
        return splade_encode(*inputs[:3], mask=inputs.mask)

    return {"shape": shape.name, "ms": median_ms(encode, repeats)}


def _baselines(shape: Shape, repeats: int) -> dict[str, dict[str, float]]:
    """Time PyTorch's own ways, with the vocabulary as it is and padded to a multiple of 64."""
    inputs = make_inputs(shape)
    extra = -shape.vocab % 64
    padded = Inputs(
        inputs.hidden,
        torch.nn.functional.pad(inputs.weight, (0, 0, 0, extra)),
        torch.nn.functional.pad(inputs.bias, (0, extra)),
        inputs.mask,
    )
    compiled, compiled_index = (
        torch.compile(head, dynamic=False) for head in (eager, eager_with_index)
    )
    ways: dict[str, tuple[Forward, Inputs]] = {
        "eager": (eager, inputs),
        "eager, torch.max": (eager_with_index, inputs),
        "eager, padded vocabulary": (eager, padded),
        "torch.compile": (compiled, inputs),
        "torch.compile, torch.max": (compiled_index, inputs),
        "torch.compile, padded vocabulary": (compiled, padded),
        "chunks with checkpointing": (chunked, inputs),
        "fused": (fused, inputs),
    }
    rows = {name: _baseline(head, operands, repeats) for name, (head, operands) in ways.items()}
    with torch.no_grad():
        rows["64 MiB hybrid"] = {"forward_ms": median_ms(lambda: hybrid(*inputs), repeats)}
    return rows


def _baseline(head: Forward, inputs: Inputs, repeats: int) -> dict[str, float]:
    with torch.no_grad():
        forward_ms = median_ms(lambda: head(*inputs), repeats)
    return {
        "forward_ms": forward_ms,
        "both_ms": median_ms(both_ways(head, inputs), repeats),
        "both_peak_gib": peak_bytes(both_ways(head, inputs)) / _GIB,
    }


def _largest_batch(shape: Shape, budget_gib: int = 80) -> dict[str, float]:
    """Find the largest batch whose forward and backward fit a budget, weights included.

    Memory grows linearly with the batch: two peaks give the line; a run near its end proves ours.
    """
    result: dict[str, float] = {"budget_gib": budget_gib}
    for name, head, sizes in (("eager", eager, (8, 16)), ("fused", fused, (2048, 4096))):
        peaks = [_step_bytes(head, shape._replace(batch=b)) for b in sizes]
        slope = (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])
        result[name] = sizes[0] + int((budget_gib * _GIB - peaks[0]) / slope)
        result[f"{name}_mib_per_sequence"] = slope / 2**20
    proof = shape._replace(batch=int(result["fused"] * 0.98))
    result["proved_batch"] = proof.batch
    result["proved_peak_gib"] = _step_bytes(fused, proof) / _GIB
    result["ratio"] = result["fused"] / result["eager"]
    return result


def _step_bytes(head: Forward, shape: Shape) -> int:
    """Return the peak of one whole step: operands, weights, output, gradients."""

    def step() -> None:
        hidden = torch.randn(
            shape.batch, shape.length, shape.width, device="cuda", dtype=torch.bfloat16
        )
        weight = torch.randn(shape.vocab, shape.width, device="cuda", dtype=torch.bfloat16)
        bias = torch.zeros(shape.vocab, device="cuda")
        mask = torch.ones(shape.batch, shape.length, dtype=torch.bool, device="cuda")
        leaves = Inputs(hidden, weight.mul_(shape.width**-0.5), bias, mask).leaves()
        out = head(*leaves)
        torch.autograd.grad(out, leaves[:3], torch.ones_like(out))

    torch.cuda.empty_cache()
    return peak_bytes(step)


def table(result: dict[str, Any]) -> list[str]:
    """Return the figures as lines for a terminal."""
    ceiling = result["ceiling"]["matmul_tflops"]
    lines = [f"{result['ceiling']['card']}: {ceiling:.0f} TFLOP/s in an 8192^3 product"]
    for row in result["forward"]:
        lines.append(
            f"forward {row['shape']:>20}  floor {row['floor_ms']:.3f} ms"
            f"  inference {row['inference_ms']:.3f} ms ({row['inference_share']:.0%})"
            f"  with winners {row['training_ms']:.3f} ms ({row['training_share']:.0%})"
        )
    for row in result["packed"]:
        lines.append(
            f"packed {row['shape']:>20}  {row['speedup']:.2f}x of a bound {row['bound']:.2f}x"
        )
    for row in result["training"]:
        lines.append(
            f"both ways {row['shape']:>20}  all active {row['all_active_ms']:.3f} ms"
            f"  1 % active {row['one_percent_ms']:.3f} ms"
            f" ({row['one_percent_over_forward']:.2f}x forward)"
        )
    for name, row in result.get("baselines", {}).items():
        lines.append(f"{name:>34}  " + "  ".join(f"{k} {v:.3f}" for k, v in row.items()))
    if "largest_batch" in result:
        lines.append(f"largest batch: {result['largest_batch']}")
        lines.append(f"largest whole step: {result['largest_step']}")
    return lines
