"""Runs the GPU's tests on the CPU: Triton's interpreter needs a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
def test_the_kernels_pass_their_tests_under_the_interpreter():
    pytest.importorskip("triton")
    tests = Path(__file__).parent / "fused"
    command = [sys.executable, "-m", "pytest", str(tests), "-p", "no:cacheprovider"]
    command += ["--strict-skips"]
    # NumPy remarks on the NaN that the tests poison memory with.
    command += ["-W", "ignore::RuntimeWarning", "-o", "addopts=--import-mode=importlib -q"]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None
    assert int(passed[1]) > 40
