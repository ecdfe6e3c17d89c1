"""Where the loops' machine code is kept, each time in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import tamis.index.loops.compiled as module
from tamis.index.loops.compiled import cache_key

OFFER = """
import numpy as np
from tamis.index.loops.topk import offer
docs, scores = np.zeros(1, np.int32), np.zeros(1, np.float32)
print(offer(docs, scores, 0, 7, np.float32(2)), docs[0], sum(offer.stats.cache_hits.values()))
"""


def run(cache_home):
    """Prints how many were kept, which, and how often kept code was loaded."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OFFER],
        env=environment | {"XDG_CACHE_HOME": str(cache_home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_machine_code_is_kept_in_the_users_folder_and_used_again(tmp_path):
    sources = Path(module.__file__).parent
    beside = set(sources.rglob("*.nbi"))
    assert run(tmp_path) == ["1", "7", "0"]
    kept = {path.parent.parent.name for path in tmp_path.rglob("topk.offer-*.nbi")}
    assert kept == {f"loops-{cache_key(sources)}"}
    assert set(sources.rglob("*.nbi")) == beside
    assert run(tmp_path) == ["1", "7", "1"]


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert run(tmp_path / "file") == ["1", "7", "0"]


def test_the_folder_is_named_after_every_source(tmp_path):
    (tmp_path / "caller.py").write_text("a = 1")
    (tmp_path / "callee.py").write_text("b = 1")
    before = cache_key(tmp_path)
    (tmp_path / "callee.py").write_text("b = 2")
    assert cache_key(tmp_path) != before
    (tmp_path / "callee.py").write_text("b = 1")
    assert cache_key(tmp_path) == before
