"""A strained server as a process of its own, ways to ask it, and what it has acknowledged."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tamis.index import TamisError
from tamis.index.files.storage import Storage
from tamis.index.generations.manifest import read_current
from tamis.retriever import Passage, index_corpus

SERVER = Path(__file__).parent / "strained_server.py"
KEY = "a-key-for-the-strain-suite"
QUICK = {  # pauses that a test need not wait for
    "tamis.api.serving.service.REFRESH_S": 0.1,
    "tamis.index.writing.background.FIRST_PAUSE_S": 0.02,
    "tamis.index.writing.background.LONGEST_PAUSE_S": 0.2,
}
MEMORY = {"memory_bytes": 64 << 20}
SMALL_MERGES = {  # two segments are merged, whatever their sizes
    "tamis.index.writing.merging.FAN": 2,
    "tamis.index.writing.merging.GATHERED": 0,
}


_MAPPED = re.compile(r"(/\S+/(?:indexes/[^/]+|given))/((?:segments|dictionary|deletions)/.+)")


class Strained:
    """A server over a data folder, an index that it is given, and a file of keys.

    Attributes:
        truth: by index, the ids that were acknowledged.
        folder: holds all three.
    """

    def __init__(self, folder, *options, settings=QUICK, first=(), limits=MEMORY, wrapped=()):
        """Start one.

        Args:
            folder: where; what another has left there is served.
            options: of `strained_server.py`.
            settings: constants of modules.
            first: orders before it opens anything.
            limits: of the server by name.
            wrapped: a command that starts it.
        """
        self.folder, self.truth = Path(folder), {"given": set()}
        self.keys, self.given = self.folder / "keys", self.folder / "given"
        if not self.given.exists():
            self.folder.mkdir(exist_ok=True)
            self.keys.write_text(f"admin {KEY}\n")
            self.keys.chmod(0o600)
            index_corpus([Passage("first", "an owl")], self.given, encoder=None)
        self._log = (self.folder / "log").open("ab")
        place = (self.folder / "data", self.keys, self.given)
        command = [*wrapped, sys.executable, SERVER, *place, *options]
        bounds = {f"TAMIS_SERVE_LIMITS_{name.upper()}": str(most) for name, most in limits.items()}
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **bounds},
        )
        for order in ({"set": {**settings, **SMALL_MERGES}}, *first):
            self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.address = json.loads(self.process.stdout.readline())["address"]
        headers = {"Authorization": f"Bearer {KEY}"}
        self.http = httpx.Client(base_url=self.address, timeout=60, headers=headers)

    def order(self, **order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    @contextmanager
    def explained(self):
        """Where the block fails, what all of its threads do is in the log."""
        try:
            yield
        except BaseException:
            self.process.send_signal(signal.SIGUSR1)
            raise

    @contextmanager
    def limited(self):
        """Let the server open no further file."""
        pid = self.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(self.open_files()), before[1]))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    def ask(self, method, path, *statuses, **options):
        """An answer, which has one of some statuses: 200, 201 or 202 where none is named."""
        answer = self.http.request(method, f"/v1/{path}", **options)
        assert answer.status_code in (statuses or (200, 201, 202)), (path, answer.text)
        return answer

    def create(self, name):
        self.ask("PUT", f"indexes/{name}", json={"encoder": None})
        self.truth[name] = set()

    def remove(self, name):
        self.ask("DELETE", f"indexes/{name}")
        del self.truth[name]

    def put(self, name, doc_id, *statuses, wait="durable", text="an owl"):
        """Write a document; the answer. What is acknowledged is remembered."""
        path = f"indexes/{name}/documents/{doc_id}?wait={wait}"
        answer = self.ask("PUT", path, *statuses, json={"text": f"{text} {doc_id}"})
        if answer.is_success:
            self.truth[name].add(doc_id)
        return answer

    def found(self, name):
        """The ids of all documents of an index that a search finds."""
        answer = self.ask("POST", f"indexes/{name}/search", json={"query": "owl", "k": 1000})
        return {hit["id"] for hit in answer.json()["hits"]}

    def segments(self, name):
        """How many there are in an index; None while it is being written."""
        with suppress(OSError, TamisError):
            return len(read_current(Storage(self.folder / "data" / "indexes" / name)).segments)

    def done(self, task):
        """How a task has ended."""
        return until(
            lambda: (
                (found := self.ask("GET", f"tasks/{task['id']}").json())["status"]
                not in ("waiting", "running")
                and found
            ),
            seconds=120,
        )[0]

    def codes(self):
        """What is not well, in words for programs."""
        return set(self.http.get("/readyz").json().get("codes", ()))

    def is_well(self):
        return self.http.get("/healthz").status_code == 200

    def held_bytes(self):
        for line in self.http.get("/metrics").text.splitlines():
            if line.startswith("tamis_memory_held_bytes "):
                return float(line.split()[1])
        raise AssertionError("no metric")

    def open_files(self):
        """What each of its descriptors is open for."""
        found = {}
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(OSError):  # closed by now
                found[int(entry.name)] = os.readlink(entry)
        return found

    def stale_maps(self):
        """Files of indexes that are in its memory, though no current generation names them."""
        found, current = [], {}
        for line in Path(f"/proc/{self.process.pid}/maps").read_text().splitlines():
            match = _MAPPED.search(line)
            if match is None:
                continue
            folder, name = match.groups()
            if folder not in current:
                with suppress(OSError, TamisError):  # it is being written, or gone
                    current[folder] = read_current(Storage(folder)).files
            if name not in current.get(folder, ()):
                found.append(line.partition("/")[2])
        return found

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def memory_bytes(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no RssAnon")

    def stop(self):
        """End it; its exit status."""
        self.http.close()
        self.process.terminate()
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            for file in (self.process.stdin, self.process.stdout, self._log):
                file.close()


def until(condition, seconds=30.0):
    """Wait for something; it, and how long that took."""
    began = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() - began < seconds, "it does not come"
        time.sleep(0.01)
    return found, time.monotonic() - began
