"""What indexing will take: the encoder's share is the same for each document."""

import time

import pytest
from letter_encoder import LetterEncoder

from tamis.index import InputError
from tamis.retriever import Passage
from tamis.retriever.estimate import estimate


class SlowEncoder(LetterEncoder):
    def encode_documents(self, texts, *, progress=None):
        time.sleep(0.01 * len(texts))
        return super().encode_documents(texts, progress=progress)


def corpus(size):
    return (Passage(f"d{i}", f"passage {i} about cats and dogs") for i in range(size))


def test_encoding_counts_the_same_for_each_document():
    found = estimate(corpus(5000), encoder=SlowEncoder(), sample=256)
    assert found.sampled == 256
    assert 0 < found.encoded_per_s <= 100  # as it sleeps so long, however busy the machine is
    assert 1 < found.time_s / (5000 / found.encoded_per_s) < 3


def test_words_alone_have_no_encoding():
    assert estimate(corpus(40), encoder=None, sample=20).encoded_per_s == 0


def test_a_corpus_that_is_yet_to_come_is_reckoned_from_a_part_of_it():
    part = estimate(corpus(2000), encoder=SlowEncoder(), sample=256)
    ten = estimate(corpus(2000), encoder=SlowEncoder(), sample=256, documents=20_000)
    assert ten.documents == 20_000
    assert ten.build_disk_bytes == pytest.approx(10 * part.build_disk_bytes, rel=1e-3)
    assert ten.time_s > 20_000 / ten.encoded_per_s
    with pytest.raises(InputError, match="at least the 2,000 documents of the corpus, found 1,999"):
        estimate(corpus(2000), encoder=None, documents=1999)


def test_workers_share_the_encoding_and_not_the_joining():
    found = estimate(corpus(2000), encoder=SlowEncoder(), sample=256, documents=40_000, workers=4)
    assert 10_000 / found.encoded_per_s < found.piece_time_s < 0.5 * found.time_s
    assert 0 < found.joining_time_s < 1
    assert found.piece_memory_bytes < found.memory_bytes
