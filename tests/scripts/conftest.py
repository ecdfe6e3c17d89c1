import contextlib
import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tamis.scripts.main import command_line

TAMIS = Path(sys.executable).with_name("tamis")
CORPUS = [
    {"_id": "owl", "title": "Owls", "text": "Owls hunt at night; a hunting owl flies silently."},
    {"_id": "sieve", "text": "A drum sieve, or tamis, is used to sieve flour.", "year": 2},
    {"_id": "bat", "text": "Bats hunt insects at night."},
]


@contextlib.contextmanager
def logging_of_its_own():
    """What a server does to the logging of its process ends with it."""
    loggers = logging.getLogger(), logging.getLogger("tamis")
    handlers, levels = list(loggers[0].handlers), [one.level for one in loggers]
    try:
        yield
    finally:
        logging.captureWarnings(False)
        loggers[0].handlers[:] = handlers
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


@pytest.fixture
def tamis():
    """Run the command line in this process: ``result = tamis("search", folder, "text")``."""

    def run(*arguments, stdin=None):
        with logging_of_its_own():
            result = CliRunner().invoke(command_line(), list(map(str, arguments)), input=stdin)
        assert "Traceback" not in result.output
        return result

    return run


def take_signals():
    """As a terminal's programs do; one that nohup or a script's & started may ignore them."""
    for one in (signal.SIGINT, signal.SIGHUP):
        signal.signal(one, signal.SIG_DFL)


@pytest.fixture
def start_tamis():
    """Start the installed command as a process of its own."""
    started = []

    def start(*arguments, **options):
        process = subprocess.Popen(
            [str(TAMIS), *map(str, arguments)],
            text=True,
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
            preexec_fn=take_signals,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in CORPUS))
    return path


@pytest.fixture(scope="session")
def index(corpus, tmp_path_factory):
    """A folder of three documents, words alone, written by the command."""
    out = tmp_path_factory.mktemp("index") / "birds"
    arguments = ["index", str(corpus), "--out", str(out), "--encoder", "bm25"]
    result = CliRunner().invoke(command_line(), arguments)
    assert result.exit_code == 0, result.output
    return out
