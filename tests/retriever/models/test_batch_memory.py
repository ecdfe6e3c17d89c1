"""Batches under way at once are as many as memory allows."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tamis.index.errors import InputError
from tamis.index.files.system import used_bytes
from tamis.retriever.models import tokenizer as tokenizers
from tamis.retriever.models.batch_memory import lanes_within
from tamis.retriever.models.description import read_checkpoint

MODEL = SimpleNamespace(lanes=4, held_bytes=100 << 20, lane_bytes=50 << 20)

# Eight threads want eight batches at once. The system refuses half as much again as the limit: it
# counts room that is only set aside, too.
LIMITED = """
import json, resource, sys, threading
threading.stack_size(1 << 20)  # the limit counts the room that stacks might take
import torch
torch.set_num_threads(8)
from tamis.index.files.system import most_used_bytes, used_bytes
from tamis.retriever import Passage, index_corpus, load_encoder

folder, limit = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (limit * 3 // 2,) * 2)
encoder = load_encoder(memory_bytes=limit)
passages = [Passage(str(n), f"the house {n} of the harbour " * (n % 60)) for n in range(300)]
made = index_corpus(passages, folder, encoder=encoder, memory_bytes=limit)
print(json.dumps([len(made), encoder._documents.lanes, most_used_bytes()]))
"""


@pytest.mark.parametrize(("room_mib", "lanes"), [(151, 1), (199, 1), (210, 2), (1000, 4)])
def test_lanes_are_what_fits(room_mib, lanes):
    assert lanes_within(used_bytes() + (room_mib << 20) + (1 << 19), MODEL) == lanes


def test_no_bound_and_no_memory_of_this_machine_leave_all_lanes():
    assert lanes_within(None, MODEL) == 4
    assert lanes_within(1, SimpleNamespace(lanes=2, held_bytes=0, lane_bytes=0)) == 2


def test_no_room_for_one_batch_is_refused():
    with pytest.raises(InputError, match=r"expected an encoder within .* give it more memory"):
        lanes_within(used_bytes() + (120 << 20), MODEL)


@pytest.mark.long
def test_a_process_of_little_memory_indexes_within_it(tmp_path):
    limit = 800 << 20
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "index"), str(limit)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MALLOC_ARENA_MAX": "4"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    documents, lanes, most = json.loads(done.stdout)
    assert documents == 300
    assert lanes < 8
    assert most < limit


def test_texts_are_tokenised_some_at_a_time(monkeypatch):
    monkeypatch.setattr(tokenizers, "CHARACTERS", 20)
    texts = ["a house", "", "b" * 50, "the harbour of the city", "c", "d"]
    assert list(tokenizers._by_length(texts)) == [
        ["a house", ""],
        ["b" * 50],
        ["the harbour of the city"],
        ["c", "d"],
    ]
    tokenizer = read_checkpoint("default").document.tokenizer()
    one_by_one = [tokenizer.document_ids([text])[0] for text in texts]
    assert tokenizer.document_ids(texts) == one_by_one
    assert tokenizer.count_ids(texts) == list(map(len, one_by_one))
