"""`tamis index --vectors` goes on with `--resume` after it was killed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TAMIS = Path(sys.executable).with_name("tamis")
DOCUMENTS = 60_000


def json_vectors(path):
    lines = (
        json.dumps({"id": f"d{i}", "vector": {str(i % 97): 1.5, str(97 + i % 31): 0.25 + i % 7}})
        for i in range(DOCUMENTS)
    )
    path.write_text("\n".join(lines))
    return path


def killed_when(exists, *arguments):
    process = subprocess.Popen([TAMIS, *map(str, arguments)], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not exists.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.long
def test_vectors_are_not_read_again_after_a_kill(tamis, tmp_path):
    source, out = json_vectors(tmp_path / "v.jsonl"), tmp_path / "out"
    first = out / "build/vectors-000000.safetensors"
    killed_when(first, "index", "--vectors", source, "--out", out)
    assert first.exists()
    written_ns = first.stat().st_mtime_ns

    again = tamis("index", "--vectors", source, "--out", out)
    assert again.exit_code == 2
    assert "go on with --resume" in again.stderr
    other = tamis("index", "--vectors", source, "--out", out, "--resume", "--vocab-size", "500")
    assert other.exit_code == 2
    assert "vocab_size 500 where it was 128" in other.stderr
    assert first.stat().st_mtime_ns == written_ns

    done = tamis("index", "--vectors", source, "--out", out, "--resume", "--json")
    assert json.loads(done.stdout)["documents"] == DOCUMENTS
    tamis("index", "--vectors", source, "--out", tmp_path / "whole")
    for file in (tmp_path / "whole/segments/000001").iterdir():
        assert file.read_bytes() == (out / "segments/000001" / file.name).read_bytes()
