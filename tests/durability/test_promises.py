"""Single promises of a living collection, each by itself."""

import shutil
import subprocess
import sys
import threading
import time

import checks
import numpy as np
import pytest
from storages import Quick
from workload import (
    LEARNED,
    NO_WORDS,
    SETTINGS,
    check_consistent,
    create,
    entries,
    held,
    put,
    record,
    vectors_of,
)

from tamis.index import (
    Collection,
    CollectionWriter,
    IndexConfig,
    InputError,
    MismatchError,
    SparseVectors,
)
from tamis.index.files.storage import Storage
from tamis.index.generations.settings import CollectionSettings
from tamis.index.writing.build_process import BuildProcess
from tamis.index.writing.creation import create_collection


@pytest.mark.parametrize(
    "name",
    ["pins", "lock", "merge_under_changes", "held", "rewrite", "order", "words", "group_commit"],
)
def test_promise(tmp_path, name):
    getattr(checks, f"check_{name}")(tmp_path / "c")


def test_a_write_is_found_when_its_wait_says_so(tmp_path):
    create(tmp_path / "c")
    with checks.opened(tmp_path / "c") as writer:
        put(writer, [("a", 1)], wait="durable")
        assert writer.has("a")
        assert len(Collection.open(tmp_path / "c")) == 0
        put(writer, [("b", 2)], wait="searchable")
        with Collection.open(tmp_path / "c") as collection:
            assert held(collection) == {"a": 1, "b": 2}


def test_a_write_happens_as_a_whole_or_not_at_all(tmp_path):
    create(tmp_path / "c")
    with checks.opened(tmp_path / "c") as writer:
        vectors = vectors_of(writer, [("a", 1), ("b", 2)])
        with pytest.raises(InputError, match="expected a document with a string _id, found 7"):
            writer.put([record("a", 1), {"_id": 7}], vectors)
        with pytest.raises(InputError, match="expected one vector a document, found 1 documents"):
            writer.put([record("a", 1)], vectors)
        with pytest.raises(InputError, match="that JSON can hold"):
            writer.put([record("a", 1), {"_id": "b", "x": object()}], vectors)
        with pytest.raises(InputError, match="version"):
            writer.put([{"_id": "a", "version": "one"}], vectors.rows(0, 1))
        with pytest.raises(MismatchError, match="expected vectors over at most 27 terms"):
            writer.put([record("a", 1)], SparseVectors.empty(28, 1))
        with pytest.raises(InputError, match="expected wait to be none, durable, searchable"):
            writer.put([record("a", 1)], vectors.rows(0, 1), wait="soon")
        assert not writer.has("a")
        writer.add([record("b", 2)], vectors.rows(1, 2))
        with pytest.raises(InputError, match="found 'b', which is there already; use `put`"):
            writer.add([record("c", 1), record("b", 1)], vectors)
        assert not writer.has("c")


def test_small_writes_are_gathered_in_one_segment_until_it_is_large(tmp_path):
    """Replaced, deleted and new documents; at 129 a second segment is begun."""
    create(tmp_path / "c")
    truth = {}
    with checks.opened(tmp_path / "c", gather=True) as writer:
        for number in range(60):
            documents = [(f"d{number}", number), (f"d{number // 2}", number + 100)]
            put(writer, documents, wait="searchable")
            truth |= dict(documents)
            if number % 7 == 6:
                writer.delete([f"d{number}"], wait="searchable")
                del truth[f"d{number}"]
            assert len(writer.index.parts) == 1
        with Collection.open(tmp_path / "c") as collection:
            assert held(collection) == truth
            check_consistent(collection)
        more = [(f"e{number}", number) for number in range(129 - len(truth))]
        put(writer, more, wait="searchable")
        assert [part.live_docs.size for part in writer.index.parts] == [len(truth), len(more)]
        put(writer, [("f", 1)], wait="searchable")
        assert [part.live_docs.size for part in writer.index.parts][1] == len(more) + 1
    with Collection.open(tmp_path / "c") as collection:
        assert held(collection) == {**truth, **dict(more), "f": 1}
        check_consistent(collection)


def test_rounded_weights_are_not_written_again_with_every_commit(tmp_path):
    config = IndexConfig("u8")
    create_collection(
        tmp_path / "c",
        vocab_size=LEARNED,
        settings=SETTINGS,
        dictionary=NO_WORDS,
        config=config,
    )
    with checks.opened(tmp_path / "c", gather=True) as writer:
        for number in range(3):
            put(writer, [(f"d{number}", number)], wait="searchable")
        assert len(writer.index.parts) == 3


def test_segments_of_few_terms_number_their_own(tmp_path):
    """A small write over a large vocabulary costs what it holds, not what there could be."""
    create(tmp_path / "c")
    with checks.opened(tmp_path / "c") as writer:
        with writer.words_held():
            writer.dictionary.add([f"extra{number}" for number in range(50_000)])
        put(writer, [(f"a{number}", number) for number in range(40)], wait="searchable")
        (part,) = writer.index.parts
        assert part.entry.compact
        assert sum(entry.size_bytes for entry in part.stored.files.values()) < 20_000
    with Collection.open(tmp_path / "c") as collection:
        check_consistent(collection)


WRITTEN = 8  # documents of each generation


def switch_under_load(path, switches, builder=None, *, each=WRITTEN, pause_s=0.0, seconds=0.0):
    """Generations change while two threads search; (failed searches, latencies in s, merges).

    Each generation writes ``each`` documents and is followed by a pause; ``seconds`` without
    generations come at the end.
    """
    documents = 300
    create(path)
    writer = CollectionWriter.open(path, storage=Quick(path), builder=builder)
    put(writer, [(f"d{number}", number) for number in range(documents)], wait="searchable")
    current, failures, took_s, ended = [Collection.open(path)], [], [], threading.Event()

    def search():
        number = 0
        while not ended.is_set():
            number += 1
            collection, began = current[0], time.perf_counter()
            learned, _ = entries(f"d{number % documents}", number % documents)
            query = SparseVectors.from_dicts([learned], collection.index.vocab_size)
            top = collection.index.search(query, 5, exact=True)
            ids = [collection.document(doc)["_id"] for doc in top.docs[0].tolist() if doc >= 0]
            took_s.append(time.perf_counter() - began)
            if len(ids) != 5 or len(set(ids)) != 5:
                failures.append(ids)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for version in range(switches):
        ids = [f"d{(version * each + row) % documents}" for row in range(each)]
        put(writer, [(doc_id, version + 1000) for doc_id in ids], wait="searchable")
        current[0] = current[0].refresh(known=writer.index)
        time.sleep(pause_s)
    time.sleep(seconds)
    ended.set()
    for thread in threads:
        thread.join()
    writer.close()
    merges = current[0].generation + 1 - switches
    return failures, took_s, merges


def test_ten_switches_under_load_fail_no_search(tmp_path):
    failures, took_s, _ = switch_under_load(tmp_path / "c", 10)
    assert not failures
    assert len(took_s) > 10


@pytest.mark.slow
def test_a_hundred_switches_under_load_fail_no_search(tmp_path, proof):
    with BuildProcess() as builder:
        assert builder.start(60)
        switch_under_load(tmp_path / "first", 3, builder)  # all is loaded now
        forms = [{"each": each, "pause_s": pause} for pause in (0.25, 0.0) for each in (1, WRITTEN)]
        for number, form in enumerate(forms):
            _, steady_s, _ = switch_under_load(tmp_path / f"s{number}", 0, builder, seconds=4.0)
            failures, took_s, merges = switch_under_load(
                tmp_path / f"{number}", 100, builder, **form
            )
            assert not failures
            assert merges > 5 or form["each"] == 1
            slow, steady = (1000 * float(np.quantile(all_s, 0.99)) for all_s in (took_s, steady_s))
            found = {"p99_ms": slow, "steady_p99_ms": steady, "p99_ratio": slow / steady}
            name = f"switches of {form['each']} documents, {form['pause_s']} s apart"
            proof(name, switches=100, merges=merges, searches=len(took_s), **found)


def test_a_refresh_opens_words_again_only_when_there_are_more(tmp_path, monkeypatch):
    create(tmp_path / "c")
    opened, mapped = [], Storage.mapped

    def noting(storage, name, entry):
        opened.append(name)
        return mapped(storage, name, entry)

    with checks.opened(tmp_path / "c") as writer:
        put(writer, [("a", 1), ("b", 2)], wait="searchable")
        collection = Collection.open(tmp_path / "c")
        monkeypatch.setattr(Storage, "mapped", noting)
        for documents, again in (([("a", 2)], False), ([("a", 2), ("c", 3)], True), ([], False)):
            writer.delete(["b"], wait="none")
            put(writer, documents, wait="searchable")
            opened.clear()
            collection = collection.refresh(known=writer.index)
            assert any(name.startswith("dictionary/") for name in opened)
            assert any(name.endswith(".text") and "dict" in name for name in opened) == again
            check_consistent(collection)
            put(writer, [("b", 2)], wait="searchable")
            collection = collection.refresh(known=writer.index)


MERGE_IN_LITTLE_MEMORY = """
import resource, sys, threading
threading.stack_size(1 << 18)  # the limit counts the room that stacks might take
from tamis.index import CollectionWriter

def merge(path):
    with CollectionWriter.open(path, merge=False) as writer:
        writer.optimize()
        assert len(writer.index.parts) == 1

merge(sys.argv[1])  # loads the compiled loops
used_bytes = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used_bytes + (int(sys.argv[3]) << 20),) * 2)
merge(sys.argv[2])
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """18,400 documents of 100 terms and 1 KB, 33 MB in memory, in four segments.

    That is too few to calibrate, which would compile further loops.
    """
    path, rng, rows, terms = tmp_path_factory.mktemp("large"), np.random.default_rng(0), 4600, 100
    for name, count in (("large", rows), ("small", 50)):
        create_collection(
            path / name, vocab_size=5000, settings=CollectionSettings(), storage=Quick(path / name)
        )
        with checks.opened(path / name) as writer:
            for first in range(0, 4 * count, count):
                picked = np.sort(rng.integers(0, 5000 - terms, (count, terms)), axis=1)
                vectors = SparseVectors(
                    np.arange(count + 1) * terms,
                    (picked + np.arange(terms)).ravel().astype(np.int32),
                    rng.random(count * terms, np.float32) + 0.1,
                    5000,
                )
                text = rng.bytes(500).hex()
                records = [{"_id": f"d{first + row}", "text": text} for row in range(count)]
                writer.put(records, vectors, wait="searchable")
    return path


@pytest.mark.parametrize(("megabytes", "enough"), [(24, True), (1, False)])
@pytest.mark.long
def test_a_merge_needs_little_memory(large, tmp_path, megabytes, enough, proof):
    """The data segment may grow by less than the documents take; with 1 MB it cannot be done."""
    path = shutil.copytree(large, tmp_path / "copy")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            MERGE_IN_LITTLE_MEMORY,
            path / "small",
            path / "large",
            str(megabytes),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == enough, done.stderr[-2000:]
    with Collection.open(path / "large") as collection:
        assert len(collection) == 18_400
    if enough:
        proof("merge in limited memory", documents=18_400, limit_bytes=megabytes << 20)


@pytest.mark.parametrize(("precision", "error"), [("u16", 1 / 60_000), ("u8", 1 / 200)])
def test_rounded_weights_score_within_their_rounding(tmp_path, precision, error):
    """Each of a query's six terms may be off by a share of its largest weight, 2."""
    path = tmp_path / "c"
    create_collection(
        path,
        vocab_size=LEARNED,
        settings=SETTINGS,
        dictionary=NO_WORDS,
        config=IndexConfig(precision),
    )
    with checks.opened(path) as writer:
        for first in range(0, 60, 12):
            put(writer, [(f"d{n}", n) for n in range(first, first + 12)], wait="searchable")
        many = [Collection.open(path)]
        writer.optimize()
        many.append(Collection.open(path))
    rng = np.random.default_rng(3)
    terms = np.sort(rng.choice(LEARNED, 6, replace=False)).tolist()
    for collection in many:
        query = SparseVectors.from_dicts([dict.fromkeys(terms, 1.0)], collection.index.vocab_size)
        top = collection.index.search(query, 60, exact=True)
        for doc, score in zip(*(column.tolist() for column in top.row(0)), strict=True):
            learned, _ = entries(collection.doc_id(doc), collection.document(doc)["version"])
            truth = sum(learned.get(term, 0.0) for term in terms)
            assert abs(score - truth) <= 6 * 2 * error
        collection.close()


def test_a_merge_that_is_told_to_stop_leaves_nothing_behind(tmp_path):
    create(tmp_path / "c")
    with checks.opened(tmp_path / "c") as writer:
        for number in range(3):
            put(writer, [(f"d{number}", number)], wait="searchable")
        before = sorted((tmp_path / "c/segments").iterdir())

        def check(*told):
            raise InterruptedError

        with pytest.raises(InterruptedError):
            writer.optimize(check)
        writer.remove_unused()
        assert sorted((tmp_path / "c/segments").iterdir()) == before
        writer.optimize()
        assert len(writer.index.parts) == 1


def test_a_merge_that_fails_in_the_background_is_told_when_the_writer_closes(tmp_path, monkeypatch):
    create(tmp_path / "c")
    monkeypatch.setattr("tamis.index.writing.merging.FAN", 2)
    storage = Quick(tmp_path / "c")
    writer = CollectionWriter.open(tmp_path / "c", gather=False, storage=storage)

    def fails(*arguments):
        raise ValueError("cannot merge")

    monkeypatch.setattr("tamis.index.writing.publisher.Publisher._merge", fails)
    for number in range(3):
        put(writer, [(f"d{number}", number)], wait="searchable")
    with pytest.raises(ValueError, match="cannot merge"):
        writer.close()
    with checks.opened(tmp_path / "c") as again:
        assert len(again.index) == 3
