"""Systems that are not at hand: what Windows lacks is taken away, what macOS adds is put in."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tamis.index import Index, SparseVectors
from tamis.index.files import system

# Third-party packages know Windows themselves; ours meet what is left after their import.
LIKE_WINDOWS = """
import os, signal, sys
import numba, numpy, rich.progress, safetensors, Stemmer, tokenizers, typer, zstandard
import importlib.metadata, subprocess, tempfile

GONE = {"fcntl", "resource", "termios", "tty", "pwd", "grp", "syslog", "torch", "transformers"}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in GONE:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
for name in GONE & set(sys.modules):
    del sys.modules[name]
for owner, names in {
    os: "O_DIRECTORY O_NOFOLLOW O_CLOEXEC posix_fallocate posix_fadvise sched_getaffinity sysconf "
    "sysconf_names getloadavg getuid geteuid getpgid killpg fork statvfs fdatasync pread pwrite",
    signal: "SIGPIPE SIGHUP SIGKILL SIGUSR1 pthread_sigmask",
}.items():
    for name in names.split():
        if hasattr(owner, name):
            delattr(owner, name)

from tamis.scripts.main import main
sys.argv = ["tamis", *sys.argv[1:]]
main()
"""


@pytest.fixture
def like_windows(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-c", LIKE_WINDOWS, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    return run


def test_windows_searches_and_verifies_what_was_indexed_elsewhere(like_windows, sample_index):
    found = like_windows("search", sample_index, "Which planet is the red one?", "-k", "1")
    assert found.returncode == 0, found.stderr
    assert found.stdout.split()[2] == "mars"
    verified = like_windows("verify", sample_index)
    assert verified.returncode == 0, verified.stderr
    assert like_windows("info", sample_index).returncode == 0


def test_windows_refuses_to_write_and_leaves_nothing(like_windows, sample_index, tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "1", "text": "one"}\n')
    commands = (
        ["index", "corpus.jsonl", "--out", "new", "--encoder", "bm25"],
        ["delete", sample_index, "mars"],
        ["optimize", sample_index],
    )
    before = sorted(sample_index.rglob("*"))
    for arguments in commands:
        refused = like_windows(*arguments)
        assert refused.returncode == 2, refused.stderr
        assert "expected Linux or macOS, which writing an index needs, found" in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()
    assert sorted(sample_index.rglob("*")) == before


def test_macos_writes_through_the_cache_of_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(system, "_FULL_SYNC", 51)
    monkeypatch.setattr(
        system,
        "_fcntl",
        SimpleNamespace(**vars(system._fcntl) | {"fcntl": lambda *a: synced.append(a)}),
    )
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    vectors = SparseVectors.from_dicts([{0: 1.5, 7: 0.5}, {7: 2.0}], vocab_size=8)
    built = Index.build(tmp_path / "index", vectors, ["first", "second"])
    assert built.search(vectors, 1).docs.tolist() == [[0], [1]]
    assert len(synced) > 10
    assert {command for _, command in synced} == {51}


def test_a_file_system_without_full_syncs_is_synced_plainly(tmp_path, monkeypatch):
    def refuses(*_):
        raise OSError("not supported")

    done = []
    monkeypatch.setattr(system, "_FULL_SYNC", 51)
    monkeypatch.setattr(system, "_fcntl", SimpleNamespace(fcntl=refuses))
    monkeypatch.setattr(os, "fsync", done.append)
    system.sync(7)
    assert done == [7]


def test_a_system_that_says_little_is_asked_no_more(monkeypatch):
    for name in ("sched_getaffinity", "sysconf", "sysconf_names", "getloadavg"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(system, "_resource", None)
    monkeypatch.setattr(system, "_STATUS", Path("/there/is/no/such/file"))
    assert system.usable_cores() == os.cpu_count()
    assert system.memory_bytes() is None
    assert system.usable_memory_bytes() is None
    assert system.load_average() is None
    assert system.most_used_bytes() == 0


LOWERED = """
import llvmlite.binding as binding
from llvmlite import ir
from tamis.index.segment.loops.prefetch import emit_prefetch

binding.initialize_all_targets()
binding.initialize_all_asmprinters()
module = ir.Module()
function = ir.Function(module, ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()]), "f")
builder = ir.IRBuilder(function.append_basic_block())
emit_prefetch(builder, function.args[0])
builder.ret_void()
for triple in ("aarch64-unknown-linux-gnu", "arm64-apple-darwin"):
    machine = binding.Target.from_triple(triple).create_target_machine()
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    print(machine.emit_assembly(parsed))
"""


def test_the_one_intrinsic_has_an_instruction_on_arm64():
    done = subprocess.run(
        [sys.executable, "-c", LOWERED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"\bprfm\s+pldl1keep", done.stdout)) == 2
