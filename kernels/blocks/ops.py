"""Block-sparse attention: the public functions. The input tensor's device picks the path.

CUDA tensors run the Triton kernels, CPU tensors cpu.py, which float64 and
``TAMIS_KERNELS=cpu`` also choose. A failure of Triton raises.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import torch

from tamis.kernels.blocks import cpu
from tamis.kernels.blocks.ranges import Ranges, block_ranges, cached_ranges

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

__all__ = ["Ranges", "block_attention", "block_ranges", "cached_ranges", "segment_scores"]


def block_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, ranges: Ranges, scale: float
) -> torch.Tensor:
    """Softmax attention in which every row reads two ranges of keys; differentiable.

    Args:
        q: ``[queries, heads, D]`` bf16, fp16 or fp32 (float64 on the path of CPUs); any strides
            but the last, which is 1.
        k: ``[keys, key heads, D]``; each key head serves heads / key heads query heads in place.
        v: ``[keys, key heads, D]``.
        ranges: what each row reads; keep it for all layers, it carries the work lists.
        scale: factor of the products, usually D ** -0.5.

    Returns:
        ``[queries, heads, D]``, dtype of ``q``.

    Raises:
        ValueError: shapes, dtypes or devices disagree.
    """
    _check(q, k, ranges.queries, ranges.keys)
    _check(q, v, ranges.queries, ranges.keys)
    fused = _fused(q)
    if fused is None:
        return cpu.attention(q, k, v, ranges, scale)
    out: torch.Tensor = fused.attention(q, k, v, ranges, scale)
    return out


def segment_scores(
    q: torch.Tensor,
    k: torch.Tensor,
    segments: NDArray[np.int32],
    scale: float,
    table: torch.Tensor | None = None,
) -> torch.Tensor:
    """How strongly signal rows attend to segments of keys; differentiable.

    Segments that share keys, or rows without being scored by the same, have their gradients taken
    in plain torch, several times slower.

    Args:
        q: ``[rows, heads, D]``.
        k: ``[keys, key heads, D]``.
        segments: ``[segments, 4]`` int32 of s0, s1, k0, k1: query rows s0 to s1 score keys k0 to
            k1; segments of the same rows stand together.
        scale: factor of the products.
        table: ``segments`` on the device of ``q``, where it is there already; the kernel reads it
            when it runs.

    Returns:
        ``[segments, most signals, heads]`` float32: the log of the sum over the segment's keys of
        exp(scale * q . k). Where a list has fewer signals than the most, the rest is 0.

    Raises:
        ValueError: shapes, dtypes or devices disagree, or a segment is empty or out of range.
    """
    _check(q, k, len(q), len(k))
    _check_segments(segments, len(q), len(k))
    if _fused(q) is None:
        return cpu.segment_scores(q, k, segments, scale)
    from tamis.kernels.blocks import segment_scores as fused

    if (q.requires_grad or k.requires_grad) and not fused.one_writer(segments):
        return cpu.segment_scores(q, k, segments, scale)
    return fused.segment_scores(q, k, segments, scale, table)


def _fused(q: torch.Tensor) -> ModuleType | None:
    """Return the Triton module for this tensor, or None for cpu.py."""
    if q.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        return None
    if os.environ.get("TAMIS_KERNELS") == "cpu" or q.dtype == torch.float64:
        return None
    try:
        from tamis.kernels.blocks import attention
    except ImportError as error:
        raise ValueError(
            "expected triton for tensors on CUDA, found none; pip install 'tamis[gpu]'"
        ) from error
    return attention


def _check(q: torch.Tensor, k: torch.Tensor, queries: int, keys: int) -> None:
    if q.ndim != 3 or k.ndim != 3 or len(q) != queries or len(k) != keys:
        raise ValueError(
            f"expected queries [{queries}, heads, D] and keys [{keys}, key heads, D], "
            f"found {tuple(q.shape)} and {tuple(k.shape)}; pack the batch as its ranges say"
        )
    if q.shape[1] % k.shape[1] or q.shape[2] != k.shape[2]:
        raise ValueError(
            f"expected heads that key heads divide, of one width; found {tuple(q.shape[1:])} and "
            f"{tuple(k.shape[1:])}"
        )
    if q.dtype != k.dtype or q.device != k.device:
        raise ValueError(
            f"expected one dtype and device, found {q.dtype} on {q.device} and {k.dtype} on "
            f"{k.device}; cast or move one of them"
        )


def _check_segments(segments: NDArray[np.int32], rows: int, keys: int) -> None:
    ordered = segments.ndim == 2 and segments.shape[1] == 4 and len(segments) > 0
    if not ordered or segments.dtype != np.int32:
        raise ValueError(
            f"expected segments [n, 4] int32 of at least one row, found {segments.shape} "
            f"{segments.dtype}"
        )
    fits = (segments[:, 0] < segments[:, 1]).all() and (segments[:, 2] < segments[:, 3]).all()
    if not fits or segments.min() < 0 or segments[:, 1].max() > rows:
        raise ValueError(f"expected filled segments within {rows} rows, found others")
    if segments[:, 3].max() > keys:
        raise ValueError(f"expected segments within {keys} keys, found {segments[:, 3].max()}")
