"""Float8 linear layers against e4m3 written from its definition, and inside whole decoders."""

import numpy as np
import pytest
import torch
from tiny_rerankers import texts, write_reranker

from tamis.index.errors import InputError
from tamis.retriever.rerank.block_reranker import BlockReranker
from tamis.retriever.rerank.float8 import (
    Float8Linear,
    check_products,
    product,
    quantised,
)
from tamis.retriever.rerank.layout import BlockLayout
from tamis.retriever.rerank.loading import load_reranker

QUERY, DOCUMENTS = texts()
CPU = torch.device("cpu")


def e4m3_values():
    """One sign bit, four of exponent (bias 7), three of mantissa; the last pattern is NaN."""
    exponents, mantissas = np.divmod(np.arange(127), 8)
    small = mantissas / 8 * 2.0**-6
    large = (1 + mantissas / 8) * 2.0 ** (exponents - 7)
    return np.where(exponents == 0, small, large)


def rounded(numbers):
    """The nearest e4m3 number; of two as near, the one with an even mantissa."""
    values = e4m3_values()
    far = np.abs(np.abs(numbers)[..., None] - values)
    order = far + 1e-12 * (np.arange(127) % 2)
    return np.sign(numbers) * values[order.argmin(-1)]


def test_a_layer_multiplies_what_rounding_by_row_leaves():
    generator = np.random.default_rng(0)
    linear = torch.nn.Linear(48, 32)
    x = torch.from_numpy(
        generator.normal(size=(3, 5, 48)) * np.exp(generator.normal(size=(3, 5, 1)))
    )
    x[1, 2] = 0
    w, b = linear.weight.detach().double().numpy(), linear.bias.detach().double().numpy()
    scales = np.abs(w).max(1, keepdims=True) / 448
    rows = np.abs(x.numpy()).max(-1, keepdims=True) / 448
    rows[rows == 0] = 1
    wanted = (rounded(x.numpy() / rows) * rows) @ (rounded(w / scales) * scales).T + b
    found = Float8Linear(linear)(x.float())
    assert found.shape == (3, 5, 32)
    np.testing.assert_allclose(
        found.detach().numpy(), wanted, rtol=0, atol=2e-4 * np.abs(wanted).max()
    )
    exact = linear(x.float()).detach().numpy()
    assert 5e-3 < np.abs(exact - wanted).max() / np.abs(wanted).max() < 0.1


def test_a_token_that_is_not_finite_spoils_its_own_row_alone():
    layer = Float8Linear(torch.nn.Linear(16, 16, bias=False))
    x = torch.randn(4, 16)
    x[1, 3], x[2, 5] = torch.nan, torch.inf
    finite = torch.isfinite(layer(x)).all(1)
    assert finite.tolist() == [True, False, False, True]


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_a_decoder_in_float8_scores_nearly_as_in_float32(tmp_path, architecture):
    folder = str(write_reranker(tmp_path, architecture))
    parts = load_reranker(folder, CPU, torch.float32)
    block = parts.prompts.build(QUERY, DOCUMENTS, "query")
    layout = BlockLayout.pack([block], parts.prompts.sizes)
    with torch.inference_mode():
        wanted = parts.backbone(layout)
        parts.backbone.use_float8()
        found = parts.backbone(layout)
    layers = parts.backbone.model.layers
    assert isinstance(layers[1].mlp.down_proj, Float8Linear)
    assert isinstance(layers[2].self_attn.q_proj, torch.nn.Linear)  # its products are the scores
    both = torch.stack([scores.flatten() for scores in (found, wanted)])
    assert 0.98 < torch.corrcoef(both)[0, 1] < 0.99999


def test_what_cannot_multiply_in_float8_is_refused(tmp_path):
    folder = write_reranker(tmp_path, "bert")
    parts = load_reranker(str(folder), CPU, torch.float32)
    with pytest.raises(InputError, match="expected a decoder for float8 products, found bert"):
        parts.backbone.use_float8()
    with pytest.raises(InputError, match=r"compute capability 8\.9 or later .*, found cpu"):
        BlockReranker.from_pretrained(str(folder), device="cpu", products=torch.float8_e4m3fn)
    with pytest.raises(InputError, match=r"or None, found torch\.float16"):
        check_products(torch.float16, CPU)
    with pytest.raises(InputError, match=r"multiples of 16 .*, found \(8, 32\)"):
        Float8Linear(torch.nn.Linear(32, 8))


# Of a product's norm: results in bfloat16 (each at most 2^-9, 0.0020) and sums in Hopper's tensor
# cores, which cut what they add to 13 bits below the largest (0.0003 to 0.0008 for 512 products).
# Operands are the same: rounded to bfloat16 first, 2 % of them would be other float8 numbers.
GPU_ERROR = 3e-3


def layer_of_uneven_rows():
    """A layer and tokens whose scales differ, so that a wrong one is seen."""
    torch.manual_seed(0)
    linear, x = torch.nn.Linear(512, 256), torch.randn(333, 512)
    with torch.no_grad():
        linear.weight *= torch.randn(256, 1).exp()
    return Float8Linear(linear), x * torch.randn(333, 1).exp()


def apart(found, wanted):
    return ((found - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("broken", ["weight scales", "token scales", "tokens"])
def test_the_error_allowed_a_gpu_is_far_below_that_of_a_wrong_operand(broken):
    layer, x = layer_of_uneven_rows()
    rows, scale = quantised(x)
    operands = {"tokens": rows, "token scales": scale, "weights": layer.weight}
    operands["weight scales"] = layer.scale
    wanted = product(*operands.values())
    assert 0 < apart(wanted.bfloat16().float(), wanted) < GPU_ERROR
    other = operands[broken].float()
    operands[broken] = other.flip(1 if broken == "weight scales" else 0)
    assert apart(product(*operands.values()), wanted) > 30 * GPU_ERROR


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_multiplies_what_the_processor_simulates():
    layer, x = layer_of_uneven_rows()
    wanted = layer(x)
    found = layer.to("cuda")(x.to("cuda")).cpu()
    assert apart(found, wanted) < GPU_ERROR
