"""Where the loops' machine code is kept, each time in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tamis.index.segment.loops.compiled as module
from tamis.index.segment.loops.compiled import cache_key

OFFER = """
import numpy as np
from tamis.index.segment.loops.topk import offer
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


@pytest.mark.long
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


COUNT = """
import sys
import numpy as np
from numba.core.dispatcher import Dispatcher
from tamis.index import Index, SparseVectors
from tamis.index.segment.loops import block_search, search as loops
from tamis.scripts.doctor import _use_blocks, warm_up

warm_up()
before = len(loops.search.signatures), len(block_search.search_blocks.signatures)
rng = np.random.default_rng(3)
for vocab_size in (91, 70_001):  # terms that nearly all documents hold, and windows of them
    terms = [sorted(rng.choice(60, 40, replace=False).tolist()) + [vocab_size - 1]] * 301
    rows = [dict(zip(row, rng.random(41).tolist(), strict=True)) for row in terms]
    rows.append(dict.fromkeys(range(0, vocab_size, 2), 1.0))  # else it numbers its few terms
    vectors = SparseVectors.from_dicts(rows, vocab_size)
    index = Index.build(f"{sys.argv[1]}/{vocab_size}", vectors)
    assert index.parts[0].stored.segment._lists.postings.size
    index.search(vectors.rows(0, 5), 3)
    _use_blocks(f"{sys.argv[1]}/{vocab_size}")
print(*before, len(loops.search.signatures), len(block_search.search_blocks.signatures))
"""


def test_after_warming_no_index_of_words_compiles_a_search(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COUNT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["2"] * 4  # terms of two bytes, and of four
