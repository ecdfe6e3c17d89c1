"""Weights as small integers: what is stored, how far it is from what was given.

A stored weight is ``impact * scale`` of its term, exactly, in float32 as well as in the products
of a search: scales are rounded up to few significant bits. The error of each weight:

=========  ==================================================================================
precision  error, with ``largest`` the term's largest weight in the segment
=========  ==================================================================================
``f32``    none
``u16``    at most ``largest / 129_000``; a weight below one scale is raised to it
``u8``     at most ``largest / 508``; a weight below one scale is raised to it
=========  ==================================================================================

No scale is below 2**-100.

An image is a byte, the weight in 255ths of the term's largest, rounded up: what lists hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Precision = Literal["u8", "u16", "f32"]

IMAGE_MAX = 255
IMPACT_TYPES: dict[str, np.dtype[Any]] = {
    "u8": np.dtype("<u1"),
    "u16": np.dtype("<u2"),
    "f32": np.dtype("<f4"),
}
_FLOAT32_BITS = 24  # significant bits: those of an impact and of a scale together
_IMPACTS_PER_IMAGE = {"u8": 1, "u16": 257}  # 65_535 / 255
_SMALLEST_STEP = 2.0**-100  # keeps products away from subnormal numbers


def term_steps(largest: NDArray[np.float32], precision: Precision) -> NDArray[np.float32]:
    """The weight of one image step of each term.

    Args:
        largest: ``[vocab_size]`` float32, each term's largest weight, 0 without any.
        precision: what impacts will be.

    Returns:
        ``[vocab_size]`` float32, at least ``largest / 255``; 0 where ``largest`` is.
    """
    per_image = _IMPACTS_PER_IMAGE.get(precision, 1)
    bits = _FLOAT32_BITS - (8 if precision == "u8" else 16)
    scales = np.maximum(largest.astype(np.float64) / (IMAGE_MAX * per_image), _SMALLEST_STEP)
    steps = _rounded_up(scales, bits) * per_image
    return np.where(largest > 0, steps, 0).astype(np.float32)


def term_scales(steps: NDArray[np.float32], precision: Precision) -> NDArray[np.float32]:
    """The weight of one impact of each term: ``[vocab_size]`` float32."""
    if precision == "f32":
        return np.ones_like(steps)
    return steps / np.float32(_IMPACTS_PER_IMAGE[precision])


def impacts_of(
    weights: NDArray[np.float32], scales: NDArray[np.float32], precision: Precision
) -> NDArray[Any]:
    """The impacts of weights, ``scales`` being those of their terms; at least one scale each."""
    if precision == "f32":
        return weights
    impact_type = IMPACT_TYPES[precision]
    nearest = np.rint(weights.astype(np.float64) / scales)
    return np.clip(nearest, 1, np.iinfo(impact_type).max).astype(impact_type)


def record_entry(vocab_size: int, precision: Precision) -> np.dtype[Any]:
    """The packed type of one entry of a document's record: a term and an impact."""
    term = "<u2" if vocab_size <= 1 << 16 else "<u4"
    return np.dtype([("term", term), ("impact", IMPACT_TYPES[precision])])


def image_error(precision: Precision) -> int:
    """How many steps an image can exceed its stored weight by."""
    return 0 if precision == "u8" else 1


def _rounded_up(values: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """Values rounded up to ``bits`` significant bits."""
    mantissas, exponents = np.frexp(values)
    rounded: NDArray[np.float64] = np.ldexp(np.ceil(np.ldexp(mantissas, bits)), exponents - bits)
    return rounded
