"""The examples of a deployment name options and settings that there are, and start a server."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tamis.api.http.settings import read_settings

DEPLOY = Path(__file__).parents[2] / "scripts" / "deploy"


def container_command():
    text = (DEPLOY / "Dockerfile").read_text()
    return [
        word
        for name in ("ENTRYPOINT", "CMD")
        for word in json.loads(re.search(rf"^{name} (\[.*\])$", text, re.MULTILINE)[1])
    ]


def unit_command():
    text = (DEPLOY / "tamis.service").read_text()
    return shlex.split(re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)[1])


def test_the_settings_of_the_example_are_read():
    found = read_settings(DEPLOY / "serve.toml", {}, {})
    assert (found.host, found.port, found.mcp, found.log_level) == ("127.0.0.1", 8080, True, "info")


@pytest.mark.parametrize("command", [container_command(), unit_command()], ids=["docker", "unit"])
@pytest.mark.long
def test_the_command_of_the_example_starts_a_server(start_tamis, tmp_path, command):
    keys = tmp_path / "keys"
    keys.write_text("admin a-key-of-24-characters-ok\n")
    places = {
        "/etc/tamis/serve.toml": DEPLOY / "serve.toml",
        "${STATE_DIRECTORY}": tmp_path / "data",
        "${CREDENTIALS_DIRECTORY}/keys": keys,
        "/run/secrets/tamis-keys": keys,
        "/data": tmp_path / "data",
        "0.0.0.0": "127.0.0.1",
    }
    assert Path(command[0]).name == "tamis"
    words = [str(places.get(word, word)) for word in command[1:]]
    process = start_tamis(*words, "--port", "0", "--json")
    started = process.stdout.readline()
    assert started, process.stderr.read()
    address = json.loads(started)["address"]
    assert httpx.get(f"{address}/readyz").status_code == 200
    assert httpx.get(f"{address}/v1/indexes").status_code == 401
    assert httpx.post(f"{address}/mcp", json={}).status_code == 401


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_the_unit_is_one_that_systemd_reads(tmp_path):
    unit = tmp_path / "tamis.service"
    unit.write_text(
        (DEPLOY / "tamis.service").read_text().replace("/opt/tamis/bin/tamis", "/bin/true")
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "tamis.service" not in done.stderr
