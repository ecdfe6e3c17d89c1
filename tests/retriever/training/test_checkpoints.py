import pytest
import torch

from tamis.index.errors import FormatError, MismatchError
from tamis.retriever.training import checkpoints
from tamis.retriever.training.checkpoints import (
    draft_checkpoint,
    load_checkpoint,
    publish_checkpoint,
    whole_tensors,
)


def save(folder, groups, state):
    draft_checkpoint(folder, groups, state)
    publish_checkpoint(folder)


def test_tensors_larger_than_a_shard_are_cut_and_put_together(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SHARD_BYTES", 1000)
    torch.manual_seed(0)
    tensors = {"big": torch.randn(101, 7), "small": torch.randn(5), "number": torch.tensor(3.5)}
    save(tmp_path / "c", {"weights": tensors}, {"fingerprint": "a", "step": 4})
    files = list((tmp_path / "c").glob("weights-*.safetensors"))
    assert len(files) >= 3
    assert all(file.stat().st_size < 1400 for file in files)
    groups, state = load_checkpoint(tmp_path / "c", "a")
    whole = whole_tensors(groups["weights"])
    assert state["step"] == 4
    assert whole.keys() == tensors.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(whole[name], tensor, rtol=0, atol=0)


def test_a_new_checkpoint_replaces_the_old_one(tmp_path):
    for step in (1, 2):
        save(tmp_path / "c", {"w": {"a": torch.ones(2) * step}}, {"fingerprint": "a"})
    groups, _ = load_checkpoint(tmp_path / "c", "a")
    assert groups["w"]["a"].tolist() == [2.0, 2.0]
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_another_configuration_or_no_checkpoint_is_refused(tmp_path):
    save(tmp_path / "c", {"w": {"a": torch.ones(2)}}, {"fingerprint": "a"})
    with pytest.raises(MismatchError, match="another's"):
        load_checkpoint(tmp_path / "c", "b")
    with pytest.raises(FormatError, match="without --resume"):
        load_checkpoint(tmp_path / "none", "a")
