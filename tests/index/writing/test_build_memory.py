"""A build holds a batch at a time, however many there are."""

import subprocess
import sys

import pytest

from tamis.index import Index

BATCHES, ROWS, TERMS, VOCAB = 36, 500, 150, 1000  # 18,000 documents, 22 MB in memory

BUILD_IN_LITTLE_MEMORY = """
import resource, sys, threading
threading.stack_size(1 << 18)  # the limit counts the room that stacks might take
import numpy as np
from tamis.index import Index, SparseVectors

class Batches:
    def __init__(self, count, rows, terms, vocab):
        self.count, self.rows, self.terms, self.vocab = count, rows, terms, vocab

    def __iter__(self):
        for number in range(self.count):
            rng = np.random.default_rng(number)
            shape = (self.rows, self.terms)
            picked = np.sort(rng.integers(0, self.vocab - self.terms, shape), axis=1)
            yield SparseVectors(
                np.arange(self.rows + 1) * self.terms,
                (picked + np.arange(self.terms)).ravel().astype(np.int32),
                rng.random(self.rows * self.terms, np.float32) + 0.1,
                self.vocab,
            )

folder, megabytes, *sizes = sys.argv[1:]
count, rows, terms, vocab = map(int, sizes)
Index.build(folder + "/small", Batches(1, 50, terms, vocab))  # loads the compiled loops
used_bytes = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used_bytes + (int(megabytes) << 20),) * 2)
Index.build(folder + "/large", Batches(count, rows, terms, vocab))
"""


@pytest.mark.parametrize(("megabytes", "enough"), [(8, True), (1, False)])
def test_a_build_needs_little_memory(tmp_path, megabytes, enough):
    """The data segment may grow by a third of what the vectors take; 1 MB is too little."""
    sizes = map(str, (BATCHES, ROWS, TERMS, VOCAB))
    done = subprocess.run(
        [sys.executable, "-c", BUILD_IN_LITTLE_MEMORY, tmp_path, str(megabytes), *sizes],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == enough, done.stderr[-2000:]
    if enough:
        assert len(Index.open(tmp_path / "large")) == BATCHES * ROWS
