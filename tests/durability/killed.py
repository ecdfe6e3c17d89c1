"""Kills a process at random moments of its work, many times.

Prints what was found as a line of JSON, after each fifty kills and at the end.

    python killed.py FOLDER KILLS SEED

One collection lives through all kills. Two threads write, each with ids of its own, while segments
merge in the background, snapshots are taken and an alias is swapped.
"""

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

from workload import check_consistent, create, held, put

from tamis.api.serving.catalog import Catalog
from tamis.index import Collection, CollectionWriter
from tamis.index.upkeep.snapshot import restore, write_snapshot
from tamis.index.writing.build_process import BuildProcess

THREADS = 2
IDS = 40  # of a thread


def operation(thread, number):
    """What a thread's operation does: ("put" or "delete", ids)."""
    rng = random.Random(f"{thread} {number}")
    ids = [f"t{thread}-{rng.randrange(IDS)}" for _ in range(rng.choice([1, 1, 1, 5]))]
    return ("delete" if rng.random() < 0.2 else "put"), ids


def apply(state, thread, number):
    kind, ids = operation(thread, number)
    if kind == "put":
        state.update(dict.fromkeys(ids, number))
    else:
        for doc_id in ids:
            state.pop(doc_id, None)


def work(folder, starts, builder, acknowledge):
    """Write until killed."""
    writer = CollectionWriter.open(folder / "c", builder=builder)
    if builder is not None:
        builder.start(30)
    acknowledge(b"opened\n")

    def write(thread):
        number = starts[thread]
        while True:
            kind, ids = operation(thread, number)
            wait = "searchable" if number % 9 == 0 else "durable"
            if kind == "put":
                put(writer, [(doc_id, number) for doc_id in ids], wait)
            else:
                writer.delete(ids, wait=wait)
            acknowledge(b"%d %d\n" % (thread, number))
            number += 1

    for thread in range(THREADS):
        threading.Thread(target=write, args=(thread,), daemon=True).start()
    catalog, swap = Catalog(folder), 0
    while True:
        swap += 1
        catalog.point_aliases({"live": f"index-{swap}", "old": f"index-{swap - 1}"})
        shutil.rmtree(folder / "discarded", ignore_errors=True)
        if (folder / "snapshot").exists():  # a half removed one would still look whole
            (folder / "snapshot").rename(folder / "discarded")
        write_snapshot(folder / "c", folder / "snapshot")
        acknowledge(b"snapshot\n")
        writer.optimize() if swap % 3 == 0 else time.sleep(0.005)


def life(folder, starts, rng, apart):
    """Fork a process, let it work, kill it; the operations it acknowledged, a thread each.

    If ``apart``, segments are built in a process of its own, which nobody kills.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            builder = BuildProcess() if apart else None
            work(folder, starts, builder, lambda line: os.write(write, line))
        finally:
            os._exit(1)
    os.close(write)
    acks = os.fdopen(read, "rb")
    opened = acks.readline()
    assert opened == b"opened\n", "the process did not open the collection"
    killer = threading.Timer(rng.random() * 0.25, os.kill, (child, signal.SIGKILL))
    killer.start()
    last, snapshots = [start - 1 for start in starts], 0
    for line in acks.read().split(b"\n")[:-1]:
        if line == b"snapshot":
            snapshots += 1
        else:
            thread, number = map(int, line.split())
            last[thread] = number
    os.waitpid(child, 0)
    killer.join()
    acks.close()
    return last, snapshots


def check(folder, truth, last):
    """Find each thread's state after its last acknowledged operation, or after one more."""
    began = time.perf_counter()
    writer = CollectionWriter.open(folder / "c")
    took_s = time.perf_counter() - began
    writer.close()
    with Collection.open(folder / "c") as collection:
        check_consistent(collection, queries=1)
        found = held(collection)
    with Catalog(folder) as catalog:
        catalog.verify()
        aliases = catalog.aliases()
        assert not aliases or int(aliases["live"][6:]) == int(aliases["old"][6:]) + 1, aliases
    nexts = []
    for thread in range(THREADS):
        of_thread = {d: v for d, v in found.items() if d.startswith(f"t{thread}-")}
        one_more = dict(truth[thread])
        apply(one_more, thread, last[thread] + 1)
        assert of_thread in (truth[thread], one_more), (thread, last[thread])
        nexts.append(last[thread] + (2 if of_thread == one_more else 1))
        truth[thread] = of_thread
    return took_s, nexts


def check_snapshot(folder):
    """A snapshot that opens as one is whole; one that a kill cut short does not open."""
    if not (folder / "snapshot" / "CURRENT").exists():
        return
    restore(folder / "snapshot", folder / "restored")
    with Collection.open(folder / "restored") as collection:
        check_consistent(collection, queries=1)
    shutil.rmtree(folder / "restored")


def main(folder, kills, seed):
    rng = random.Random(seed)
    create(folder / "c")
    starts, truth = [1] * THREADS, [{} for _ in range(THREADS)]
    acknowledged, snapshots, recoveries = 0, 0, []
    for killed in range(1, kills + 1):
        last, taken = life(folder, starts, rng, killed % 5 == 0)
        for thread in range(THREADS):
            for number in range(starts[thread], last[thread] + 1):
                apply(truth[thread], thread, number)
            acknowledged += last[thread] + 1 - starts[thread]
        took_s, starts = check(folder, truth, last)
        check_snapshot(folder)
        snapshots += taken
        recoveries.append(took_s)
        if killed % 50 == 0 or killed == kills:
            found = {
                "kills": killed,
                "acknowledged_writes": acknowledged,
                "snapshots": snapshots,
                "lost_or_duplicated": 0,
                "failed_opens": 0,
                "recovery_p99_ms": round(1000 * sorted(recoveries)[int(0.99 * (killed - 1))], 1),
            }
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
