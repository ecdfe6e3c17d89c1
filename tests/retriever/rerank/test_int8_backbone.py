"""A reranker's int8 rows, multiplied as they are, give what they give in float32, within bounds."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from tiny_rerankers import SIZES, texts, write_reranker

from tamis.index.errors import InputError
from tamis.kernels.int8 import multiplies_int8
from tamis.retriever.models import arithmetic
from tamis.retriever.models.int8_bert import Int8Bert, Tensors
from tamis.retriever.models.quantised_weights import load_quantised, save_quantised
from tamis.retriever.models.tensor_files import load_arrays
from tamis.retriever.rerank.backbone import Backbone
from tamis.retriever.rerank.block_reranker import BlockReranker
from tamis.retriever.rerank.int8_backbone import Int8Backbone
from tamis.retriever.rerank.layout import Block, BlockLayout, BlockSizes
from tamis.retriever.rerank.loading import load_reranker

CPU, FILE = torch.device("cpu"), "model.safetensors"
QUERY, DOCUMENTS = texts()
in_int8 = pytest.mark.skipif(not multiplies_int8(), reason="this processor has no int8 products")


def rows_of_ids(rng, most, count):
    return [rng.integers(5, 60, rng.integers(1, most + 1)).tolist() for _ in range(count)]


def random_lists(seed, documents=7):
    rng = np.random.default_rng(seed)
    return [
        Block(prefix, rows_of_ids(rng, SIZES["document"], documents), query, min(2, len(query)))
        for prefix, query in zip(
            rows_of_ids(rng, SIZES["prefix"], 3), rows_of_ids(rng, SIZES["query"], 3), strict=True
        )
    ]


@pytest.fixture(scope="module")
def rounded(tmp_path_factory):
    """A tiny BERT's weights as int8 rows."""
    folder = tmp_path_factory.mktemp("rounded")
    model = transformers.BertModel.from_pretrained(write_reranker(folder, "bert"))
    weights = {name: weight.numpy() for name, weight in model.state_dict().items()}
    (folder / "rows").mkdir()
    save_quantised(weights, folder / "rows" / FILE)
    return folder


def both(folder, reads_from, layer=2):
    """The same rounded weights in int8 products and in float32."""
    config = transformers.BertConfig.from_pretrained(folder)
    model = transformers.BertModel(config)
    stored = load_quantised(folder / "rows" / FILE)
    model.load_state_dict({name: torch.from_numpy(weight) for name, weight in stored.items()})
    tensors = Tensors(load_arrays(folder / "rows" / FILE), config.layer_norm_eps)
    bert = Int8Bert.of(tensors, layer + 1, config.num_attention_heads, torch.float32)
    return Int8Backbone(bert, reads_from), Backbone(model.eval(), layer, reads_from)


@in_int8
@pytest.mark.parametrize("reads_from", [0, 1, 2])
def test_mass_is_that_of_float32_within_a_bound(rounded, reads_from):
    ours, theirs = both(rounded, reads_from)
    for seed in range(3):
        layout = BlockLayout.pack(random_lists(seed), BlockSizes(**SIZES))
        with torch.inference_mode():
            found, wanted = ours(layout), theirs(layout)
        assert found.shape == wanted.shape
        away = found - wanted
        assert away.abs().max() < 0.1 * wanted.std()
        assert away.std() < 0.03 * wanted.std()


@in_int8
@pytest.mark.parametrize("reads_from", [1, 2])
def test_held_documents_score_as_if_they_were_read(rounded, reads_from):
    ours, _ = both(rounded, reads_from)
    (one, *_), sizes = random_lists(4), BlockSizes(**SIZES)
    alone = Block(one.prefix, [], one.query, one.signals)
    with torch.inference_mode():
        held = ours.document_keys(BlockLayout.pack([one], sizes))
        found = ours.with_held(BlockLayout.pack([alone], sizes), held)
        wanted = ours(BlockLayout.pack([one], sizes))
    torch.testing.assert_close(found, wanted, atol=2e-2, rtol=0)


@in_int8
@pytest.mark.long
def test_the_bundled_one_keeps_scores_within_a_bound(monkeypatch):
    monkeypatch.setenv("TAMIS_ARITHMETIC", "int8")
    ours = BlockReranker(load_reranker("default", CPU))
    assert isinstance(ours.parts.backbone, Int8Backbone)
    theirs = BlockReranker(load_reranker("default", CPU, torch.float32))
    found, wanted = (one.score(QUERY, DOCUMENTS) for one in (ours, theirs))
    assert np.abs(found - wanted - (found - wanted).mean()).max() < 0.3
    assert found.argmax() == wanted.argmax()


@in_int8
@pytest.mark.long
def test_batches_under_way_at_once_change_no_bit(monkeypatch):
    monkeypatch.setenv("TAMIS_ARITHMETIC", "int8")
    one = BlockReranker(load_reranker("default", CPU), batch_tokens=60)
    scores = []
    for lanes in (1, 3):
        monkeypatch.setattr(Int8Backbone, "lanes", lanes)
        scores.append(one.score(QUERY, DOCUMENTS))
    np.testing.assert_array_equal(*scores)


@in_int8
@pytest.mark.long
def test_the_bundled_one_runs_without_transformers():
    program = (
        "import sys; from tamis.retriever import BlockReranker\n"
        "one = BlockReranker.from_pretrained(device='cpu')\n"
        "assert one.score('a sieve', ['a drum sieve', 'tea']).argmax() == 0\n"
        "assert 'transformers' not in sys.modules"
    )
    env = os.environ | {"TAMIS_ARITHMETIC": "int8"}
    subprocess.run([sys.executable, "-c", program], check=True, env=env)


def test_what_is_asked_for_is_taken_or_refused(monkeypatch):
    monkeypatch.setenv("TAMIS_ARITHMETIC", "int9")
    with pytest.raises(InputError, match="float32, bfloat16, int8 as arithmetic, found 'int9'"):
        load_reranker("default", CPU)
    monkeypatch.setenv("TAMIS_ARITHMETIC", "int8")
    monkeypatch.setattr(arithmetic, "multiplies_int8", lambda: False)
    with pytest.raises(InputError, match="found none on cpu here; use float32 or bfloat16"):
        load_reranker("default", CPU)


def test_models_of_other_folders_run_in_floats(rounded, monkeypatch):
    monkeypatch.setenv("TAMIS_ARITHMETIC", "int8")
    assert load_reranker(str(rounded), CPU).backbone.dtype in (torch.float32, torch.bfloat16)
    monkeypatch.setenv("TAMIS_ARITHMETIC", "float32")
    assert load_reranker(str(rounded), CPU).backbone.dtype == torch.float32
