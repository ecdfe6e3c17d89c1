"""An index in shards, from the command line."""

import json
import random
import re
import signal
import time

import httpx
import psutil
import pytest


def test_an_index_is_divided_by_the_hashes_of_ids(tamis, index, tmp_path):
    out = tmp_path / "shards"
    told = json.loads(tamis("split", index, "--shards", "3", "--out", out, "--json").stdout)
    documents = json.loads(tamis("info", index, "--json").stdout)["documents"]
    assert sum(told["documents"]) == documents
    found = [
        json.loads(tamis("info", out / f"s{number}" / "indexes" / "birds", "--json").stdout)
        for number in (1, 2, 3)
    ]
    assert [one["documents"] for one in found] == told["documents"]
    refused = tamis("split", index, "--shards", "3", "--out", out)
    assert refused.exit_code == 2
    assert "expected an empty folder" in refused.stderr


def test_folders_that_no_split_began_are_left_alone(tamis, index, tmp_path):
    """Data folders of other servers, which look like those of shards."""
    kept = tmp_path / "served" / "s1" / "indexes" / "mine"
    kept.mkdir(parents=True)
    refused = tamis("split", index, "--shards", "2", "--out", tmp_path / "served")
    assert refused.exit_code == 2
    assert "expected an empty folder" in refused.stderr
    assert kept.is_dir()


def test_a_split_that_was_cut_off_is_begun_again(tamis, index, tmp_path):
    out = tmp_path / "shards"
    told = tamis("split", index, "--shards", "3", "--out", out, "--json").stdout
    (out / "shards.toml").unlink()  # the last that is written
    assert tamis("split", index, "--shards", "3", "--out", out, "--json").stdout == told
    assert (out / "shards.toml").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--broker", "map.toml", "--shards", "2"], "a map of shards alone beside --broker"),
        (["--shards", "2"], "expected one INDEX to divide beside --shards, found none"),
        (["--broker", "none.toml"], "expected a map of shards as TOML"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tamis, arguments, said):
    refused = tamis("serve", *arguments, "--port", "0")
    assert refused.exit_code == 2
    assert said in refused.stderr


def test_an_address_that_nobody_answers_is_told(tamis, tmp_path):
    path = tmp_path / "shards.toml"
    path.write_text(
        'index = "birds"\n[[shards]]\nname = "a"\naddresses = ["http://127.0.0.1:9"]\n'
        'hashes = ["0", "f"]\n'
    )
    refused = tamis("serve", "--broker", path, "--port", "0")
    assert refused.exit_code == 2
    assert "shard a: expected a server that answers" in refused.stderr


@pytest.mark.long
def test_an_index_is_served_in_shards_that_are_started_again(start_tamis, tamis, index):
    process = start_tamis("serve", index, "--shards", "2", "--port", "0")
    line = process.stdout.readline()
    address = re.search(r"http://127\.0\.0\.1:\d+", line)[0]
    search = f"{address}/v1/indexes/birds/search"
    body = {"query": "hunting owls at night", "k": 5, "exact": True}
    found = httpx.post(search, json=body, timeout=60).json()
    assert (found["shards"], found["partial"]) == ({"asked": 2, "answered": 2}, False)
    alone = json.loads(tamis("search", index, body["query"], "-k", "5", "--exact", "--json").stdout)
    assert {hit["id"] for hit in found["hits"]} == {hit["id"] for hit in alone["hits"]}
    children = psutil.Process(process.pid).children()
    children[0].kill()
    end, answered = time.monotonic() + 120, [2]
    while 1 not in answered or answered[-1] != 2:
        assert time.monotonic() < end
        answered.append(httpx.post(search, json=body, timeout=60).json()["shards"]["answered"])
    children = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    assert not [one for one in children if one.is_running()]


@pytest.mark.long
@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGHUP])
def test_servers_of_shards_end_with_the_process_that_started_them(start_tamis, index, death):
    process = start_tamis("serve", index, "--shards", "2", "--port", "0")
    process.stdout.readline()
    servers = psutil.Process(process.pid).children()
    below = psutil.Process(process.pid).children(recursive=True)  # those that build for them too
    assert len(servers) == 2
    process.send_signal(death)
    process.wait(timeout=60)
    _, alive = psutil.wait_procs(below, timeout=10)
    assert not alive


def wait_until_healthy(client, address):
    end = time.monotonic() + 120
    while client.get(f"{address}/healthz").status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_kills_of_shards_lose_no_acknowledged_write(start_tamis, index):
    """Ten kill -9 of a shard's server under writes: what was acknowledged is there afterwards."""
    process = start_tamis("serve", index, "--shards", "2", "--port", "0")
    address = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
    documents = f"{address}/v1/indexes/birds/documents"
    acknowledged, statuses, rng = set(), set(), random.Random(4)
    with httpx.Client(timeout=60) as client:
        for number in range(400):
            if number % 40 == 20:
                wait_until_healthy(client, address)
                rng.choice(psutil.Process(process.pid).children()).kill()
            answer = client.put(f"{documents}/w{number}", json={"text": f"an owl number {number}"})
            statuses.add(answer.status_code)
            if answer.status_code == 200:
                acknowledged.add(f"w{number}")
        assert statuses <= {200, 503}
        assert len(acknowledged) > 40
        wait_until_healthy(client, address)
        there = {one for one in acknowledged if client.get(f"{documents}/{one}").is_success}
    assert there == acknowledged
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
