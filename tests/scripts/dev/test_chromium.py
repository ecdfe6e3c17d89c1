"""The script that sees to a Chromium waits a bounded time, and tells what it leaves out."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "dev" / "chromium"


def run(folder, **programs):
    """Run it where nothing but these programs is found; each is a line of shell."""
    for name, line in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    (folder / "timeout").symlink_to(shutil.which("timeout"))
    command = [shutil.which("bash"), SCRIPT]
    return subprocess.run(
        command, env={"PATH": str(folder)}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("programs", "why"),
    [
        ({"id": "echo 1000", "apt-get": "exit 0"}, "installing it needs root"),
        ({"id": "echo 0"}, "there is no apt-get here"),
        ({"id": "echo 0", "apt-get": "exit 100"}, "apt-get did not install it"),
    ],
)
def test_what_keeps_it_from_installing_is_one_line_and_no_failure(tmp_path, programs, why):
    done = run(tmp_path, **programs)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(f"no Chromium: {why}; the page's tests are left out until ")
    assert done.stderr.count("\n") == 1


def test_it_is_fetched_before_it_is_installed_and_nothing_is_asked(tmp_path):
    asked = tmp_path / "asked"
    said = run(tmp_path, **{"id": "echo 0", "apt-get": f'echo "$DEBIAN_FRONTEND $@" >> {asked}'})
    assert (said.returncode, said.stderr) == (0, "")
    update, fetch, install = asked.read_text().splitlines()
    assert all(line.startswith("noninteractive ") for line in (update, fetch, install))
    assert update.endswith(" update")
    assert " --download-only install --yes " in fetch
    assert fetch.replace(" --download-only", "") == install


def test_one_that_is_there_is_left_as_it_is(tmp_path):
    done = run(tmp_path, chromium="exit 0", id="exit 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
