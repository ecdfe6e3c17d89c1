"""Records by number: whole for every thread, and unpacked with little memory."""

import random
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
import zstandard

from tamis.index.documents import Documents, DocumentWriter
from tamis.index.storage import Storage

RECORDS = [{"_id": str(n), "text": f"owl {n} " * (n % 97)} for n in range(311)]


@pytest.fixture
def documents(tmp_path):
    storage = Storage(tmp_path)
    with DocumentWriter(storage, ".") as writer:
        for record in RECORDS:
            writer.append_encoded(orjson.dumps(record))
    return Documents(storage, ".", writer.entries)


def test_threads_that_read_in_turn_share_what_unpacks_records(documents, monkeypatch):
    made, make = [], zstandard.ZstdDecompressor
    monkeypatch.setattr(
        zstandard, "ZstdDecompressor", lambda **options: made.append(1) or make(**options)
    )
    for turn in range(5):
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(documents.__getitem__, turn).result() == RECORDS[turn]
    assert len(made) == 1


def test_threads_that_read_at_once_get_whole_records(documents):
    picked = random.Random(0).choices(range(len(RECORDS)), k=6007)
    with ThreadPoolExecutor(7) as threads:
        found = list(threads.map(documents.__getitem__, picked))
    assert found == [RECORDS[doc] for doc in picked]
