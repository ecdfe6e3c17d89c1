"""A run names what it left out, and a strict one fails where an installation was missing."""

import re
import subprocess
import sys
from pathlib import Path

from closing_lines import ALLOWED

HERE = Path(__file__).parent
OURS = ("closing_lines.py", "test_closing_lines.py")
REASON = re.compile(r'(?:pytest\.skip\(|reason=)"([^"]+)"')


def run(folder, reason, *options):
    text = f"import pytest\ndef test_a(): pass\ndef test_b(): pytest.skip({reason!r})\n"
    (folder / "test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null"]
    command += ["--rootdir", folder, "-p", "closing_lines", *options, folder]
    environment = {"PYTHONPATH": str(HERE), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_skip_that_an_installation_would_have_mended_fails_a_strict_run(tmp_path):
    done = run(tmp_path, "no Chromium", "--strict-skips", "-p", "xdist.plugin", "-n", "1")
    assert done.returncode == 1, done.stdout
    assert "not run, and could have been: no Chromium (1)\n" in done.stdout
    assert run(tmp_path, "no Chromium").returncode == 0


def test_a_skip_that_is_allowed_is_listed(tmp_path):
    done = run(tmp_path, ALLOWED[0], "--strict-skips")
    assert done.returncode == 0, done.stdout
    assert f"not run here: {ALLOWED[0]} (1)\n" in done.stdout
    assert "could have been" not in done.stdout


def test_every_skip_is_allowed_or_says_what_to_install():
    files = [path for path in HERE.rglob("*.py") if path.name not in OURS]
    found = {reason for path in files for reason in REASON.findall(path.read_text())}
    assert not set(ALLOWED) - found
    assert [one for one in found - set(ALLOWED) if "install" not in one] == []
