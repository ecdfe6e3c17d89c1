"""A server as a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx

SERVE = [sys.executable, "-c", "from tamis.scripts.main import main; main()", "serve"]
QUICK = [sys.executable, str(Path(__file__).parent / "quick_server.py")]


class Server:
    """A process, its address, and ways to ask it."""

    def __init__(self, data, limits, command=None, before=None, options=(), said=None):
        """Start one over a data folder.

        Args:
            data: the folder.
            limits: those that are not the defaults.
            command: None for `tamis serve`, or QUICK.
            before: called in the new process before all else.
            options: further ones of `tamis serve`.
            said: a file for what it logs.
        """
        options = ["--data", str(data), "--port", "0", "--json", *map(str, options)]
        variables = {f"TAMIS_SERVE_LIMITS_{name.upper()}": str(n) for name, n in limits.items()}
        self.process = subprocess.Popen(
            [*command, str(data)] if command else [*SERVE, *options],
            stdout=subprocess.PIPE,
            stderr=said or subprocess.DEVNULL,
            preexec_fn=before,
            env={**os.environ, **variables},
        )
        self.data = data
        self.address = json.loads(self.process.stdout.readline())["address"]
        self.client = httpx.Client(base_url=self.address, timeout=60)

    def ask(self, method, path, **options):
        answer = self.client.request(method, path, **options)
        assert answer.is_success, (method, path, answer.status_code, answer.text[:300])
        return answer.json()

    def fill(self, name, texts):
        """Make an index of words and put texts into it, numbered from 0."""
        self.ask("PUT", f"/v1/indexes/{name}", json={"encoder": None})
        lines = (json.dumps({"_id": str(at), "text": text}) for at, text in enumerate(texts))
        path = f"/v1/indexes/{name}/documents?wait=searchable"
        assert self.ask("POST", path, content="\n".join(lines))["failed"] == 0

    def memory_bytes(self, what="VmRSS"):
        """Of the process: now, or with VmHWM at most so far."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) * 1024
        raise AssertionError(what)

    def stop(self):
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=30)
