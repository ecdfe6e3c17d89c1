"""kill -9 at random moments of ingest, merge, snapshot and alias swap."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def kills(folder, count, seed):
    """Run the kills in a process of their own, which forks; what it found."""
    done = subprocess.run(
        [sys.executable, str(HERE / "killed.py"), str(folder), str(count), seed],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *python_path()])},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def python_path():
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


@pytest.mark.long
def test_thirty_kills_lose_nothing(tmp_path):
    found = kills(tmp_path, 30, "short")
    assert found["acknowledged_writes"] > 30  # however busy the machine is
    assert found["snapshots"] > 0


@pytest.mark.slow
def test_a_thousand_kills_lose_nothing(tmp_path, proof):
    found = kills(tmp_path, 1000, "long")
    proof("kill -9", **found)
    assert found["acknowledged_writes"] > 10_000
