"""Records by number: whole for every thread, and unpacked with little memory."""

import random
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
import zstandard

from tamis.index.files.storage import Storage
from tamis.index.segment.documents import (
    KEPT,
    LEAST_BYTES,
    Documents,
    DocumentWriter,
    encode_record,
)

RECORDS = [{"_id": str(n), "text": f"owl {n} " * (n % 97)} for n in range(311)]
MANY = [{**record, "_id": f"{turn}-{record['_id']}"} for turn in range(11) for record in RECORDS]


def written(path, records):
    storage = Storage(path)
    storage.make_folder()
    with DocumentWriter(storage, ".") as writer:
        for record in records:
            writer.append_encoded(orjson.dumps(record))
    return Documents(storage, ".", writer.entries)


@pytest.fixture
def made(monkeypatch):
    found, make = [], zstandard.ZstdDecompressor
    monkeypatch.setattr(
        zstandard, "ZstdDecompressor", lambda **options: found.append(1) or make(**options)
    )
    return found


def read_on_new_threads(documents, times):
    for turn in range(times):
        with ThreadPoolExecutor(1) as thread:
            yield thread.submit(documents.__getitem__, turn).result()


@pytest.mark.parametrize("records", [RECORDS, MANY])
def test_threads_that_read_at_once_get_whole_records(tmp_path, records):
    documents = written(tmp_path, records)
    picked = random.Random(0).choices(range(len(records)), k=6007)
    with ThreadPoolExecutor(7) as threads:
        found = list(threads.map(documents.__getitem__, picked))
    assert found == [records[doc] for doc in picked]


def test_a_dictionary_is_stored_where_records_outweigh_it(tmp_path):
    assert len(orjson.dumps(RECORDS)) < LEAST_BYTES < len(orjson.dumps(MANY))
    written(tmp_path / "few", RECORDS)
    written(tmp_path / "many", MANY)
    assert (tmp_path / "few/documents.dictionary").stat().st_size == 0
    assert 0 < (tmp_path / "many/documents.dictionary").stat().st_size < LEAST_BYTES / 10


def test_threads_that_read_in_turn_share_a_decompressor(tmp_path, made):
    assert list(read_on_new_threads(written(tmp_path, MANY), 5)) == MANY[:5]
    assert len(made) == 1


def test_small_segments_share_a_decompressor(tmp_path, made):
    for segment in range(5):
        documents = written(tmp_path / str(segment), RECORDS[segment:])
        assert list(read_on_new_threads(documents, 2)) == RECORDS[segment : segment + 2]
    assert len(made) <= 1  # none where others have left one


def test_threads_that_read_at_once_leave_few_decompressors(tmp_path, monkeypatch):
    documents, made, together = written(tmp_path, MANY), [], threading.Barrier(7)

    class Slow:
        def __init__(self, make=zstandard.ZstdDecompressor, **options):
            self.inner = make(**options)
            made.append(weakref.ref(self))

        def decompress(self, frame):
            together.wait(timeout=20)
            return self.inner.decompress(frame)

    monkeypatch.setattr(zstandard, "ZstdDecompressor", Slow)
    with ThreadPoolExecutor(7) as threads:
        assert list(threads.map(documents.__getitem__, range(7))) == MANY[:7]
    assert len(made) == 7
    assert sum(one() is not None for one in made) == KEPT


MANY_SHORT = """
from pathlib import Path
from tamis.index.segment.documents import encode_record

def own_kb():
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])

before = own_kb()
kept = [encode_record({"_id": str(n), "text": "owl " * 20}) for n in range(20_000)]
print((own_kb() - before) * 1024 // len(kept))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell of memory otherwise")
def test_short_records_that_wait_in_memory_take_little_more_than_their_bytes():
    done = subprocess.run(
        [sys.executable, "-c", MANY_SHORT], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 2 * len(encode_record({"_id": "19999", "text": "owl " * 20}))
