"""Kills a server at random moments of ingestion through HTTP, many times.

Prints what was found as a line of JSON, after each ten kills and at the end.

    killed_server.py FOLDER KILLS SEED

Each life is a process forked from this one. Clients write documents and delete them; what was
acknowledged must be there in the next life, and what was under way must be there as a whole or
not at all. Aliases move, snapshots are taken and the index is optimized meanwhile.
"""

import json
import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tamis.api.http.app import create_app
from tamis.api.http.server import address_of, listen, run
from tamis.api.limits import Limits
from tamis.api.serving.data_folder import DataFolder

CLIENTS = 3
IDS = 40  # of a client
ANSWERS = 60  # to writes before a kill, at most
LONGEST_PAUSE_S = 0.02  # from the last of them to the kill
WAITS = ("durable", "durable", "searchable")


def operation(client, number):
    """What a client's operation does: ("put" or "delete", ids)."""
    rng = random.Random(f"{client} {number}")
    ids = sorted({f"c{client}-{rng.randrange(IDS)}" for _ in range(rng.choice([1, 2, 20]))})
    return ("delete" if rng.random() < 0.25 else "put"), ids


def apply(state, client, number):
    kind, ids = operation(client, number)
    if kind == "put":
        state.update(dict.fromkeys(ids, number))
    else:
        for doc_id in ids:
            state.pop(doc_id, None)


def begin(folder):
    """Fork a server; its process and address."""
    listener = listen("127.0.0.1", 0, guarded=False)
    address, (read, write) = address_of(listener), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            app = create_app({}, Limits(workers=1, writers=2), data=DataFolder(folder))
            run(app, listener, lambda: os.write(write, b"up"))
        finally:
            os._exit(1)
    listener.close()
    os.close(write)
    assert os.read(read, 2) == b"up", "the server did not start"
    os.close(read)
    return child, address


def write(address, client, number, acknowledged):
    """Send operation after operation until the server is gone."""
    with httpx.Client(base_url=address, timeout=30) as http:
        while True:
            kind, ids = operation(client, number)
            path = "/v1/indexes/birds/documents"
            wait = {"wait": WAITS[number % len(WAITS)]}
            try:
                if kind == "put":
                    documents = (
                        {"_id": doc_id, "text": f"word{number % 7} bird", "number": number}
                        for doc_id in ids
                    )
                    lines = "".join(json.dumps(document) + "\n" for document in documents)
                    answer = http.post(path, params=wait, content=lines)
                else:
                    answer = http.post(f"{path}/delete", params=wait, json={"ids": ids})
            except httpx.TransportError:
                return
            assert answer.status_code == 200, answer.text
            acknowledged[client] = number
            number += 1


def disturb(address):
    """Move an alias, take snapshots and optimize, until the server is gone."""
    with httpx.Client(base_url=address, timeout=30) as http:
        turn = 0
        while True:
            turn += 1
            try:
                http.put("/v1/aliases/live", json={"index": "birds"})
                if turn % 5 == 0:
                    http.post("/v1/indexes/birds/snapshots")
                if turn % 7 == 0:
                    http.post("/v1/indexes/birds/optimize")
            except httpx.TransportError:
                return
            time.sleep(0.02)


def life(folder, starts, rng):
    """Let clients write to a server and kill it after so many answers; what it acknowledged.

    Moments are counted in answers, so that a slow machine sees as many writes as a fast one.
    """
    child, address = begin(folder)
    acknowledged = [start - 1 for start in starts]
    answers, pause_s = sum(acknowledged) + rng.randrange(ANSWERS), rng.random() * LONGEST_PAUSE_S
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        writing = [
            pool.submit(write, address, client, starts[client], acknowledged)
            for client in range(CLIENTS)
        ]
        disturbing = pool.submit(disturb, address)
        while sum(acknowledged) < answers and not any(client.done() for client in writing):
            time.sleep(0.001)
        time.sleep(pause_s)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    for client in (*writing, disturbing):
        client.result()  # what went wrong before the kill is raised
    return acknowledged


def held(address, client):
    """The version of each document of a client that the server finds."""
    found = {}
    with httpx.Client(base_url=address, timeout=30) as http:
        ids = [f"c{client}-{number}" for number in range(IDS)]
        for doc_id in ids:
            answer = http.get(f"/v1/indexes/birds/documents/{doc_id}")
            if answer.status_code == 200:
                found[doc_id] = answer.json()["document"]["number"]
    return found


def check(folder, truth, last):
    """Find each client's state after its last acknowledged operation, or after one more."""
    began = time.perf_counter()
    child, address = begin(folder)
    recovery_s = time.perf_counter() - began
    nexts = []
    with httpx.Client(base_url=address, timeout=30) as http:
        assert http.get("/healthz").status_code == 200
        hits = http.post("/v1/indexes/live/search", json={"query": "bird", "k": 1000}).json()[
            "hits"
        ]
        ids = [hit["id"] for hit in hits]
        assert len(set(ids)) == len(ids)
    for client in range(CLIENTS):
        found = held(address, client)
        one_more = dict(truth[client])
        apply(one_more, client, last[client] + 1)
        assert found in (truth[client], one_more), (client, last[client])
        assert set(found) == {doc_id for doc_id in ids if doc_id.startswith(f"c{client}-")}
        nexts.append(last[client] + (2 if found == one_more else 1))
        truth[client] = found
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return recovery_s, nexts


def main(folder, kills, seed):
    rng = random.Random(seed)
    child, address = begin(folder)
    assert httpx.put(f"{address}/v1/indexes/birds", json={"encoder": None}).is_success
    assert httpx.put(f"{address}/v1/aliases/live", json={"index": "birds"}).is_success
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    starts, truth, acknowledged, recoveries = [1] * CLIENTS, [{} for _ in range(CLIENTS)], 0, []
    for killed in range(1, kills + 1):
        last = life(folder, starts, rng)
        for client in range(CLIENTS):
            for number in range(starts[client], last[client] + 1):
                apply(truth[client], client, number)
            acknowledged += last[client] + 1 - starts[client]
        took_s, starts = check(folder, truth, last)
        recoveries.append(took_s)
        if killed % 10 == 0 or killed == kills:
            found = {
                "kills": killed,
                "acknowledged_requests": acknowledged,
                "lost_or_duplicated": 0,
                "failed_starts": 0,
                "start_p99_ms": round(1000 * sorted(recoveries)[int(0.99 * (killed - 1))], 1),
            }
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
