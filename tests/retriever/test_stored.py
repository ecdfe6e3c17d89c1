"""A stored document is a mapping of its fields, and keeps the JSON it was stored as."""

import json

from tamis.retriever.stored import StoredDocument


def test_it_is_a_mapping_of_its_fields():
    record = {"_id": "a", "title": "", "tags": [1, {"x": None}]}
    stored = StoredDocument(json.dumps(record).encode())
    assert stored == record
    assert dict(stored) == record
    assert (len(stored), list(stored), stored.get("none", 3)) == (3, list(record), 3)
    assert {**stored, "more": 1}["tags"] == record["tags"]
    assert repr(stored) == repr(record)
    assert json.loads(stored.json) == record
