"""Runs the tests of Numba's CUDA kernels on the CPU: its simulator needs a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
def test_the_kernels_pass_their_tests_under_the_simulator():
    tests = Path(__file__).parent / "simulated"
    command = [sys.executable, "-m", "pytest", str(tests), "-p", "no:cacheprovider"]
    command += ["--strict-skips"]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None
    assert int(passed[1]) >= 10
