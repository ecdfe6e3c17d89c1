from dataclasses import replace

import numpy as np
import pytest

from tamis.index.errors import FormatError, InputError
from tamis.retriever import load_encoder
from tamis.retriever.training.config import EncoderConfig
from tamis.retriever.training.rounding import round_model
from tamis.retriever.training.trainer import train


def test_a_rounded_model_is_smaller_and_gives_nearly_the_same_vectors(
    make_config, data_folder, tmp_path
):
    folder = train(make_config(), data_folder, device="cpu")
    small = round_model(folder, tmp_path / "small", name="small", top_n=9)
    sizes = [(one / "model.safetensors").stat().st_size for one in (folder, small)]
    assert sizes[1] < 0.5 * sizes[0]
    texts = ["ban bel", "the can of cel", "dim"]
    whole, rounded = (load_encoder(str(one), device="cpu") for one in (folder, small))
    assert rounded.description.name == "small"
    vectors = rounded.encode_documents(texts)
    assert np.diff(vectors.offsets).max() <= 9
    expected = whole.encode_documents(texts).to_scipy().toarray()
    found = vectors.to_scipy().toarray()
    kept = found > 0
    np.testing.assert_allclose(found[kept], expected[kept], atol=0.05 * expected.max())
    queries = [one.encode_queries(["the book"]).to_scipy().toarray() for one in (whole, rounded)]
    np.testing.assert_array_equal(*queries)


def test_a_rounded_model_keeps_its_head_and_its_query_model(make_config, data_folder, tmp_path):
    config = make_config(model={"query_table": False, "head": "gated"})
    query = EncoderConfig(config.model.base, False)
    config = replace(config, model=replace(config.model, query=query))
    folder = train(config, data_folder, device="cpu")
    small = round_model(folder, tmp_path / "small")
    gates = [(one / "gate.safetensors").read_bytes() for one in (folder, small)]
    assert gates[0] == gates[1]
    queries = [
        load_encoder(str(one), device="cpu").encode_queries(["ban bel"]).to_scipy().toarray()
        for one in (folder, small)
    ]
    first, again = (row.ravel() / np.linalg.norm(row) for row in queries)
    assert first @ again > 0.995  # whatever arithmetic the processor is fast in


def test_what_is_no_trained_model_is_refused(tmp_path):
    with pytest.raises(FormatError, match=r"found no model\.safetensors"):
        round_model(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="found the same"):
        round_model(tmp_path, tmp_path)
