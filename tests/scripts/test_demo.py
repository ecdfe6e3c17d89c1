"""The demonstration on the sample collection, with words alone to be quick."""

import json
import re
import signal

import httpx
import pytest


def test_the_demo_indexes_evaluates_and_stops(tamis, tmp_path):
    out = tmp_path / "kept"
    result = tamis("demo", "--no-serve", "--encoder", "bm25", "--json", "--out", out)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["documents"] == 1581
    assert [one["system"] for one in found["results"]] == ["bm25", "tamis"]
    for one in found["results"]:
        assert 0.8 < one["measures"]["nDCG@10"] < 1
    kept = json.loads(tamis("search", out, "who invented the steam engine", "--json").stdout)
    assert "steam engine" in kept["hits"][0]["document"]["text"]


@pytest.mark.long
def test_the_demo_prints_a_table_and_leaves_a_server(start_tamis):
    process = start_tamis("demo", "--encoder", "bm25")
    lines = []
    while not (lines and lines[-1].startswith("Serving ")):
        lines.append(process.stdout.readline())
        assert lines[-1] or process.poll() is None, process.stderr.read()
    table = [line.split() for line in lines if line.startswith("squadshifts-new-wiki ")]
    assert [row[1] for row in table] == ["bm25", "tamis"]
    address = re.search(r"http://127\.0\.0\.1:\d+", lines[-1])[0]
    search = f"{address}/v1/indexes/squadshifts-new-wiki/search"
    assert httpx.get(search, params={"q": "steam engine"}).json()["hits"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0
