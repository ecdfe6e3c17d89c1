"""A server under many kinds of requests at once fails none and keeps its size."""

import json

import pytest
from soak import Mix, fill, soak

LINES = [
    json.dumps({"_id": str(n), "title": f"bird{n}", "text": f"An owl{n} hunts at night."}).encode()
    for n in range(300)
]


@pytest.mark.long
def test_a_mix_of_searches_and_writes_fails_no_request(serve):
    server = serve()
    fill(server, LINES)
    mix = Mix(server.address, LINES, ["owl1 at night", "bird7", "hunts"])
    found = soak(server, mix, seconds=3, warm=2, rate=150)
    assert set(found["statuses"]) == {"200"}
    assert found["failed"] == 0
    assert found["requests"] >= 600
    assert abs(found["own_bytes"]["drift"]) < 0.2
