"""A training in two processes is the training in one."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from tamis.index.errors import InputError, TamisError
from tamis.retriever.training.processes import Processes
from tamis.retriever.training.trainer import train
from tamis.scripts.bench.side_by_side import together

WORKER = """
import atexit, sys
from pathlib import Path
from torch import distributed
atexit.register(lambda: print("in a group:", distributed.is_initialized()))
from tamis.retriever.training.read_config import read_config
from tamis.retriever.training.trainer import train
root, *configs = map(Path, sys.argv[1:])
for config in configs:
    train(read_config(config), root, device="cpu")
assert distributed.is_initialized()
raise SystemExit(3)
"""
SEEN = ("loss", "kl", "penalty", "gradient", "terms", "query_terms")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(rank, port, root, configs):
    known = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    known |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    environment = os.environ | {name: str(value) for name, value in known.items()}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(root), *map(str, configs)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def numbers_of(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if "loss" in line for name in SEEN]


@pytest.mark.long
def test_two_processes_learn_what_one_does_and_leave_their_group(
    make_config, data_folder, tmp_path
):
    configs = []
    for table in (True, False):
        changes = {
            "model": {"query_table": table},
            "loss": {"kl": 1.0, "contrastive": 1.0, "dense": 1.0},
            "batch": {"passages": 21, "queries": 23, "recompute": table, "negatives": 2},
            "mining": {"every": 3, "dense": False},
            "sparsity": {"weight": 0.1, "query_weight": 0.1, "warmup_share": 0.0},
            "optimiser": {"steps": 4},
        }
        run = {"out": str(tmp_path / f"one-{table}"), "log_steps": 1}
        train(make_config(**changes, run=run), data_folder, device="cpu")
        make_config(**changes, run=run | {"out": str(tmp_path / f"two-{table}")})
        configs.append((tmp_path / "config.toml").rename(tmp_path / f"{table}.toml"))
    port = free_port()
    for one in [start(rank, port, data_folder, configs) for rank in (0, 1)]:
        printed, errors = one.communicate(timeout=300)
        assert one.returncode == 3, errors  # its own end, though an error, and not torch's abort
        assert "in a group: False" in printed
    for table in (True, False):
        alone, together = (numbers_of(tmp_path / f"{name}-{table}") for name in ("one", "two"))
        assert len(alone) == 4 * len(SEEN)
        assert together == pytest.approx(alone, rel=2e-3)


def test_a_process_encodes_every_other_text_and_sees_all_in_order():
    rows = torch.arange(7)
    owned = [Processes(rank, 3, torch.device("cpu")).own(rows).tolist() for rank in range(3)]
    assert owned == [[0, 3, 6], [1, 4], [2, 5]]


def absent():
    raise InputError("expected data, found none")


def hears_of_failures(worker):
    """What one of two processes is told; the second leaves in the middle."""
    here = {
        "RANK": worker.rank,
        "LOCAL_RANK": worker.rank,
        "WORLD_SIZE": 2,
        "MASTER_PORT": worker.port,
    }
    os.environ |= {name: str(value) for name, value in here.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "CUDA_VISIBLE_DEVICES": ""}
    processes = Processes.started(None)
    told = [f"{processes.rank} of {processes.count}"]
    for step in (
        lambda: processes.from_first(absent),
        lambda: processes.from_first(lambda: 5),
        lambda: processes.share_gradients([torch.nn.Parameter(torch.ones(2))]),
    ):
        try:
            told.append(step())
        except TamisError as error:
            told.append(f"{type(error).__name__}: {error}")
        if len(told) == 3 and worker.rank == 1:
            return told
    return told


@pytest.mark.usefixtures("tests_by_name")
@pytest.mark.long
def test_a_process_hears_that_another_failed_or_left():
    first, second = together(hears_of_failures, 2, 1, "cpu", 240)
    assert first[:3] == ["0 of 2", "InputError: expected data, found none", 5]
    assert first[3].startswith("TrainingError: expected all processes of the training to take part")
    failed = "TrainingError: the first process could not go on: expected data, found none"
    assert second == ["1 of 2", failed, 5]


def test_a_process_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {"WORLD_SIZE": "4", "RANK": "2", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        InputError, match=r"expected a GPU for each process .* found 2 for process 2"
    ):
        Processes.started("cuda")
