"""The examples of shards on several machines are what their programs take, and start a broker."""

import re
import shlex
from pathlib import Path

import httpx
import pytest
import yaml

from tamis.api.broker.shard_map import read_shard_map
from tamis.scripts.extras import EXTRAS

DEPLOY = Path(__file__).parents[2] / "scripts" / "deploy"
KEY = "a-key-of-24-characters-ok"


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "shards.compose.yaml").read_text())


def test_the_compose_file_serves_every_shard_of_the_map(compose):
    shard_map = read_shard_map(DEPLOY / "shards.toml")
    services = compose["services"]
    assert set(services) == {*(one.name for one in shard_map.shards), "broker"}
    assert set(services["broker"]["depends_on"]) == {one.name for one in shard_map.shards}
    for one in shard_map.shards:
        assert one.addresses == [f"http://{one.name}:8080"]
        assert services[one.name]["volumes"] == [f"./planets-shards/{one.name}:/data"]
    assert shard_map.key_file == "/run/secrets/tamis-keys"
    for service in services.values():
        assert service["secrets"] == list(compose["secrets"])
        assert service["image"] == "tamis"
    text = (DEPLOY / "shards.compose.yaml").read_text()
    (extras,) = re.findall(r"EXTRAS=(\S+)", text)
    assert set(extras.split(",")) <= set(EXTRAS)


def test_the_cluster_file_is_what_ray_takes():
    util = pytest.importorskip("ray.autoscaler._private.util", reason="ray is not installed")
    text = (DEPLOY / "ray-cluster.yaml").read_text()
    cluster = yaml.safe_load(text)
    prepared = util.prepare_config(yaml.safe_load(text))
    util.validate_config(prepared)
    assert prepared["max_workers"] == len(cluster["provider"]["worker_ips"])
    (command,) = re.findall(r'ray exec \S+ "(.*)"', text)
    words = shlex.split(command)
    port = re.search(r"--port=(\d+)", " ".join(cluster["head_start_ray_commands"]))[1]
    assert words[words.index("--cluster") + 1] == f"{cluster['provider']['head_ip']}:{port}"


@pytest.mark.long
def test_the_commands_of_the_compose_file_start_a_broker(
    start_tamis, tamis, index, compose, tmp_path
):
    """As processes on loopback: the places of containers become folders and ports."""
    assert (
        tamis("split", index, "--shards", "2", "--out", tmp_path / "planets-shards").exit_code == 0
    )
    keys = tmp_path / "key"
    keys.write_text(f"{KEY}\n")
    places = {"/run/secrets/tamis-keys": str(keys), "0.0.0.0": "127.0.0.1"}
    text = (DEPLOY / "shards.toml").read_text().replace("/run/secrets/tamis-keys", str(keys))
    text = text.replace('index = "planets"', 'index = "birds"')
    address = None
    for name, service in compose["services"].items():
        volumes = dict(reversed(one.split(":")[:2]) for one in service["volumes"])
        own = {inside: str(tmp_path / outside) for inside, outside in volumes.items()}
        words = [(places | own).get(word, word) for word in service["command"]]
        if name == "broker":
            (tmp_path / "planets-shards" / "shards.toml").write_text(text)
        process = start_tamis("serve", *words, "--port", "0")
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, process.stderr.read()
        address = found[0]
        text = text.replace(f"http://{name}:8080", address)
    headers = {"authorization": f"Bearer {KEY}"}
    answer = httpx.post(
        f"{address}/v1/indexes/birds/search", json={"query": "owls"}, headers=headers, timeout=60
    ).json()
    assert answer["shards"] == {"asked": 2, "answered": 2}
    assert answer["hits"]
    assert httpx.get(f"{address}/v1/indexes").status_code == 401
