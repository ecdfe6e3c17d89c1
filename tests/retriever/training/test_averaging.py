import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from tamis.index.errors import FormatError, InputError
from tamis.retriever import load_encoder
from tamis.retriever.models.head_kinds import HeadKind
from tamis.retriever.training.averaging import average_models
from tamis.retriever.training.config import EncoderConfig
from tamis.retriever.training.trainer import train


@pytest.fixture
def two(make_config, data_folder, tmp_path):
    """Two trainings of one base that differ by their rate."""
    folders = []
    for rate in (3e-3, 1e-3):
        config = make_config(
            optimiser={"rate": rate, "head_rate": rate, "table_rate": 3 * rate},
            run={"out": str(tmp_path / f"out-{rate}")},
        )
        folders.append(train(config, data_folder, device="cpu"))
    return folders


def test_a_soup_lies_halfway_between_two_models(two, tmp_path):
    soup = average_models(two, tmp_path / "soup")
    name = "cls.predictions.bias"
    first, second, mean = (load_file(str(one / "model.safetensors"))[name] for one in (*two, soup))
    assert np.abs(first - second).max() > 1e-4
    np.testing.assert_allclose(mean, (first + second) / 2, atol=1e-6)
    queries = [load_encoder(str(one), device="cpu").encode_queries(["the book"]) for one in two]
    (found,) = load_encoder(str(soup), device="cpu").encode_queries(["the book"]).to_dicts()
    (left,), (right,) = (one.to_dicts() for one in queries)
    for term, weight in found.items():
        assert weight == pytest.approx((left[term] * right[term]) ** 0.5, rel=1e-5)


def test_a_soup_of_one_is_that_model(two, tmp_path):
    soup = average_models(two[:1], tmp_path / "soup")
    before, after = (
        load_encoder(str(one), device="cpu").encode_documents(["ban bel"]) for one in (two[0], soup)
    )
    np.testing.assert_array_equal(before.to_scipy().toarray(), after.to_scipy().toarray())


def test_models_that_do_not_fit_are_refused(two, decoder_base, tmp_path):
    with pytest.raises(InputError, match="found no model"):
        average_models([], tmp_path / "soup")
    with pytest.raises(InputError, match="which exists"):
        average_models(two, two[0])
    with pytest.raises(FormatError, match="found no such file"):
        average_models([two[0], tmp_path / "none"], tmp_path / "soup")
    shutil.copy(decoder_base / "model.safetensors", two[1])
    with pytest.raises(FormatError, match="expected the tensors of"):
        average_models(two, tmp_path / "soup")
    assert not (tmp_path / "soup").exists()


def test_heads_and_query_models_are_averaged_too(make_config, data_folder, base, tmp_path):
    query = EncoderConfig(str(base), False, head=HeadKind.LINEAR)
    folders = []
    for rate in (3e-3, 1e-3):
        run = {"out": str(tmp_path / f"out-{rate}")}
        rates = {"rate": rate, "head_rate": rate}
        neural = {"query_table": False, "head": "gated"}
        config = make_config(model=neural, optimiser=rates, run=run)
        config = replace(config, model=replace(config.model, query=query))
        folders.append(train(config, data_folder, device="cpu"))
    soup = average_models(folders, tmp_path / "soup")
    for name in ("gate.safetensors", "query/sparse_linear.safetensors", "query/model.safetensors"):
        first, second, mean = (load_file(str(one / name)) for one in (*folders, soup))
        assert any(np.abs(first[key] - second[key]).max() > 1e-5 for key in first)
        for key, one in mean.items():
            np.testing.assert_allclose(one, (first[key] + second[key]) / 2, atol=1e-6)
