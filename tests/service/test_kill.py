"""kill -9 of the server at random moments of ingestion through HTTP."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def kills(folder, count, seed):
    """Run the kills in a process of their own, which forks; what it found."""
    done = subprocess.run(
        [sys.executable, str(HERE / "killed_server.py"), str(folder), str(count), seed],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long
def test_five_kills_lose_nothing_acknowledged(tmp_path):
    assert kills(tmp_path, 5, "short")["acknowledged_requests"] > 5


@pytest.mark.slow
def test_two_hundred_kills_lose_nothing_acknowledged(tmp_path, proof):
    found = kills(tmp_path, 200, "long")
    proof("kill -9 under ingestion", **found)
    assert found["acknowledged_requests"] > 1000
