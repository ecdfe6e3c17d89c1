"""The same tests twice: on a GPU, and on the CPU under Triton's interpreter."""

import os
from pathlib import Path

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def pytest_collection_modifyitems(items):
    """Mark this folder's tests `gpu`, unless the interpreter runs them."""
    if INTERPRETED:
        return
    # Said once a process, when a backward's first product in autograd's thread is cuBLAS's: that of
    # the dense reference. It then does what it says it attempts.
    context = "ignore:Attempting to run cuBLAS, but there was no current CUDA context:UserWarning"
    absent = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            item.add_marker(absent)
            item.add_marker(pytest.mark.filterwarnings(context))


@pytest.fixture
def device():
    return torch.device("cpu" if INTERPRETED else "cuda")


@pytest.fixture(autouse=True)
def poison(monkeypatch):
    """Fill what `torch.empty` returns with NaN or a wild number: every element must be written."""
    plain, plain_new, plain_like = torch.empty, torch.Tensor.new_empty, torch.empty_like

    def fill(tensor):
        return tensor.fill_(torch.nan if tensor.is_floating_point() else -77)

    monkeypatch.setattr(torch, "empty", lambda *a, **k: fill(plain(*a, **k)))
    monkeypatch.setattr(torch, "empty_like", lambda *a, **k: fill(plain_like(*a, **k)))
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *a, **k: fill(plain_new(*a, **k)))
