"""Hidden states of the default encoder on real text: not the bell curves of the other tests."""

import itertools

import pytest
import torch

from tamis.kernels.head.ops import splade_head_packed

TEXTS = [
    "Mars is the fourth planet from the Sun, called the Red Planet for its rust.",
    "Venus is the second planet; thick clouds make it the hottest of all.",
    "A comet grows a tail of dust and gas when it comes near the Sun.",
    "why is mars red",
]


@pytest.fixture(scope="module")
def captured():
    """What the default encoder hands to its head."""
    from tamis.retriever import load_encoder
    from tamis.retriever.models import heads

    calls = []
    plain = heads.splade_encode_packed

    def spy(hidden, weight, bias=None, **rest):
        calls.append((hidden, weight, bias, rest))
        return plain(hidden, weight, bias, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads, "splade_encode_packed", spy)
        load_encoder(device="cpu", arithmetic="float32").encode_documents(TEXTS)
    return calls


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.long
def test_the_head_is_right_on_real_hidden_states(captured, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    assert captured
    for hidden, weight, bias, rest in captured:
        bias = torch.zeros(len(weight)) if bias is None else bias
        activation, offsets = rest["activation"], rest["offsets"]
        hidden, weight, bias = (t.detach().clone().to(device) for t in (hidden, weight, bias))
        ours = splade_head_packed(
            hidden, weight, bias, offsets=offsets.to(device), max_len=rest["max_len"],
            activation=activation,
        )  # fmt: skip
        logits = hidden.double() @ weight.double().T + bias.double()
        bounds = itertools.pairwise(offsets.tolist())
        top = torch.stack([logits[start:end].amax(0) for start, end in bounds])
        truth = activation.apply(top)
        assert len(truth) == len(TEXTS)
        assert (truth > 0).any(1).all()
        torch.testing.assert_close(ours.double(), truth, rtol=1e-4, atol=1e-5)
