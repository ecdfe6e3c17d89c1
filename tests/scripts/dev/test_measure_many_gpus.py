"""What many cards are compared by, and what is written meanwhile."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import measure_many_gpus
import pytest
import torch
from measure_many_gpus import Silent, counts_up_to, differences, write

from tamis.eval.datasets import load_dataset
from tamis.retriever.training.processes import Processes

SCRIPT = Path(measure_many_gpus.__file__)


def test_a_silent_process_puts_its_own_rows_where_they_belong():
    own = torch.arange(6.0).view(3, 2).requires_grad_()  # rows 0, 3 and 6 of 7
    rows = Silent(0, 3, torch.device("cpu")).all_rows(own, 7)
    assert rows.shape == (7, 2)
    assert torch.equal(Processes(0, 3, torch.device("cpu")).own(rows), own)
    rows.sum().backward()
    assert torch.equal(own.grad, torch.ones(3, 2))


def test_numbers_of_cards_double_up_to_all():
    assert [counts_up_to(n) for n in (1, 2, 6, 8)] == [(1,), (1, 2), (1, 2, 4, 6), (1, 2, 4, 8)]


def test_differences_are_relative():
    assert differences([1.5, 3.0], [1.0, 4.0]) == pytest.approx(
        {"first": 0.5, "mean": 0.375, "of_means": 0.1}
    )


def test_a_report_that_cannot_be_written_leaves_the_one_before(tmp_path):
    out = tmp_path / "out.json"
    write(out, {"done": 1})
    with pytest.raises(TypeError):
        write(out, {"done": object()})
    assert json.loads(out.read_text()) == {"done": 1}


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.long
def test_fewer_cards_than_asked_for_are_refused_in_one_line(tmp_path):
    done = run(SCRIPT, tmp_path / "out.json", "--cards", 99)
    assert done.returncode == 2
    assert f"from 1 to the {torch.cuda.device_count()} that are here, found 99" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_processes_encode_and_train_as_one_does(tmp_path):
    passages = tmp_path / "passages.jsonl.gz"
    with gzip.open(passages, "wt") as file:
        for number, one in enumerate(load_dataset("sample").passages()):
            row = {"_id": one.doc_id, "title": one.title or f"Title {number}", "section": "Text"}
            file.write(json.dumps(row | {"text": one.text}) + "\n")
    out = tmp_path / "out.json"
    sizes = ("--documents", 60, "--batch", 8, "--steps", 8, "--limit-s", 1500)
    done = run(passages, out, "--cards", 2, "--device", "cpu", *sizes)
    report = json.loads(out.read_text())
    assert done.returncode == 1  # for the search, which has no GPU
    assert [(one["part"], one["cards"]) for one in report["failed"]] == [
        ("search", 1),
        ("search", 2),
    ]
    assert "expected a CUDA GPU" in done.stderr
    assert [one["documents"] for one in report["encode"]] == [30, 60]
    assert max(one["largest_relative_error"] for one in report["encode"]) < 1e-3
    alone, both = (one["losses"] for one in report["train"])
    assert both == pytest.approx(alone, rel=2e-3)
    assert set(report["train"][0]["efficiency_without_messages"]) == {"2", "4", "8"}
