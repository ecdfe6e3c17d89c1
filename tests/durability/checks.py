"""Checks of single promises; each raises when the promise is broken."""

import subprocess
import sys
import threading
import time

from storages import Quick
from workload import Forgetting, FromBytes, check_consistent, create, held, put, stop

from tamis.index import Collection, CollectionWriter, CorruptionError, LockedError

__all__ = ["Collection", "CorruptionError", "create", "held", "put"]

READER = (
    "import sys\n"
    "from tamis.index import Collection\n"
    "collection = Collection.open(sys.argv[1])\n"
    "print('open', flush=True)\n"
    "sys.stdin.read()\n"
)


def opened(path, **options):
    return CollectionWriter.open(path, merge=False, storage=Quick(path), **options)


def check_pins(path):
    """A generation's files stay while another process reads it, and go when it lets go."""
    create(path)
    with opened(path) as writer:
        put(writer, [("a", 1)], wait="searchable")
        arguments = [sys.executable, "-c", READER, str(path)]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
            assert reader.stdout.readline() == b"open\n"
            folder = path / writer.index.parts[0].entry.name
            put(writer, [("a", 2)], wait="searchable")
            assert (folder / "documents.bytes").exists(), "removed under a reader"
            reader.kill()
        writer.remove_unused()
        assert not folder.exists(), "kept without a reader"


def check_lock(path):
    """Two writers at once would mix their logs."""
    create(path)
    with opened(path):
        try:
            opened(path).abandon()
        except LockedError:
            return
    raise AssertionError("two writers at once")


def check_merge_under_changes(path):
    """What is deleted or replaced while a merge reads it is not back after the merge."""
    create(path)
    with opened(path) as writer:
        for number in range(6):
            put(writer, [(f"d{number}", number), (f"e{number}", number)], wait="searchable")
        changes = [
            lambda: writer.delete(["d1", "e1"], wait="searchable"),
            lambda: put(writer, [("d4", 44), ("new", 45)], wait="searchable"),
        ]

        def change(*told):
            if changes:
                changes.pop()()

        writer.optimize(change)
    truth = {f"{letter}{number}": number for number in range(6) for letter in "de"}
    del truth["d1"], truth["e1"]
    with Collection.open(path) as collection:
        assert held(collection) == {**truth, "d4": 44, "new": 45}
        check_consistent(collection)


class _Late(FromBytes):
    """Something happens before it opens the files of a merge."""

    def __init__(self, happens):
        self._happens = happens

    def write(self, order, storage, lock, progress):
        if order.pending is None:
            self._happens()
        return super().write(order, storage, lock, progress)


def check_held(path):
    """What a merge reads stays in place though commits take it into theirs meanwhile."""
    create(path)
    builder = _Late(lambda: put(writer, [("late", 9)], wait="searchable"))
    with opened(path, builder=builder) as writer:
        for number in range(4):
            put(writer, [(f"d{number}", number), (f"e{number}", number)], wait="searchable")
        writer.delete([f"e{number}" for number in range(4)], wait="searchable")
        writer._publisher._gather = True
        writer.optimize()
    with Collection.open(path) as collection:
        assert held(collection) == {**{f"d{number}": number for number in range(4)}, "late": 9}
        check_consistent(collection)


def check_rewrite(path):
    """A rewrite forgets the words that no document holds; all goes on with the others."""
    create(path)
    with opened(path, builder=FromBytes()) as writer:
        for number in range(4):
            put(writer, [(f"d{number}", number), (f"e{number}", number)], wait="searchable")
        writer.delete(["d1", "e1", "d2"])
        writer.rewrite(Forgetting())
        assert len(writer.dictionary) == 3 + 5  # word0, word2, word3 and a name each
        put(writer, [("d3", 5), ("new", 2)], wait="searchable")
    with Collection.open(path) as collection:
        assert held(collection) == {"d0": 0, "e0": 0, "e2": 2, "e3": 3, "d3": 5, "new": 2}
        check_consistent(collection)


def check_order(path):
    """Documents keep the order of their writes, which settles ties, through merges."""
    create(path)
    with opened(path) as writer:
        for number in range(20):
            put(writer, [(f"d{number}", 7)], wait="searchable")
            while writer.merge():
                pass
        put(writer, [("d3", 7)], wait="searchable")
    with Collection.open(path) as collection:
        expected = [f"d{number}" for number in range(20) if number != 3] + ["d3"]
        assert [collection.doc_id(doc) for doc in collection.index.live_docs()] == expected
        assert len(collection.index.parts) < 20, "nothing was merged"
        check_consistent(collection)


def check_words(path):
    """Words that a stop left in the log alone get the same numbers again."""
    create(path)
    writer = opened(path)
    put(writer, [("a", 1), ("b", 2)])
    writer.commit()
    put(writer, [("c", 3), ("d", 4)])
    stop(writer)
    with opened(path) as writer:
        put(writer, [("e", 5)])
    with Collection.open(path) as collection:
        assert held(collection) == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
        check_consistent(collection)


def check_group_commit(path, writers=8, writes=5):
    """Writers that wait together share an fsync, and none returns before it."""
    create(path)

    class Slow(Quick):
        syncs = 0

        def sync(self, handle):
            time.sleep(0.01)
            Slow.syncs += 1

    with CollectionWriter.open(path, merge=False, storage=Slow(path)) as writer:
        before, early = Slow.syncs, []

        def work(number):
            for version in range(writes):
                synced = Slow.syncs
                put(writer, [(f"{number}-{version}", version)])
                if Slow.syncs == synced:
                    early.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not early, "returned before an fsync"
        shared = Slow.syncs - before
    assert shared < 0.75 * writers * writes, f"{shared} fsyncs for {writers * writes} writes"
