"""A SPLADE that others published gives what transformers computes by its definition."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "dev" / "check_published_checkpoint"


@pytest.mark.network
def test_agrees_with_transformers_to_six_digits():
    done = subprocess.run(
        [sys.executable, SCRIPT, "40"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 texts" in done.stdout
