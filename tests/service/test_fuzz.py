"""Requests made of the OpenAPI document: no failure, and every answer is what it describes."""

import pytest
from fuzz import fuzz

MEMORY_BYTES = 256 << 20


@pytest.mark.long
def test_a_thousand_requests_are_answered_as_described(tmp_path):
    found = fuzz(tmp_path / "data", 1000, chance=7)
    assert found["cases"] >= 750
    assert max(map(int, found["statuses"])) < 500
    assert {"200", "201", "404", "422"} <= set(found["statuses"])
    assert found["reached_handlers"] > found["cases"] / 2
    assert found["memory_bytes"] <= MEMORY_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_a_hundred_thousand_requests_are_answered_as_described(tmp_path, proof, part):
    found = fuzz(tmp_path / "data", 10_000, chance=2 * part)
    proof("schemathesis", **found)
    assert found["cases"] >= 9000
    assert found["memory_bytes"] <= MEMORY_BYTES
