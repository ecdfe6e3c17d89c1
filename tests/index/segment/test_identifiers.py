"""Ids to document numbers, one by one and many at once."""

import numpy as np

from tamis.index.segment.identifiers import Identifiers, hashes_of

IDS = [f"d{number}" for number in range(0, 301, 3)] + ["ü", "鳥", "d1 "]


def test_an_id_leads_to_its_number():
    found = Identifiers.of(IDS)
    assert [found.doc(doc_id) for doc_id in IDS] == list(range(len(IDS)))
    assert [found.doc(doc_id) for doc_id in ("d1", "d", "D3", "d3 ")] == [None] * 4


def test_what_cannot_be_there_is_told_by_hashes_alone():
    asked = [f"d{number}" for number in range(400)] + ["ü", "u", "鳥"]
    maybe = Identifiers.of(IDS).may_hold(hashes_of(asked))
    assert np.flatnonzero(maybe).tolist() == [
        place for place, doc_id in enumerate(asked) if doc_id in IDS
    ]
    assert not Identifiers.of([]).may_hold(hashes_of(asked)).any()
    assert Identifiers.of(IDS).may_hold(hashes_of([])).size == 0
