"""Every recipe, cut down to a tiny model and collection, learns it by heart."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SparseEncoder

from tamis.retriever import load_encoder
from tamis.retriever.training.config import SourceConfig
from tamis.retriever.training.read_config import read_config
from tamis.retriever.training.trainer import train

RECIPES = Path(__file__).parents[3] / "scripts" / "recipes" / "training"
STEPS = 110


def cut_down(recipe, base, collection, out):
    """A recipe's model, losses and sparsity, over a tiny base and a tiny collection."""
    config = read_config(RECIPES / f"{recipe}.toml")
    change = dataclasses.replace
    return change(
        config,
        data=change(
            config.data, sources=(SourceConfig(collection),), dev=(f"{collection}:dev",),
            invented_queries=0, passage_tokens=16, query_tokens=8, prepared=str(out / "prepared"),
        ),
        model=change(config.model, base=str(base), lora_rank=min(8, config.model.lora_rank)),
        batch=change(config.batch, passages=24, queries=24, cluster=0, chunk=12),
        mining=change(config.mining, dense=False, depth=8, every=min(50, config.mining.every)),
        # a random base is no teacher: what is judged stands for the ensemble
        loss=change(config.loss, dense=0.0, bm25=0.0, judged=1.0, scale=8.0),
        lexical=change(config.lexical, weight=0.0),
        sparsity=change(config.sparsity, weight=1e-4, target_terms=0),
        optimiser=change(
            config.optimiser, steps=STEPS, rate=3e-3, head_rate=3e-3, table_rate=1e-2,
            warmup_steps=5, averaging=0.9, start_share=0.0,
        ),
        run=change(
            config.run, out=str(out), log_steps=STEPS, save_steps=STEPS, dev_steps=STEPS,
            compiled=False,
        ),
    )  # fmt: skip


def dev_scores(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [max(line["dev"]["mean"].values()) for line in lines if "dev" in line]


def assert_sentence_transformers_agree(folder, other):
    ours, theirs = load_encoder(str(folder), device="cpu"), SparseEncoder(str(other), device="cpu")
    texts = ["the book of ban", "the cel can"]
    for own, encode in (
        (ours.encode_documents(texts), theirs.encode_document),
        (ours.encode_queries(texts), theirs.encode_query),
    ):
        found = encode(texts, convert_to_sparse_tensor=False).numpy()
        np.testing.assert_allclose(found, own.to_scipy().toarray(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("recipe", "collection", "before", "after"),
    [
        ("splade", "topics", 0.3, 0.7),
        ("splade_v1", "topics", 0.3, 0.8),
        ("inference_free", "topics", 0.3, 0.7),
        ("sparterm", "topics", 0.3, 0.65),
        ("unicoil", "places", 0.9, 0.98),
        ("deepimpact", "places", 0.9, 0.98),
        ("echo", "topics", 0.3, 0.8),
        ("default", "topics", 0.3, 0.7),
    ],
)
@pytest.mark.long
def test_a_recipe_learns_a_collection_by_heart(
    recipe, collection, before, after, base, decoder_base, data_folder, tmp_path
):
    config = cut_down(
        recipe, decoder_base if recipe == "echo" else base, collection, tmp_path / "out"
    )
    folder = train(config, data_folder, device="cpu")
    scores = dev_scores(tmp_path / "out")
    assert scores[0] < before
    assert scores[-1] > after
    if config.run.sentence_transformers:
        assert_sentence_transformers_agree(folder, tmp_path / "out" / "sentence-transformers")
    encoder = load_encoder(str(folder), device="cpu")
    queries = encoder.encode_queries(["the book", "the cook"]).to_scipy()
    texts = ["the book of cook", "the cook of book"] if collection == "places" else []
    texts = texts or ["the ban of bel ban", "the can of cel can"]
    found = (queries @ encoder.encode_documents(texts).to_scipy().T).toarray()
    assert (np.argmax(found, axis=1) == [0, 1]).all()
