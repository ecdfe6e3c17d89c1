"""Sparse autoencoders over dense encoders give what sentence-transformers gives."""

import json

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SparseEncoder
from tiny_autoencoder import write_autoencoder

from tamis.index.errors import FormatError
from tamis.retriever import load_encoder
from tamis.retriever.editor import Editor, create_index
from tamis.retriever.models.code_head import embed
from tamis.retriever.models.description import read_checkpoint
from tamis.retriever.searcher import Searcher
from tamis.retriever.types import Passage
from tamis.retriever.vocabulary import Latents


def codes_of(folder, texts=tiny.TEXTS):
    encoder = load_encoder(str(folder), device="cpu", arithmetic="float32")
    return encoder.encode_documents(texts).to_scipy().toarray()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("body", [tiny.write_bert, tiny.write_modern_bert])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
def test_codes_equal_those_of_sentence_transformers(tmp_path, pooling, body, scaled, normalize):
    folder = write_autoencoder(
        tmp_path, body=body, pooling=pooling, scaled=scaled, normalize=normalize
    )
    theirs = SparseEncoder(str(folder), device="cpu")
    expected = theirs.encode_document(tiny.TEXTS, convert_to_sparse_tensor=False).numpy()
    found = codes_of(folder)
    assert found.shape == expected.shape == (len(tiny.TEXTS), 64)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert ((found > 0).sum(1) <= 5).all()
    assert (found > 0).any()


def test_a_code_is_what_the_paper_says(tmp_path):
    """The k largest of relu(W (x - b) + c), written out for one text."""
    folder = write_autoencoder(tmp_path)
    weights = load_file(str(folder / "3_SparseAutoEncoder" / "model.safetensors"))
    matrix = weights["decoder.linear.weight"].double().numpy()
    model = SparseEncoder(str(folder), device="cpu")
    features = model.preprocess([tiny.TEXTS[0]])
    for module in list(model)[:3]:
        features = module(features)
    x = features["sentence_embedding"][0].detach().double().numpy()
    latents = matrix @ (x - weights["pre_bias"].double().numpy())
    latents = np.maximum(latents + weights["latent_bias"].double().numpy(), 0)
    latents[np.argsort(-latents)[5:]] = 0
    np.testing.assert_allclose(codes_of(folder)[0], latents, rtol=0, atol=1e-5)


def test_the_model_keeps_as_many_latents_as_its_folder_states(tmp_path):
    folder = write_autoencoder(tmp_path, k=20)
    path = folder / "config_sentence_transformers.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps(stated | {"max_active_dims": 3}))
    assert (codes_of(folder) > 0).sum(1).max() == 3
    path.write_text(json.dumps(stated | {"max_active_dims": None}))
    assert 3 < (codes_of(folder) > 0).sum(1).max() <= 20


def test_an_embedding_is_the_mean_or_the_first_of_its_tokens():
    hidden = torch.tensor([[3.0, 4.0], [1.0, 0.0], [3.0, 2.0], [5.0, 4.0]])
    offsets = torch.tensor([0, 1, 4])
    mean = embed(hidden, offsets, "mean", scaled=False)
    assert mean.tolist() == [[3.0, 4.0], [3.0, 2.0]]
    assert embed(hidden, offsets, "cls", scaled=False).tolist() == [[3.0, 4.0], [1.0, 0.0]]
    scaled = embed(hidden, offsets, "mean", scaled=True)
    np.testing.assert_allclose(scaled[0], [0.6, 0.8], rtol=1e-6)


def test_an_embedding_of_zero_has_an_empty_row():
    from tamis.retriever.models.code_head import CodeHead
    from tamis.retriever.models.sides import Code

    code = Code(None, 8, "mean", scaled=True, standardised=True)
    zero = torch.nn.Parameter
    head = CodeHead(code, zero(torch.ones(6, 4)), zero(torch.zeros(6)), zero(torch.zeros(4)))
    mask = torch.ones(1, 3, dtype=torch.long)
    assert head.pool(torch.zeros(1, 3, 4), mask, mask).tolist() == [[0.0] * 6]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("body", [tiny.write_bert, tiny.write_modern_bert])
def test_blank_texts_among_others_have_empty_rows(tmp_path, pooling, body):
    folder = write_autoencoder(tmp_path, body=body, pooling=pooling)
    texts = ["", tiny.TEXTS[0], " ", tiny.TEXTS[1], "\n"]
    found = codes_of(folder, texts)
    assert not found[::2].any()
    theirs = SparseEncoder(str(folder), device="cpu")
    expected = theirs.encode_document(texts[1::2], convert_to_sparse_tensor=False).numpy()
    np.testing.assert_allclose(found[1::2], expected, rtol=0, atol=1e-5)


def test_search_is_the_product_of_codes_and_is_explained_by_latents(tmp_path):
    folder = write_autoencoder(tmp_path, k=20)
    texts = [text for text in tiny.TEXTS if len(text) < 200]
    passages = [Passage(str(at), text) for at, text in enumerate(texts)]
    encoder = load_encoder(str(folder), device="cpu", arithmetic="float32")
    create_index(tmp_path / "index", encoder=encoder, lexical=None)
    with Editor.open(tmp_path / "index", encoder=encoder) as editor:
        editor.put(passages, wait="searchable")
    codes = codes_of(folder, texts).astype(np.float64)
    query = codes[4]
    searcher = Searcher.open(tmp_path / "index")
    (found,) = searcher.search([texts[4]], k=3, recall=None, explain=True)
    hits = found.hits
    best = np.argsort(-(codes @ query), kind="stable")[:3]
    assert [hit.doc_id for hit in hits] == [str(at) for at in best]
    for hit in hits:
        assert hit.score == pytest.approx(codes[int(hit.doc_id)] @ query, rel=1e-5)
        assert sum(term.contribution for term in hit.matched_terms) == pytest.approx(
            hit.score, rel=1e-5
        )
        assert all(term.term == f"~{int(term.term[1:]):02}" for term in hit.matched_terms)


def test_latents_are_printed_with_as_many_digits_and_read_back():
    latents = Latents(1000)
    assert [latents.name(term) for term in (0, 7, 999)] == ["~000", "~007", "~999"]
    assert [latents.term(name) for name in ("~000", "~007", "~999")] == [0, 7, 999]
    for other in ("~7", "~0007", "~1000", "007", "=007", "~", "~\u0660\u0660\u0667", "", "~00a"):
        assert latents.term(other) is None
    assert latents.terms_of("~007") == set()


def test_fingerprints_differ_by_weights_and_pooling(tmp_path):
    folder = write_autoencoder(tmp_path)
    first = read_checkpoint(str(folder)).description.fingerprint
    assert read_checkpoint(str(folder)).description.fingerprint == first
    pooling = folder / "1_Pooling" / "config.json"
    stated = pooling.read_text()
    pooling.write_text(stated.replace("mean", "cls"))
    assert read_checkpoint(str(folder)).description.fingerprint != first
    pooling.write_text(stated)
    path = folder / "3_SparseAutoEncoder" / "model.safetensors"
    weights = load_file(str(path))
    save_file(weights | {"pre_bias": weights["pre_bias"] + 1}, str(path))
    assert read_checkpoint(str(folder)).description.fingerprint != first


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"k": 65}, "expected k, the latents of a text, of at most the 64 there are, found 65"),
        ({"hidden_dim": 63}, "expected a matrix of 63 rows"),
        ({"activation": "identity"}, "activation"),
    ],
)
def test_what_is_no_such_autoencoder_is_refused(tmp_path, change, said):
    folder = write_autoencoder(tmp_path)
    path = folder / "3_SparseAutoEncoder" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FormatError, match=said):
        load_encoder(str(folder), device="cpu")


def test_a_missing_weight_is_told_by_name(tmp_path):
    folder = write_autoencoder(tmp_path)
    path = folder / "3_SparseAutoEncoder" / "model.safetensors"
    weights = load_file(str(path))
    del weights["latent_bias"]
    save_file(weights, str(path))
    with pytest.raises(FormatError, match="latent_bias"):
        load_encoder(str(folder), device="cpu")


def test_an_autoencoder_over_other_modules_is_refused(tmp_path):
    folder = write_autoencoder(tmp_path)
    path = folder / "modules.json"
    path.write_text(path.read_text().replace("Normalize", "Dense"))
    with pytest.raises(FormatError, match="found Transformer, Pooling, Dense"):
        load_encoder(str(folder), device="cpu")
