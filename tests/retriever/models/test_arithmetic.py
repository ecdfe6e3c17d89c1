"""The processor's fastest arithmetic is chosen, kept, and never one that is inexact."""

import json

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch
from safetensors.numpy import load_file

from tamis.index.errors import InputError
from tamis.kernels.int8 import multiplies_int8
from tamis.retriever.models import arithmetic, row_loops
from tamis.retriever.models.arithmetic import choose_arithmetic, fastest, speeds, speeds_file
from tamis.retriever.models.description import read_checkpoint
from tamis.retriever.models.encoder import SparseEncoder, load_encoder
from tamis.retriever.models.quantised_weights import save_quantised

CPU = torch.device("cpu")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TAMIS_ARITHMETIC", raising=False)
    speeds.cache_clear()
    yield tmp_path
    speeds.cache_clear()


def rates(monkeypatch, **found):
    whole = {"float32": 1.0, "bfloat16": 0.0, "int8": 0.0} | found
    monkeypatch.setattr(arithmetic, "speeds", lambda: whole)


@pytest.mark.parametrize(
    ("found", "best", "best_float"),
    [
        ({"bfloat16": 0.5}, "float32", "float32"),
        ({"bfloat16": 2.0, "int8": 3.0}, "int8", "bfloat16"),
        ({"bfloat16": 0.5, "int8": 3.0}, "int8", "float32"),
        ({"bfloat16": 2.0}, "bfloat16", "bfloat16"),
    ],
)
def test_the_faster_one_is_chosen(monkeypatch, found, best, best_float):
    rates(monkeypatch, **found)
    assert fastest() == best
    assert fastest(("float32", "bfloat16")) == best_float
    side = read_checkpoint("default").document
    assert choose_arithmetic(side, CPU, None) == best
    assert choose_arithmetic(side, torch.device("cuda"), None) == "bfloat16"


def test_a_model_that_was_not_rounded_stays_in_float32(tmp_path, monkeypatch):
    rates(monkeypatch, bfloat16=2.0, int8=3.0)
    side = read_checkpoint(str(tiny.write_bert(tmp_path))).document
    assert choose_arithmetic(side, CPU, None) == "float32"
    with pytest.raises(InputError, match=r"BERT stored as int8 rows|8-bit whole numbers"):
        choose_arithmetic(side, CPU, "int8")


def test_speeds_are_measured_once_and_kept(own_cache, monkeypatch):
    found = speeds()
    assert found["float32"] > 0
    assert (found["int8"] > 0) == multiplies_int8()
    speeds.cache_clear()
    monkeypatch.setattr(arithmetic, "measure_speeds", lambda: pytest.fail("measured again"))
    assert speeds() == found
    assert list(json.loads(speeds_file().read_text()).values()) == [found]
    assert speeds_file().parent.parent == own_cache


@pytest.mark.parametrize("damage", [b"{", b"[]", b"\xff", b'{"x": 1}'])
def test_a_damaged_file_is_measured_again(own_cache, monkeypatch, damage):
    made = {"float32": 1.0, "bfloat16": 2.0, "int8": 3.0}
    monkeypatch.setattr(arithmetic, "measure_speeds", lambda: made)
    speeds_file().parent.mkdir(parents=True)
    speeds_file().write_bytes(damage)
    assert speeds() == made
    assert made in json.loads(speeds_file().read_text()).values()


def test_int8_is_not_for_processors_that_cut_sums(own_cache, monkeypatch):
    monkeypatch.setattr(arithmetic, "multiplies_int8", lambda: False)
    assert speeds()["int8"] == 0
    assert load_encoder(device="cpu").arithmetic in ("float32 on cpu", "bfloat16 on cpu")
    with pytest.raises(InputError, match="8-bit whole numbers exactly"):
        load_encoder(device="cpu", arithmetic="int8")


def test_an_unknown_arithmetic_names_those_there_are(monkeypatch):
    with pytest.raises(InputError, match=r"float32, bfloat16, int8.*'float8'"):
        load_encoder(device="cpu", arithmetic="float8")
    monkeypatch.setenv("TAMIS_ARITHMETIC", "bfloat16")
    assert load_encoder(device="cpu").arithmetic == "bfloat16 on cpu"


@pytest.mark.parametrize("linear", [False, True])
def test_a_bert_of_int8_rows_runs_as_transformers_runs_it(tmp_path, linear):
    """With and without GELU before the head; what stays apart is the rounding of inputs."""
    if not multiplies_int8():
        assert fastest() != "int8"
        return
    folder = tiny.write_bert(tmp_path)
    settings = {"linear_head": linear, "top_n": 30}
    (folder / "encoder.json").write_text(json.dumps(settings))
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights.pop("cls.predictions.decoder.bias", None)
    save_quantised(weights, path)
    found, truth = (
        SparseEncoder(read_checkpoint(str(folder)), device="cpu", arithmetic=one)
        .encode_documents([*tiny.TEXTS, "", "a"])
        .to_scipy()
        .toarray()
        for one in ("int8", "float32")
    )
    both = (found > 0) & (truth > 0)
    assert both.sum() > 0.9 * (truth > 0).sum() > 0
    np.testing.assert_allclose(found[both], truth[both], rtol=0, atol=0.03 * truth.max())
    assert not found[len(tiny.TEXTS)].any()


def test_a_text_has_one_vector_whatever_its_neighbours():
    if not multiplies_int8():
        assert fastest() != "int8"
        return
    encoder = load_encoder(device="cpu", arithmetic="int8")
    texts = ["a drum sieve", "the tides follow the moon " * 30, "x"]
    together = encoder.encode_documents(texts).to_scipy().toarray()
    for text, row in zip(texts, together, strict=True):
        alone = encoder.encode_documents([text]).to_scipy().toarray()[0]
        np.testing.assert_allclose(alone, row, rtol=0, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("words", [10_000, 200_000], ids=["10,000 tokens", "1 MB"])
def test_a_long_text_is_that_of_its_first_tokens_in_int8(words):
    if not multiplies_int8():
        assert fastest() != "int8"
        return
    encoder = load_encoder(device="cpu", arithmetic="int8")
    room = encoder.description.max_length - 2  # [CLS] and [SEP]
    found = encoder.encode_documents(["moon " * words, "moon " * room]).to_scipy().toarray()
    assert found[1].any()
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-5)


def test_loops_between_products_equal_torch():
    rng = np.random.default_rng()
    rows, states = rng.normal(size=(2, 9, 101)).astype(np.float32) * 3
    scales = rng.random(9).astype(np.float32)
    bias, gain, shift = rng.normal(size=(3, 101)).astype(np.float32)
    finished = torch.from_numpy(rows * scales[:, None] + bias)
    out = np.empty(rows.shape, np.uint8)

    expected = torch.nn.functional.layer_norm(
        finished + torch.from_numpy(states), (101,), torch.from_numpy(gain), torch.from_numpy(shift)
    )
    normed, found = states.copy(), scales.copy()
    row_loops.add_and_norm(rows, found, bias, normed, gain, shift, np.float32(1e-5), out)
    np.testing.assert_allclose(normed, expected, atol=1e-5)
    assert_rounded(out, found, normed)

    wide, found = rows.copy(), scales.copy()
    row_loops.gelu_and_round(wide, found, bias, out)
    np.testing.assert_allclose(wide, torch.nn.functional.gelu(finished), atol=3e-5)
    assert_rounded(out, found, wide)

    halves = np.empty(rows.shape, np.uint16)
    row_loops.scale_to_bfloat16(rows, scales, bias, halves)
    found = torch.from_numpy(halves).view(torch.bfloat16).float()
    np.testing.assert_allclose(found, finished, rtol=2**-8)

    whole = rows.copy()
    row_loops.scale_rows(whole, scales, bias)
    np.testing.assert_allclose(whole, finished, atol=1e-5)


def assert_rounded(out, scales, rows):
    np.testing.assert_allclose((out - 128.0) * scales[:, None], rows, atol=scales.max() * 0.51)
    assert (np.abs(out.astype(int) - 128).max(1) == 127).all()


@pytest.mark.parametrize("columns", [1, 3, 150])
def test_softmax_in_bfloat16_is_torchs(columns):
    scores = (torch.randn(7, columns) * 5).bfloat16()
    bits, inverse = scores.clone().view(torch.uint16).numpy(), np.empty(7, np.float32)
    row_loops.softmax_without_sum(bits, inverse)
    found = torch.from_numpy(bits).view(torch.bfloat16).float() * torch.from_numpy(inverse)[:, None]
    np.testing.assert_allclose(found, torch.softmax(scores.float(), 1), atol=0.004)


def test_a_row_of_zeros_rounds_to_zero():
    out, scales = np.empty((1, 8), np.uint8), np.empty(1, np.float32)
    row_loops.round_rows(np.zeros((1, 8), np.float32), out, scales)
    assert (out == 128).all()
    assert np.isfinite(scales).all()
