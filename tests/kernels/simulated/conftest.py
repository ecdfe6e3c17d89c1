"""The same tests twice: on a GPU, and on the CPU under Numba's simulator."""

import os
from pathlib import Path

import pytest
import torch

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


def pytest_collection_modifyitems(items):
    """Mark this folder's tests `gpu`, unless the simulator runs them."""
    absent = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    for item in items:
        if not SIMULATED and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            item.add_marker(absent)


@pytest.fixture
def device():
    return torch.device("cpu" if SIMULATED else "cuda")


@pytest.fixture(autouse=True)
def poison(monkeypatch):
    """Fill what `torch.empty` returns with a wild number: every element that is read is written."""
    plain = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: plain(*a, **k).fill_(-77))
