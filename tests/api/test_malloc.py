"""Memory that is free again goes back to the system."""

import subprocess
import sys

import pytest

HOLES = """
from pathlib import Path
from tamis.api import malloc

def own_kb():
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])

kept = [bytes(100_000) for _ in range(1000)]
del kept[:-1]  # the last one holds the heap's end
kept.append(bytes(100_000))
before = own_kb()
malloc.give_back()
print(before - own_kb())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries keep no such heaps")
def test_free_pages_go_back_though_the_end_of_the_heap_is_in_use():
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50_000
