"""A tiny BEIR folder that tests bend into every shape."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = (
    {"_id": "d1", "title": "Sieve", "text": "A tamis is a drum sieve used in cooking."},
    {"_id": "d2", "title": "", "text": "Flour is sifted through a fine sieve."},
    {"_id": "d3", "title": "Drum", "text": "A drum is struck with sticks or hands."},
    {"_id": "d4", "title": "", "text": ""},
)
QUERIES = ({"_id": "q1", "text": "drum sieve"}, {"_id": "q2", "text": "sifting flour"})
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td3\t1\nq2\td2\t1\n"


def write_jsonl(path: Path, rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "sieves"
    (folder / "qrels").mkdir(parents=True)
    write_jsonl(folder / "corpus.jsonl", DOCUMENTS)
    write_jsonl(folder / "queries.jsonl", (*QUERIES, {"_id": "q3", "text": "not judged"}))
    (folder / "qrels" / "test.tsv").write_text(QRELS, encoding="utf-8")
    return folder
