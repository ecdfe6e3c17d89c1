"""Exit codes, one line for each mistake, and a quick start."""

import json
import os
import re
import signal
import subprocess
import sys
import warnings

import pytest
import torch
from typer.testing import CliRunner

from tamis.eval.run import RunWarning
from tamis.index import CorruptionError, InputError
from tamis.retriever.models.inventory import ModelWarning
from tamis.scripts import info, progress
from tamis.scripts.main import command_line


@pytest.mark.parametrize("asked", ["1", "", None])
def test_colour_is_left_out_where_the_environment_asks_so(index, monkeypatch, asked):
    monkeypatch.delenv("NO_COLOR", raising=False)
    if asked is not None:
        monkeypatch.setenv("NO_COLOR", asked)
    arguments = ["search", str(index), "owls"]
    shown = CliRunner().invoke(command_line(), arguments, color=True).output  # as on a terminal
    assert ("\x1b[" in shown) == (not asked)


def raising(monkeypatch, error):
    def fail(folder):
        raise error

    monkeypatch.setattr(info, "read_info", fail)
    return CliRunner().invoke(command_line(), ["info", "folder"])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            InputError("a:1: expected x,\n found y; do z"),
            2,
            "tamis: a:1: expected x, found y; do z",
        ),
        (CorruptionError("bits flipped"), 2, "tamis: bits flipped"),
        (MemoryError(), 1, "tamis: expected enough memory for the work, found too little"),
        (torch.OutOfMemoryError("1 GiB"), 1, "tamis: expected enough memory for the work, found"),
        (ZeroDivisionError("division"), 1, "tamis: ZeroDivisionError: division (TAMIS_DEBUG=1 "),
        (KeyboardInterrupt(), 130, "tamis: interrupted; run the same command to start again"),
        (KeyboardInterrupt("go on thus"), 130, "tamis: interrupted; go on thus"),
    ],
)
def test_each_failure_is_one_line_and_an_exit_code(monkeypatch, error, code, said):
    result = raising(monkeypatch, error)
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith(said)
    assert result.stderr.count("\n") == 1


def test_each_warning_is_said_once_and_alike(monkeypatch):
    def warn(folder):
        for kind, said in ((ModelWarning, "one"), (RunWarning, "two"), (ModelWarning, "one")):
            warnings.warn(said, kind, stacklevel=2)
        raise InputError("end")

    monkeypatch.setattr(info, "read_info", warn)
    result = CliRunner().invoke(command_line(), ["info", "folder"])
    assert result.stderr == "tamis: note: one\ntamis: note: two\ntamis: end\n"


def test_debug_shows_where_it_failed(monkeypatch):
    monkeypatch.setenv("TAMIS_DEBUG", "1")
    result = raising(monkeypatch, ZeroDivisionError("division"))
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["serch"], "serch"),
        (["search"], "DIR"),
        (["search", "folder", "text", "-k", "0"], "-k"),
        (["search", "folder", "text", "--fast"], "--fast"),
        (["index", "corpus.jsonl"], "--out"),
        (["index", "--out", "folder"], "CORPUS"),
        (
            ["index", "--vectors", "file.npz", "--out", "folder", "--chunk", "50"],
            "takes no --chunk",
        ),
        (["encode", "corpus.jsonl", "--out", "file.npz"], ".safetensors"),
        (["encode", "corpus.jsonl", "--out", "file.safetensors", "--encoder", "bm25"], "'bm25'"),
        (["search", "folder", "text", "--lexical-weight", "1e300"], "--lexical-weight"),
        (["serve"], "an index to serve"),
        (["bench"], "head"),
        (["bench", "head", "--json", "--out", "file.json"], "--out"),
    ],
)
def test_wrong_usage_is_told(tamis, arguments, named):
    result = tamis(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert named in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", "corpus.jsonl", "--out"],
        ["export", "folder", "--to", "csr", "--out"],
        ["rerank", "run.trec", "--dataset", "sample", "--out"],
        ["eval", "sample", "--run"],
        ["eval", "sample", "--html"],
        ["info", "folder", "--plot"],
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_the_work(tamis, tmp_path, arguments):
    for place, said in ((tmp_path / "none" / "file", "found none"), (tmp_path, "found a folder")):
        result = tamis(*arguments, place)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"tamis: {place}: expected ")
        assert said in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_told(tamis):
    assert tamis("--version").stdout.startswith("tamis 0.")


def test_help_imports_nothing_heavy():
    heavy = ("numpy", "numba", "torch", "transformers", "fastapi", "uvicorn", "rich", "msgspec")
    program = (
        "import sys; sys.argv = ['tamis', 'search', '--help']\n"
        "from tamis.scripts.main import main\n"
        "try: main()\n"
        f"finally: print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "Search an index" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_a_reader_that_goes_away_is_no_traceback(start_tamis, index):
    read, write = os.pipe()
    os.close(read)
    process = start_tamis("search", index, "owl", "--json", stdout=write)
    os.close(write)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGPIPE
    assert errors == ""


def test_standard_output_is_one_json_document_even_from_a_terminal(start_tamis, corpus, tmp_path):
    terminal, errors = os.openpty()
    out = tmp_path / "birds"
    arguments = ("index", corpus, "--out", out, "--encoder", "bm25", "--json")
    process = start_tamis(*arguments, stderr=errors)
    output, _ = process.communicate(timeout=60)
    os.close(errors)
    drawn = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    assert process.returncode == 0
    assert json.loads(output)["documents"] == 3
    assert "documents/s" in drawn
    assert "3/3" in drawn
    assert "eta" in drawn


def test_nothing_is_drawn_where_nobody_looks(start_tamis, corpus, tmp_path):
    process = start_tamis("index", corpus, "--out", tmp_path / "birds", "--encoder", "bm25")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors == ""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_measuring_the_head_needs_a_device(tamis):
    result = tamis("bench", "head")
    assert result.exit_code == 2
    assert result.stderr.startswith("tamis: expected a CUDA device, found none")


@pytest.mark.parametrize(
    ("terminal", "first", "said"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_a_first_use_is_told_on_a_terminal(monkeypatch, capsys, tmp_path, terminal, first, said):
    from tamis.index.segment.loops import compiled
    from tamis.scripts.progress import say_if_first_use

    (tmp_path / "module").mkdir()
    if not first:
        (tmp_path / "module" / "loop.nbi").touch()
    monkeypatch.setattr(compiled, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    say_if_first_use()
    assert ("compiling for this machine, once" in capsys.readouterr().err) == said


@pytest.mark.parametrize(("terminal", "quiet_s"), [(True, 0), (True, 60), (False, 0)])
def test_a_slow_start_is_told_on_a_terminal(monkeypatch, capsys, terminal, quiet_s):
    monkeypatch.setattr(progress, "QUIET_S", quiet_s)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    start_up = progress.StartUp()
    with start_up.running():
        if terminal and not quiet_s:
            start_up._notice.join()
        took_s = start_up.over()
        assert start_up.over() == took_s > 0
    said = "tamis: starting up ...\n" if terminal and not quiet_s else ""
    assert capsys.readouterr().err == said


def test_the_steps_of_long_work_are_one_line_in_the_end(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress.progress_on_terminal() as report:
        for done in (1, 2, 3):
            report("reading", done, None)
        for done in (1, 2):
            report("indexing", done, 2)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "\x1b[1A" not in said  # nor a line above, which was drawn again
    assert "indexing" in said
    assert "2/2" in said


def test_a_start_is_told_apart_from_the_work(tamis, corpus, tmp_path):
    made = tamis("index", corpus, "--out", tmp_path / "birds", "--encoder", "bm25")
    assert re.search(r"3 documents in [0-9.]+ s .*; start-up [0-9.]+ s before$", made.stdout, re.M)
    found = tamis("search", tmp_path / "birds", "owl")
    assert re.search(r"; start-up [0-9]+ ms before$", found.stdout, re.M)
