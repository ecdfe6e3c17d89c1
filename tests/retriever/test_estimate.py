"""What indexing will take: the encoder's share is the same for each document."""

import time

import pytest
from letter_encoder import LetterEncoder

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
    assert 20 < found.encoded_per_s <= 100
    assert found.time_s > 5000 / found.encoded_per_s
    assert found.time_s == pytest.approx(5000 / found.encoded_per_s, rel=0.5)


def test_words_alone_have_no_encoding():
    assert estimate(corpus(40), encoder=None, sample=20).encoded_per_s == 0
