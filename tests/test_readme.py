"""The README is run: what it shows a new user to type must work."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LONGEST_S = 300
LINK = re.compile(r"\]\((?!https?://)([^)#]+)\)")


def blocks():
    return [(language, code) for language, code in BLOCK.findall(README)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(language, code, folder):
    """Run an example as its reader would; what it leaves running ends with it."""
    code = code.replace("8080", str(free_port()))
    command = ["bash", "-euo", "pipefail", "-c", code]
    if language == "python":
        command = [sys.executable, "-c", code]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=out, stderr=err, start_new_session=True
        )
        try:
            process.wait(LONGEST_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, out.read(), err.read())


@pytest.mark.long
def test_every_block_runs_in_the_order_of_the_page(tmp_path):
    outputs = []
    for language, code in blocks():
        done = run(language, code, tmp_path)
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        outputs.append(done.stdout)
    everything = "\n".join(outputs)
    assert "Jupiter" in everything
    assert '"matched_terms"' in everything
    assert '"nDCG@10"' in everything


def test_the_page_has_blocks_of_both_languages():
    assert {language for language, _ in blocks()} == {"bash", "python"}


@pytest.mark.parametrize("target", sorted(set(LINK.findall(README))))
def test_links_lead_to_files_that_exist(target):
    assert (ROOT / target).exists(), target


def test_it_is_short_and_shows_one_small_picture():
    assert len(README.splitlines()) <= 150
    (picture,) = (ROOT / target for target in LINK.findall(README) if target.endswith(".png"))
    assert picture.stat().st_size < 150_000
    pictures = [*(ROOT / "scripts").rglob("*.png"), *(ROOT / "eval").rglob("*.png")]
    assert sum(one.stat().st_size for one in pictures) < 400_000


def test_the_two_commands_are_there_and_executable():
    for command in ("scripts/dev/demo", "scripts/dev/test", "scripts/dev/setup", ".ci/run"):
        assert os.access(ROOT / command, os.X_OK), command
