"""Random operations with restarts, against a plain dictionary."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from storages import Quick
from workload import (
    Forgetting,
    FromBytes,
    check_consistent,
    create,
    held,
    put,
    record,
    stop,
    vectors_of,
)

from tamis.index import Collection, CollectionWriter, InputError

SHARES = 40  # of the long form, for as many processes
IDS = st.sampled_from([f"d{number}" for number in range(12)])


class Living(RuleBasedStateMachine):
    """`truth` is what the collection must hold, `seen` what readers must find."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "c"
        create(self.path)
        self.truth, self.seen, self.version = {}, {}, 0
        self.writer = self.opened()
        self.reader = Collection.open(self.path)
        self.pinned = {}

    def opened(self):
        """Half of the writers gather small segments, a third build them of requests' bytes."""
        options = {
            "gather": self.version % 2 == 1,
            "builder": FromBytes() if self.version % 3 == 1 else None,
        }
        return CollectionWriter.open(self.path, merge=False, storage=Quick(self.path), **options)

    @rule(ids=st.lists(IDS, min_size=1, max_size=5))
    def put(self, ids):
        self.version += 1
        put(self.writer, [(doc_id, self.version) for doc_id in ids])
        self.truth.update(dict.fromkeys(ids, self.version))

    @rule(ids=st.lists(IDS, min_size=1, max_size=3))
    def add(self, ids):
        self.version += 1
        documents = [(doc_id, self.version) for doc_id in ids]
        vectors = vectors_of(self.writer, documents)
        try:
            self.writer.add([record(*document) for document in documents], vectors)
        except InputError:
            assert len(set(ids)) < len(ids) or self.truth.keys() & set(ids)
        else:
            assert len(set(ids)) == len(ids)
            assert not self.truth.keys() & set(ids)
            self.truth.update(dict.fromkeys(ids, self.version))

    @rule(ids=st.lists(IDS, max_size=4))
    def delete(self, ids):
        assert self.writer.delete(ids) == len(self.truth.keys() & set(ids))
        for doc_id in ids:
            self.truth.pop(doc_id, None)

    @rule(doc_id=IDS)
    def ask(self, doc_id):
        assert self.writer.has(doc_id) == (doc_id in self.truth)

    @rule()
    def commit(self):
        self.writer.commit()
        self.seen = dict(self.truth)

    @rule(last=st.integers(0, 30))
    def delete_where(self, last):
        """The documents of the first versions."""
        gone = {doc_id for doc_id, version in self.truth.items() if version <= last}
        self.seen = dict(self.truth)
        where = {"field": "version", "range": {"lte": last}}
        assert self.writer.delete_where(where) == len(gone)
        for doc_id in gone:
            del self.truth[doc_id]

    @rule()
    def merge(self):
        self.writer.merge()

    @rule()
    def optimize(self):
        self.writer.optimize()
        self.seen = dict(self.truth)
        assert len(self.writer.index.parts) <= 1

    @rule()
    def rewrite(self):
        self.writer.rewrite(Forgetting())
        self.seen = dict(self.truth)
        assert len(self.writer.index.parts) <= 1

    @rule()
    def close_and_open(self):
        self.writer.close()
        self.seen = dict(self.truth)
        self.writer = self.opened()

    @rule()
    def stop_and_open(self):
        """The process ends between two writes; what is in the log stays there."""
        stop(self.writer)
        self.writer = self.opened()

    @rule()
    def refresh(self):
        newer = self.reader.refresh()
        if newer is not self.reader:
            self.reader.close()
        self.reader = newer
        assert held(newer) == self.seen
        self.pinned = dict(self.seen)

    @rule()
    def search(self):
        self.refresh()
        check_consistent(self.reader, queries=1)

    @precondition(lambda self: self.pinned)
    @rule()
    def read_on(self):
        """An open reader still finds the generation it opened."""
        assert held(self.reader) == self.pinned

    def teardown(self):
        self.reader.close()
        self.writer.close()
        with Collection.open(self.path) as collection:
            assert held(collection) == self.truth
        self.folder.cleanup()


def run(examples, steps, number=0):
    """Runs of ``steps`` operations each; another ``number`` draws others."""
    run_state_machine_as_test(
        seed(number)(Living),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.long
def test_five_thousand_operations():
    run(50, 100)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, SHARES + 1))
def test_a_million_operations(number, proof):
    operations = int(os.environ.get("TAMIS_OPERATIONS", "1000000")) // SHARES
    run(operations // 200, 200, number)
    proof("model", operations=operations, differences=0)
