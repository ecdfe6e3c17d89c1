from fractions import Fraction

import numpy as np
import pytest

from tamis.index.segment.quantize import IMAGE_MAX, impacts_of, numbers, term_scales, term_steps

RNG = np.random.default_rng(1)
LARGEST = np.concatenate([RNG.exponential(2.0, 499), [1e-20, 1e-3, 1.0, 255.0, 1e30]])
LARGEST = LARGEST.astype(np.float32)


@pytest.mark.parametrize(("precision", "levels"), [("u8", 508), ("u16", 129_000)])
def test_the_error_of_a_weight_stays_below_the_stated_bound(precision, levels):
    scales = term_scales(term_steps(LARGEST, precision), precision)
    for share in (0.01, 0.3, 0.77, 1.0):
        weights = (LARGEST * np.float32(share)).astype(np.float32)
        stored = impacts_of(weights, scales, precision) * scales.astype(np.float64)
        assert (np.abs(stored - weights) <= LARGEST.astype(np.float64) / levels * 1.0001).all()


def shortened(weights, steps):
    """Weights as they are stored in floats of 16 bits, by the steps of their terms."""
    scales = term_scales(steps, "f16")
    return numbers(impacts_of(weights, scales, "f16")) * scales


def test_a_short_float_errs_by_a_share_of_each_weight():
    for share in (1e-8, 0.01, 0.3, 0.77, 1.0):
        weights = (LARGEST * np.float32(share)).astype(np.float32)
        errors = np.abs(shortened(weights, term_steps(LARGEST, "f16")).astype(np.float64) - weights)
        small = weights < LARGEST * 2.0**-14
        bounds = np.where(small, LARGEST * 2.0**-25, weights.astype(np.float64) / 8_192)
        assert (errors <= bounds).all()


def test_a_short_float_is_kept_beside_larger_weights():
    """A merge brings other largest weights; what was rounded once stays as it is."""
    weights = RNG.exponential(1.0, 500).astype(np.float32)
    once = shortened(weights, term_steps(weights, "f16"))
    for factor in (1.0, 1.01, 3.0, 1000.0):
        steps = term_steps((once * np.float32(factor)).astype(np.float32), "f16")
        assert (shortened(once, steps) == once).all()


def test_short_floats_keep_whole_numbers_up_to_8192():
    whole = np.arange(1, 8193, dtype=np.float32)
    assert (shortened(whole, term_steps(np.full(8192, 8192, np.float32), "f16")) == whole).all()


def test_the_bits_of_short_floats_rise_with_the_weights():
    """By hand: 12 bits of fraction below 4 of exponent, the largest of which is that of 2**14."""
    scales = np.ones(6, np.float32)
    weights = np.array([2.0**14, 2.0**15 - 4, 3.0, 1.0, 1.0 + 2.0**-12, 2.0**-20], np.float32)
    bits = impacts_of(weights, scales, "f16").view(np.uint16)
    assert bits.tolist() == [15 << 12, 0xFFFF, (2 << 12) + 2048, 1 << 12, (1 << 12) + 1, 1]
    assert numbers(bits.view(np.int16)).tolist()[:5] == weights.tolist()[:5]


@pytest.mark.parametrize("precision", ["u8", "u16", "f16"])
def test_stored_weights_and_products_are_exact(precision):
    scales = term_scales(term_steps(LARGEST, precision), precision)
    impacts = numbers(impacts_of(LARGEST, scales, precision))
    query = np.float32(1.7182818)
    for impact, scale in zip(impacts.tolist(), scales.tolist(), strict=True):
        stored = float(np.float32(impact * np.float32(scale)))
        assert Fraction(stored) == Fraction(impact) * Fraction(scale)
        product = float(query) * scale * impact
        assert Fraction(product) == Fraction(float(query)) * Fraction(stored)


@pytest.mark.parametrize("precision", ["u8", "u16", "f16", "f32"])
def test_the_largest_weight_is_at_most_the_largest_image(precision):
    steps = term_steps(LARGEST, precision)
    assert (steps.astype(np.float64) * IMAGE_MAX >= LARGEST).all()
    assert (steps.astype(np.float64) * IMAGE_MAX <= LARGEST * 1.009).all()


def test_a_weight_below_one_scale_is_raised_to_it():
    scales = term_scales(term_steps(np.array([2.0], np.float32), "u8"), "u8")
    assert impacts_of(np.array([1e-6], np.float32), scales, "u8").tolist() == [1]


def test_no_scale_is_so_small_that_products_lose_bits():
    """Two to the power of -100, whatever the weights; such a weight becomes one scale."""
    tiny = np.array([1e-40], np.float32)
    for precision in ("u8", "u16"):
        scales = term_scales(term_steps(tiny, precision), precision)
        assert scales[0] == 2.0**-100
        assert impacts_of(tiny, scales, precision).tolist() == [1]


def test_a_term_without_documents_has_no_step():
    assert term_steps(np.array([0.0, 1.0], np.float32), "u8")[0] == 0
