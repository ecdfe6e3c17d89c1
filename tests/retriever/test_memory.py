"""A bound on memory: kept where it suffices, told early where it does not."""

import os
import subprocess
import sys

import pytest

from tamis.index import InputError
from tamis.index.files.system import most_used_bytes, used_bytes
from tamis.retriever import Passage, index_corpus
from tamis.retriever.memory import parse_bytes

# 20 MB more than what a small build holds, for 200 MB of text. What does not grow with the corpus,
# some 40 MB more, is made smaller first, so that the test is quick.
LIMITED = """
import resource, sys, threading
threading.stack_size(1 << 18)  # the limit counts the room that stacks might take
from tamis.index.segment import documents
from tamis.retriever import Passage, index_corpus, indexing
from tamis.index.files.system import used_bytes

documents.SAMPLE_BYTES, indexing.CHUNK_DOCUMENTS = 1 << 19, 64
folder, megabytes = sys.argv[1], int(sys.argv[2])

def corpus(size):
    for number in range(size):
        yield Passage(f"d{number}", f"{'extraordinary ' * 720}{number % 1000}")

index_corpus(corpus(400), folder + "/small", encoder=None)  # loads the compiled loops
held = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (held + (megabytes << 20),) * 2)
bound = used_bytes() + (megabytes << 20)
made = index_corpus(corpus(19_900), folder + "/large", encoder=None, memory_bytes=bound)
print(len(made))
"""


@pytest.mark.parametrize(("megabytes", "enough"), [(20, True), (1, False)])
@pytest.mark.long
def test_a_corpus_ten_times_the_bound_is_indexed_within_it(tmp_path, megabytes, enough):
    """The system gives the process no more; 1 MB is too little."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path, str(megabytes)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == enough, done.stderr[-2000:]
    if enough:
        assert done.stdout == "19900\n"


def test_a_corpus_that_cannot_fit_is_refused_while_it_is_read(tmp_path):
    """A hundred new words a document: the dictionary would pass the bound."""

    def corpus():
        for number in range(100_000):
            read.append(number)
            yield Passage(f"d{number}", " ".join(f"w{number * 100 + k}" for k in range(100)))

    read = []
    with pytest.raises(InputError, match="give it more memory, or make several indexes") as caught:
        index_corpus(corpus(), tmp_path / "i", encoder=None, memory_bytes=used_bytes() + (9 << 20))
    assert len(read) < 3000
    assert "MiB, found that the first" in str(caught.value)
    assert not (tmp_path / "i").exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GiB", 2 << 30),
        ("500M", 500 << 20),
        ("1.5 kb".replace(" ", ""), 1536),
        ("4096", 4096),
        ("1tb", 1 << 40),
    ],
)
def test_sizes_are_read(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1G", "0", "two", "1X", "1e999G"])
def test_faulty_sizes_are_refused(text):
    with pytest.raises(InputError, match="expected a size such as 2GiB"):
        parse_bytes(text)


def test_the_memory_of_this_process_is_known():
    held = bytearray(64 << 20)
    assert len(held) < used_bytes() < 1.01 * most_used_bytes()


def test_the_most_used_is_this_program_s_alone():
    """A small program that a large one starts is small."""
    held = bytearray(os.urandom(1 << 20)) * 400
    script = "from tamis.index.files.system import most_used_bytes; print(most_used_bytes())"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert 1 << 20 < int(done.stdout) < len(held) // 2
