"""Values of stored documents become others: against a dictionary, whatever happens."""

import json
import random

import numpy as np
import pytest
from plain_filters import SCHEMA, admits, documents, expression
from vectors_of import random_vectors

from tamis.index import Collection, CollectionWriter, InputError
from tamis.index.generations.parts import Origin
from tamis.index.generations.settings import CollectionSettings
from tamis.index.upkeep.snapshot import restore, write_snapshot
from tamis.index.writing.creation import create_collection
from tamis.index.writing.patching import patched, rewrites
from tamis.index.writing.pending import Present

ROWS, TERMS = 60, 31
VECTORS = random_vectors(ROWS, TERMS, seed=2)
RECORDS = documents(ROWS)
STEPS = ["put", "put", "patch", "patch", "patch", "delete", "commit", "merge", "stop"]
MAKER = {"name": "x", "city": "y"}


def create(path, columns=SCHEMA):
    create_collection(path, vocab_size=TERMS, settings=CollectionSettings(columns=columns))
    return CollectionWriter.open(path, merge=False)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"price": 2}, {"_id": "a", "price": 2, "maker": MAKER}),
        ({"price": None, "maker": None}, {"_id": "a"}),
        ({"absent": None}, {"_id": "a", "price": 1, "maker": MAKER}),
        ({"maker": {"city": None, "zip": 1}, "price": 2},
         {"_id": "a", "price": 2, "maker": {"name": "x", "zip": 1}}),
        ({"maker.city": "z"}, {"_id": "a", "price": 1, "maker": {"name": "x", "city": "z"}}),
        ({"maker.city": None}, {"_id": "a", "price": 1, "maker": {"name": "x"}}),
        ({"a.b": 1, "maker": 3}, {"_id": "a", "price": 1, "maker": 3, "a.b": 1}),
        ({"price": {"eur": 1, "usd": None}}, {"_id": "a", "price": {"eur": 1}, "maker": MAKER}),
        ({"_id": "a", "price": [1]}, {"_id": "a", "price": [1], "maker": MAKER}),
    ],
)  # fmt: skip
def test_a_change_is_a_merge_patch(change, expected):
    record = {"_id": "a", "price": 1, "maker": MAKER}
    before = json.dumps(record)
    assert patched(record, change) == expected
    assert json.dumps(record) == before
    with pytest.raises(InputError, match="expected no _id but 'a', found 'b'"):
        patched(record, {"_id": "b"})


def check(path, state):
    """What a folder holds is what the dictionary says: records, vectors, origins and filters."""
    with Collection.open(path) as collection:
        index = collection.index
        found = {}
        for doc in index.live_docs().tolist():
            part, at = index.locate(doc)
            terms, weights = index.row(doc)
            vector = dict(zip(terms.tolist(), weights.tolist(), strict=True))
            found[index.doc_id(doc)] = collection.document(doc), vector, int(part.origins()[at])
        assert found == state
        rng = random.Random(len(state))
        for _ in range(5):
            wanted = expression(rng)
            admitted = [part.allowed(wanted, index.columns) for part in index.parts]
            docs = np.flatnonzero(np.concatenate([np.zeros(0, np.bool_), *admitted]))
            held = {doc_id for doc_id, (record, *_) in state.items() if admits(wanted, record)}
            assert {index.doc_id(doc) for doc in docs.tolist()} == held


@pytest.mark.parametrize("seed", [1, 2])
def test_changes_hold_through_writes_commits_merges_and_stops(tmp_path, seed):
    rng = random.Random(seed)
    writer, state = create(tmp_path / "c"), {}
    for _ in range(60):
        step = rng.choice(STEPS)
        if step == "put":
            rows = rng.sample(range(ROWS), 4)
            given = rng.random() < 0.5
            vectors = VECTORS.take(np.array(rows))
            writer.wait(writer.stage([RECORDS[row] for row in rows], vectors, given=given), "none")
            origin = Origin.GIVEN if given else Origin.TEXT
            for row, vector in zip(rows, vectors.to_dicts(), strict=True):
                state[f"d{row}"] = RECORDS[row], vector, int(origin)
        elif step == "patch":
            ids = [f"d{row}" for row in rng.sample(range(ROWS), 5)]
            source = RECORDS[rng.randrange(ROWS)]
            change = {name: source.get(name) for name in ("brand", "price", "tags")}
            missing = writer.patch(dict.fromkeys(ids, change), wait="none")
            assert missing == [doc_id for doc_id in ids if doc_id not in state]
            for doc_id in set(ids) & set(state):
                record, *rest = state[doc_id]
                set_to = {name: value for name, value in change.items() if value is not None}
                kept = {name: value for name, value in record.items() if name not in change}
                state[doc_id] = kept | set_to, *rest
        elif step == "delete":
            gone = rng.choice(list(state) or ["none"])
            writer.delete([gone], wait="none")
            state.pop(gone, None)
        elif step == "stop":
            writer.abandon()
            writer = CollectionWriter.open(tmp_path / "c", merge=False)
        elif step == "merge":
            writer.optimize()
        else:
            writer.commit()
    writer.close()
    check(tmp_path / "c", state)


def test_a_change_that_cannot_be_changes_nothing(tmp_path):
    with create(tmp_path / "c") as writer:
        writer.put(RECORDS[:3], VECTORS.rows(0, 3))
        with pytest.raises(InputError, match=r"expected a whole number .* for field 'year'"):
            writer.patch({"d0": {"brand": "new"}, "d1": {"year": "soon"}})
        assert writer.patch({"d9": {"brand": "new"}}) == ["d9"]
    with Collection.open(tmp_path / "c") as collection:
        assert [collection.document(doc) for doc in range(3)] == RECORDS[:3]


def test_a_document_whose_vector_is_to_come_is_refused():
    present = {"d0": Present(json.dumps(RECORDS[0]).encode(), VECTORS.rows(0, 1), Origin.WORDS)}
    with pytest.raises(InputError, match="found 'd0', whose learned vector is still to come"):
        list(rewrites(present, {"d0": {"price": 1}}, TERMS, SCHEMA))


def test_fields_are_declared_later_and_read_from_what_is_stored(tmp_path):
    path, columns = tmp_path / "c", dict(list(SCHEMA.items())[:2])
    with create(path, columns) as writer:
        writer.put(RECORDS[:20], VECTORS.rows(0, 20), wait="searchable")
        writer.delete(["d3"])
        writer.put(RECORDS[20:40], VECTORS.rows(20, 40), wait="searchable")
        old = Collection.open(path)
        writer.add_columns(SCHEMA)
        writer.put(RECORDS[40:], VECTORS.rows(40, ROWS), wait="searchable")
        with pytest.raises(InputError, match="'year' as it is declared, integer, found float"):
            writer.add_columns({"year": "float"})
        with pytest.raises(InputError, match=r"expected a whole number .* in document 'd0'"):
            writer.add_columns({"_id": "integer"})
    origin = int(Origin.GIVEN)
    vectors = VECTORS.to_dicts()
    state = {f"d{row}": (RECORDS[row], vectors[row], origin) for row in range(ROWS) if row != 3}
    check(path, state)
    write_snapshot(path, tmp_path / "kept")
    restore(tmp_path / "kept", tmp_path / "again")
    check(tmp_path / "again", state)
    assert old.index.columns == columns  # readers stay with their generation
    old.refresh().close()
    with CollectionWriter.open(path) as writer:
        writer.optimize()
    check(path, state)


def test_a_reader_follows_a_declaration(tmp_path):
    path = tmp_path / "c"
    with create(path, {"brand": "string"}) as writer:
        writer.put(RECORDS[:5], VECTORS.rows(0, 5), wait="searchable")
        reader = Collection.open(path)
        wanted = {"field": "year", "exists": True}
        with pytest.raises(InputError, match="expected a declared field"):
            reader.index.search(VECTORS, where=wanted)
        writer.add_columns({"year": "integer"})
        (part,) = reader.refresh().index.parts
        assert part.allowed(wanted, {"brand": "string", "year": "integer"}).tolist() == [
            "year" in record for record in RECORDS[:5]
        ]
