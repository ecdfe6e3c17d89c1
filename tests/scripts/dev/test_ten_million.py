"""The synthetic corpus is the same each time, and its words follow Zipf's law."""

import json
from collections import Counter

import ten_million


def test_documents_are_the_same_each_time_and_words_fall_by_rank(tmp_path, monkeypatch):
    monkeypatch.setattr(ten_million, "BLOCK", 300)
    for name, at_once in (("one", 1), ("again", 2)):
        ten_million.write_corpus(tmp_path / name, 1000, at_once)
    text = (tmp_path / "one").read_text()
    assert text == (tmp_path / "again").read_text()
    documents = [json.loads(line) for line in text.splitlines()]
    assert [one["_id"] for one in documents] == [f"d{number}" for number in range(1000)]
    counts = Counter(word for one in documents for word in one["text"].split())
    assert sum(counts.values()) == 1000 * ten_million.LENGTH
    assert 1.7 < counts["w0"] / counts["w1"] < 2.3  # ranks 1 and 2
    assert 7 < counts["w0"] / counts["w9"] < 13
