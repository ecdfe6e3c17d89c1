"""The server as a process: its address, its answers, and how it stops."""

import json
import re
import signal
import subprocess
import time

import httpx
import psutil
import pytest

from tamis.index.segment.loops import compiled
from tamis.scripts.serve import WARM_UP, compile_elsewhere

KEY = "a-key-of-24-characters-ok"


@pytest.fixture
def serve(start_tamis):
    """Start a server on a free port and give its process and address."""

    def start(*arguments):
        process = start_tamis("serve", *arguments, "--port", "0")
        line = process.stdout.readline()
        match = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert match, (line, process.stderr.read() if process.poll() is not None else "")
        return process, match[0], line

    return start


def untimed(answer):
    return {key: answer[key] for key in answer if key not in ("took_ms", "timings", "cursor")}


def test_the_command_line_prints_what_the_server_answers(serve, tamis, index):
    _, address, line = serve(index)
    assert line == f"Serving birds at {address} (Ctrl-C stops)\n"
    body = {"query": "hunting owls at night", "k": 2, "explain": True}
    answer = httpx.post(f"{address}/v1/indexes/birds/search", json=body).json()
    arguments = ("search", index, body["query"], "-k", "2", "--explain", "--json")
    assert untimed(json.loads(tamis(*arguments).stdout)) == untimed(answer)
    assert len(answer["hits"]) == 2


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server_cleanly(serve, index, sent):
    process, address, _ = serve(index)
    assert httpx.get(f"{address}/readyz").status_code == 200
    process.send_signal(sent)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == (0 if sent == signal.SIGINT else -signal.SIGTERM)
    assert errors == ""


def test_requests_are_logged_as_json_lines_when_asked_for(serve, index):
    process, address, _ = serve(index, "--log-level", "info")
    headers = {"x-request-id": "number-7", "authorization": f"Bearer {KEY}"}
    assert httpx.get(f"{address}/v1/info?key={KEY}", headers=headers).status_code == 200
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    (line,) = errors.splitlines()
    told = json.loads(line)
    assert (told["request_id"], told["path"], told["status"]) == ("number-7", "/v1/info", 200)
    assert KEY not in errors


def test_names_and_keys_are_taken_from_the_command_line(serve, index, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    _, address, line = serve(f"nest={index}", index, "--api-key-file", keys, "--json")
    assert json.loads(line) == {"address": address, "indexes": ["nest", "birds"]}
    assert httpx.get(f"{address}/v1/indexes").status_code == 401
    found = httpx.get(f"{address}/v1/indexes", headers={"authorization": f"Bearer {KEY}"}).json()
    assert [one["name"] for one in found["indexes"]] == ["nest", "birds"]


@pytest.mark.long
def test_a_data_folder_is_served_and_outlives_the_server(serve, tmp_path):
    data, text = tmp_path / "data", b'{"_id": "owl", "text": "Owls hunt at night."}'
    process, address, line = serve("--data", data)
    assert line == f"Serving no index yet at {address} (Ctrl-C stops)\n"
    assert httpx.put(f"{address}/v1/indexes/birds", json={"encoder": None}).status_code == 201
    documents = f"{address}/v1/indexes/birds/documents"
    assert httpx.post(documents, content=text).json()["written"] == 1
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("", "")
    _, address, line = serve("--data", data)
    assert line.startswith("Serving birds at")
    found = httpx.get(f"{address}/v1/indexes/birds/search?q=owl").json()
    assert [hit["id"] for hit in found["hits"]] == ["owl"]


def test_settings_come_from_a_file_the_environment_and_options(serve, index, tmp_path, monkeypatch):
    config = tmp_path / "serve.toml"
    config.write_text(f'indexes = ["nest={index}"]\n[limits]\nk = 7\nbatch = 5\n')
    monkeypatch.setenv("TAMIS_SERVE_LIMITS_BATCH", "6")
    _, address, _ = serve("--config", config)
    info = httpx.get(f"{address}/v1/info").json()
    assert info["indexes"] == ["nest"]
    assert (info["limits"]["k"], info["limits"]["batch"]) == (7, 6)
    answer = httpx.get(f"{address}/v1/indexes/nest/search?q=owl&k=8").json()
    assert answer["code"] == "limit_exceeded"


def test_what_cannot_be_served_is_told_in_one_line(tamis, index):
    for arguments, named in (
        ([index, index], "'birds'"),
        ([f"bad name={index}"], "'bad name'"),
        ([index, "--host", "0.0.0.0", "--port", "0"], "--api-key-file"),
        ([index, "--api-key-file", "/no/such/file"], "/no/such/file"),
        ([], "--data"),
        ([index, "--config", "/no/such/file"], "/no/such/file"),
        (["--data", index, "--port", "0"], "found an index"),
        (["--data", index / "CURRENT", "--port", "0"], "found a file"),
    ):
        result = tamis("serve", *arguments)
        assert result.exit_code == 2
        assert result.stderr.startswith("tamis: ")
        assert named in result.stderr
        assert result.stderr.count("\n") == 1
    assert not (index / "indexes").exists()


def wait_until_it_reads(process, plan):
    """Wait until a build has its plan and its main thread sleeps: it waits for further lines.

    A signal that comes while Python imports a module may be lost.
    """
    seen, asleep, deadline = psutil.Process(process.pid), 0, time.monotonic() + 60
    while asleep < 20 and time.monotonic() < deadline:
        time.sleep(0.02)
        waits = plan.exists() and seen.status() == psutil.STATUS_SLEEPING
        asleep = asleep + 1 if waits else 0


def test_a_build_goes_on_after_its_terminal_was_closed(start_tamis, tamis, corpus, tmp_path):
    out = tmp_path / "out"
    arguments = ("index", "-", "--out", out, "--encoder", "bm25")
    process = start_tamis(*arguments, stdin=-1)
    wait_until_it_reads(process, out / "build" / "plan.json")
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == -signal.SIGHUP
    refused = tamis(*arguments, "--resume", "--chunk", "50:5", stdin=corpus.read_text())
    assert "found chunk tokens 50, overlap 5 where it was none; give those" in refused.stderr
    resumed = tamis(*arguments, "--resume", "--json", stdin=corpus.read_text())
    assert json.loads(resumed.stdout)["documents"] == 3


def test_an_interrupted_build_says_how_to_go_on_and_does(start_tamis, tamis, corpus, tmp_path):
    out = tmp_path / "out"
    arguments = ("index", "-", "--out", out, "--encoder", "bm25")
    process = start_tamis(*arguments, stdin=-1)
    process.stdin.write(corpus.read_text())
    process.stdin.flush()
    wait_until_it_reads(process, out / "build" / "plan.json")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    _, errors = process.communicate()
    assert errors == (
        "tamis: interrupted; what is done is kept; run the same command with --resume to go on\n"
    )
    assert "unfinished build" in tamis("info", out).stderr
    resumed = tamis(*arguments, "--resume", "--json", stdin=corpus.read_text())
    assert json.loads(resumed.stdout)["documents"] == 3


@pytest.mark.parametrize("kept", [False, True])
def test_loops_are_compiled_once_and_by_another_process(monkeypatch, kept):
    """The compiler would keep 0.1 GB of the server."""
    asked = []
    monkeypatch.setattr(subprocess, "run", lambda command, **options: asked.append(command))
    monkeypatch.setattr(compiled, "is_all_kept", lambda: kept)
    compile_elsewhere()
    assert [command[-1] for command in asked] == ([] if kept else [WARM_UP])


def test_what_the_other_process_runs_keeps_all_loops(monkeypatch, tmp_path):
    monkeypatch.setattr("tamis.scripts.doctor.load_loops", lambda: None)
    monkeypatch.setattr(compiled, "cache_folder", lambda: tmp_path)
    assert not compiled.is_all_kept()
    exec(WARM_UP, {})
    assert compiled.is_all_kept()
