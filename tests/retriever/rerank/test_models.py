"""Unforked models with block attention against the same models with dense masks."""

import functools

import numpy as np
import pytest
import torch
import transformers
from block_lists import dense_mask
from tiny_rerankers import ARCHITECTURES, texts, write_reranker

from tamis.index.errors import FormatError, InputError
from tamis.retriever.rerank.backbone import Backbone, default_scoring_layer
from tamis.retriever.rerank.layout import BlockLayout
from tamis.retriever.rerank.loading import load_reranker

QUERY, DOCUMENTS = texts()
CPU = torch.device("cpu")


def load(folder, architecture, **settings):
    return load_reranker(str(write_reranker(folder, architecture, **settings)), CPU, torch.float32)


def pack(parts, *lists, conditioning="query"):
    blocks = [parts.prompts.build(query, documents, conditioning) for query, documents in lists]
    return BlockLayout.pack(blocks, parts.prompts.sizes)


def dense_shares(folder, layout, scoring_layer):
    """Shares of attention by a plain eager model that is given masks and positions."""
    model = transformers.AutoModel.from_pretrained(
        folder, attn_implementation="eager", local_files_only=True
    ).eval()
    causal = model.config.model_type not in ("bert", "modernbert")

    def additive(**options):
        mask = dense_mask(layout.bounds, layout.lists, causal=causal, **options)
        return torch.zeros(mask.shape).masked_fill(~mask, torch.finfo().min)[None, None]

    masks = additive()
    if model.config.model_type == "modernbert":
        masks = {"full_attention": masks, "sliding_attention": additive(window=4)}
    options = {"use_cache": False} if causal else {}
    with torch.inference_mode():
        weights = model(
            input_ids=torch.from_numpy(layout.ids)[None],
            position_ids=torch.from_numpy(layout.positions)[None],
            attention_mask=masks,
            output_attentions=True,
            **options,
        ).attentions[scoring_layer][0]  # [heads, tokens, tokens]
    shares = []
    for s0, s1, k0, k1 in layout.segments.tolist():
        shares.append(weights[:, s0:s1, k0:k1].sum(-1).T)
    return torch.stack(shares)  # [documents, signals, heads]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shares_equal_those_of_the_same_model_under_a_dense_mask(tmp_path, architecture):
    parts = load(tmp_path, architecture)
    layout = pack(parts, (QUERY, DOCUMENTS))
    with torch.inference_mode():
        found = parts.backbone(layout).softmax(0)
    wanted = dense_shares(tmp_path, layout, 2)
    torch.testing.assert_close(found, wanted / wanted.sum(0), rtol=0, atol=1e-5)
    assert found.amax(0).mean() > 1.2 / len(DOCUMENTS)  # far from even


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_another_query_or_document_leaves_a_document_bit_identical(tmp_path, architecture):
    parts = load(tmp_path, architecture)
    seen = []
    layers = parts.backbone.model
    layers = layers.encoder.layer if architecture == "bert" else layers.layers
    layers[1].register_forward_hook(lambda *call: seen.append(first(call[-1])[0]))
    lists = [(QUERY, DOCUMENTS), (QUERY, DOCUMENTS), ("twelve", DOCUMENTS)]
    layouts = [pack(parts, one, conditioning="none") for one in lists]
    replaced = slice(*layouts[1].bounds[1:3])
    layouts[1].ids[replaced] = layouts[1].ids[replaced][::-1].copy()
    with torch.inference_mode():
        for layout in layouts:
            parts.backbone(layout)
    spans = layouts[0].bounds
    assert torch.equal(seen[0][spans[2] : spans[-2]], seen[1][spans[2] : spans[-2]])
    assert not torch.equal(seen[0][spans[1] : spans[2]], seen[1][spans[1] : spans[2]])
    torch.testing.assert_close(seen[0][: spans[-2]], seen[2][: spans[-2]], rtol=0, atol=1e-6)


def first(output):
    return output[0] if isinstance(output, tuple) else output


@pytest.mark.parametrize("architecture", ["bert", "mistral"])
def test_permuting_documents_permutes_scores_and_full_attention_would_not(tmp_path, architecture):
    parts = load(tmp_path, architecture)
    order = [3, 0, 4, 2, 1]
    layouts = [
        pack(parts, (QUERY, documents)) for documents in (DOCUMENTS, [DOCUMENTS[i] for i in order])
    ]
    with torch.inference_mode():
        straight, permuted = (parts.backbone(layout) for layout in layouts)
    torch.testing.assert_close(straight[order], permuted, rtol=0, atol=1e-5)
    model = transformers.AutoModel.from_pretrained(
        tmp_path, attn_implementation="eager", local_files_only=True
    ).eval()
    control = []
    for layout in layouts:
        ids = torch.from_numpy(layout.ids)[None]
        options = {"use_cache": False}
        if architecture == "bert":  # the list is longer than its positions
            positions = torch.arange(ids.shape[1])[None] % model.config.max_position_embeddings
            options = {"position_ids": positions, "token_type_ids": torch.zeros_like(ids)}
        with torch.inference_mode():  # one text from end to end, as a language model reads it
            weights = model(input_ids=ids, output_attentions=True, **options).attentions[2][0]
        control.append(
            torch.stack([weights[:, a:b, c:d].sum((0, 1, 2)) for a, b, c, d in layout.segments])
        )
    assert not torch.allclose(control[0][order], control[1], rtol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_ragged_batch_gives_what_each_list_gives_alone(tmp_path, architecture):
    parts = load(tmp_path, architecture)
    lists = [(QUERY, DOCUMENTS), ("coarse", DOCUMENTS[:1]), ("a", DOCUMENTS[2:4])]
    with torch.inference_mode():
        together = parts.backbone(pack(parts, *lists))
        alone = torch.cat([parts.backbone(pack(parts, one)) for one in lists])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("reads_from", [0, 1, 2])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_stored_keys_give_the_scores_of_a_full_forward(tmp_path, architecture, reads_from):
    parts = load(tmp_path, architecture, reads_from=reads_from)
    whole = pack(parts, (QUERY, DOCUMENTS), conditioning="none")
    with torch.inference_mode():
        held = parts.backbone.document_keys(pack(parts, ("", DOCUMENTS), conditioning="none"))
        alone = pack(parts, (QUERY, ()), conditioning="none")
        found = parts.backbone.with_held(alone, held)
        wanted = parts.backbone(whole)
    assert set(held.layers) == set(range(reads_from, 3))
    assert held.layers[2][1] is None  # the scoring layer needs no values
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    worse = {layer: (keys + 0.1, values) for layer, (keys, values) in held.layers.items()}
    with torch.inference_mode():
        changed = parts.backbone.with_held(alone, held._replace(layers=worse))
    assert not torch.allclose(changed, wanted, atol=1e-3)


@pytest.mark.parametrize("architecture", ["mistral", "bert", "llama in float8"])
@pytest.mark.long
def test_compiled_layers_give_the_same_scores_at_any_length(tmp_path, architecture, monkeypatch):
    # The tracer alone: machine code would take half a minute an architecture here.
    compiled = functools.partial(torch.compile, backend="eager", fullgraph=True)
    monkeypatch.setattr(torch, "compile", compiled)
    torch._dynamo.reset()
    parts = load(tmp_path, architecture.split()[0])
    if "float8" in architecture:
        parts.backbone.use_float8()
    layouts = [pack(parts, (QUERY, DOCUMENTS[:count])) for count in (5, 3, 4)]
    counters = torch._dynamo.utils.counters
    with torch.inference_mode():
        wanted = [parts.backbone(layout) for layout in layouts]
        parts.backbone.compile_layers()
        graphs = []
        for layout, scores in zip(layouts, wanted, strict=True):
            torch.testing.assert_close(parts.backbone(layout), scores, rtol=0, atol=1e-5)
            graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[0] > 0
    assert graphs[0] == graphs[-1]
    alone = pack(parts, (QUERY, ()), conditioning="none")
    with torch.inference_mode():
        held = parts.backbone.document_keys(pack(parts, ("", DOCUMENTS), conditioning="none"))
        found = parts.backbone.with_held(alone, held)
        whole = parts.backbone(pack(parts, (QUERY, DOCUMENTS), conditioning="none"))
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)


def test_nothing_after_the_scoring_layer_is_kept_or_run(tmp_path):
    parts = load(tmp_path, "llama")
    assert len(parts.backbone.model.layers) == 3
    ran = []
    parts.backbone.model.layers[2].mlp.register_forward_hook(lambda *_: ran.append(1))
    with torch.inference_mode():
        early = parts.backbone(pack(parts, (QUERY, DOCUMENTS)))
    assert not ran
    whole = transformers.AutoModel.from_pretrained(tmp_path, local_files_only=True)
    deep = Backbone(whole.eval(), 2)
    with torch.inference_mode():
        torch.testing.assert_close(deep(pack(parts, (QUERY, DOCUMENTS))), early)


def test_gradients_reach_the_first_layer(tmp_path):
    parts = load(tmp_path, "bert")
    parts.backbone(pack(parts, (QUERY, DOCUMENTS))).softmax(0)[0].sum().backward()
    layers = parts.backbone.model.encoder.layer
    assert layers[0].attention.self.query.weight.grad.abs().sum() > 0
    assert layers[2].attention.self.key.weight.grad.abs().sum() > 0
    assert layers[2].output.dense.weight.grad is None


def test_other_architectures_are_refused_with_the_list_of_those_supported(tmp_path):
    config = transformers.GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=9)
    transformers.GPT2Model(config).save_pretrained(tmp_path)
    with pytest.raises(FormatError, match="bert, llama, mistral, modernbert, qwen3, found gpt2"):
        load_reranker(str(tmp_path), CPU, torch.float32)


def test_a_local_layer_cannot_give_scores(tmp_path):
    with pytest.raises(InputError, match="reads globally, found layer 1"):
        load(tmp_path, "modernbert", scoring_layer=1)


def test_the_default_scoring_layer_is_two_thirds_up(tmp_path):
    assert default_scoring_layer(transformers.MistralConfig()) == 20
    assert default_scoring_layer(transformers.ModernBertConfig(num_hidden_layers=22)) in (12, 15)


def test_layouts_place_every_kind_of_block_at_its_own_position(tmp_path):
    parts = load(tmp_path, "bert")
    short, long = (
        pack(parts, (query, DOCUMENTS), conditioning="none") for query in ("a", QUERY * 2)
    )
    documents = slice(int(short.bounds[1]), int(short.bounds[-2]))
    assert np.array_equal(short.positions[documents], long.positions[documents])
    starts = short.positions[short.bounds[:-1]].tolist()
    assert starts == [0, 24, 24, 24, 24, 24, 64]
    assert short.positions.max() < 96
