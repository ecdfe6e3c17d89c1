"""Weights as small numbers: what is stored, how far it is from what was given.

A stored weight is ``impact * scale`` of its term, exactly, in float32 as well as in the products
of a search: scales are rounded up to few significant bits. The error of each weight:

=========  ==================================================================================
precision  error, with ``largest`` the term's largest weight in the segment
=========  ==================================================================================
``f32``    none
``f16``    at most 1/8_192 of the weight; ``largest * 2**-25`` below ``largest * 2**-14``
``u16``    at most ``largest / 129_000``; a weight below one scale is raised to it
``u8``     at most ``largest / 508``; a weight below one scale is raised to it
=========  ==================================================================================

No scale of whole impacts is below 2**-100. An impact of ``f16`` is a positive float of 16 bits: 4
of exponent, 12 of fraction, so 13 significant ones. Its scale is a power of two: a weight that was
stored once is stored again as it is, unless its term's largest is 2**14 times it or more.

An image is a byte, the weight in 255ths of the term's largest, rounded up: what lists hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Precision = Literal["u8", "u16", "f16", "f32"]

IMAGE_MAX = 255
IMPACT_TYPES: dict[str, np.dtype[Any]] = {
    "u8": np.dtype("<u1"),
    "u16": np.dtype("<u2"),
    "f16": np.dtype("<i2"),  # 16 bits: a signed type tells them from whole impacts
    "f32": np.dtype("<f4"),
}
_FLOAT32_BITS = 24  # significant bits: those of an impact and of a scale together
_IMPACTS_PER_IMAGE = {"u8": 1, "u16": 257}  # 65_535 / 255
_SMALLEST_STEP = 2.0**-100  # keeps products away from subnormal numbers
_SHORT_BITS = 13  # significant bits of a float of 16 bits
DROPPED_BITS = 40  # of a float64 whose exponent lies where that of 16 bits does
_SHORT_EXPONENT = 15  # floats of 16 bits lie below two to the power of it
LIFT = 2.0**1022  # what such a float64 is short of


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
    wide = largest.astype(np.float64)
    stored = _rounded_up(wide, _SHORT_BITS) if precision == "f16" else wide
    scales = np.maximum(stored / (IMAGE_MAX * per_image), _SMALLEST_STEP)
    steps = _rounded_up(scales, bits) * per_image
    return np.where(largest > 0, steps, 0).astype(np.float32)


def term_scales(steps: NDArray[np.float32], precision: Precision) -> NDArray[np.float32]:
    """The weight of one impact of each term: ``[vocab_size]`` float32."""
    if precision == "f32":
        return np.ones_like(steps)
    if precision == "f16":
        _, exponents = np.frexp(steps.astype(np.float64) * IMAGE_MAX)
        powers: NDArray[np.float32] = np.ldexp(np.ones_like(steps), exponents - _SHORT_EXPONENT)
        return powers
    return steps / np.float32(_IMPACTS_PER_IMAGE[precision])


def impacts_of(
    weights: NDArray[np.float32], scales: NDArray[np.float32], precision: Precision
) -> NDArray[Any]:
    """The impacts of weights, ``scales`` being those of their terms; at least one scale each."""
    if precision == "f32":
        return weights
    if precision == "f16":
        return _shortened(weights / scales.astype(np.float64))
    impact_type = IMPACT_TYPES[precision]
    nearest = np.rint(weights.astype(np.float64) / scales)
    return np.clip(nearest, 1, np.iinfo(impact_type).max).astype(impact_type)


def numbers(impacts: NDArray[Any]) -> NDArray[Any]:
    """Stored impacts as the numbers that they are; those of ``f16`` in float64."""
    if impacts.dtype != IMPACT_TYPES["f16"]:
        return impacts
    bits = impacts.astype(np.uint16).astype(np.uint64) << np.uint64(DROPPED_BITS)
    return bits.view(np.float64) * LIFT


def record_entry(vocab_size: int, precision: Precision) -> np.dtype[Any]:
    """The packed type of one entry of a document's record: a term and an impact."""
    term = "<u2" if vocab_size <= 1 << 16 else "<u4"
    return np.dtype([("term", term), ("impact", IMPACT_TYPES[precision])])


def image_error(precision: Precision) -> int:
    """How many steps an image can exceed its stored weight by."""
    return 0 if precision == "u8" else 1


def _shortened(values: NDArray[np.float64]) -> NDArray[np.int16]:
    """The bits of the nearest floats of 16 bits, ties to even; at least the least of them."""
    bits = (values / LIFT).view(np.uint64)
    half = np.uint64((1 << DROPPED_BITS - 1) - 1)
    even = (bits >> np.uint64(DROPPED_BITS)) & np.uint64(1)
    rounded = (bits + half + even) >> np.uint64(DROPPED_BITS)
    shortened: NDArray[np.int16] = np.maximum(rounded, 1).astype(np.uint16).view(np.int16)
    return shortened


def _rounded_up(values: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """Values rounded up to ``bits`` significant bits."""
    mantissas, exponents = np.frexp(values)
    rounded: NDArray[np.float64] = np.ldexp(np.ceil(np.ldexp(mantissas, bits)), exponents - bits)
    return rounded
