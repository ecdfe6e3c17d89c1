"""The neural encoder against sentence-transformers and plain transformers, and its own contract."""

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch
import transformers
from encoder_contract import EncoderContract
from safetensors.torch import load_file, save_file
from sentence_transformers import SparseEncoder as PeerEncoder

from tamis.index.errors import FormatError, InputError
from tamis.retriever.models.encoder import SparseEncoder, batches_by_length, load_encoder
from tamis.retriever.models.quantised_weights import save_quantised
from tamis.retriever.models.tokenizer import Tokenizer

TEXTS = tiny.TEXTS


def peer_vectors(folder, task, texts=TEXTS):
    """[rows, V] of sentence-transformers, special terms set to zero as no index wants them."""
    peer = PeerEncoder(str(folder), device="cpu")
    encode = peer.encode_query if task == "query" else peer.encode_document
    dense = encode(texts, convert_to_sparse_tensor=False).numpy().copy()
    dense[:, : len(tiny.SPECIAL)] = 0
    return dense


def assert_equals_peer(folder):
    encoder = load_encoder(str(folder), device="cpu")
    documents = encoder.encode_documents(TEXTS).to_scipy().toarray()
    np.testing.assert_allclose(documents, peer_vectors(folder, "document"), rtol=0, atol=1e-4)
    queries = encoder.encode_queries(TEXTS).to_scipy().toarray()
    np.testing.assert_allclose(queries, peer_vectors(folder, "query"), rtol=0, atol=1e-4)
    assert documents.max() > 0.5
    assert queries.max() > 0.5


@pytest.mark.parametrize("write", tiny.MASKED.values(), ids=tiny.MASKED)
def test_masked_language_models_equal_sentence_transformers(tmp_path, write):
    assert_equals_peer(write(tmp_path))


def test_an_untied_decoder_equals_sentence_transformers(tmp_path):
    assert_equals_peer(tiny.write_bert(tmp_path, tie_word_embeddings=False))


@pytest.mark.parametrize("old_types", [False, True], ids=["new types", "old types"])
@pytest.mark.parametrize(
    ("activation", "pooling"), [("relu", "max"), ("log1p_relu", "max"), ("relu", "sum")]
)
def test_sparse_encoder_folders_equal_sentence_transformers(
    tmp_path, old_types, activation, pooling
):
    folder = tiny.write_sentence_transformers(
        tmp_path, old_types=old_types, activation=activation, pooling=pooling
    )
    assert_equals_peer(folder)


@pytest.mark.parametrize("old_types", [False, True], ids=["new types", "old types"])
def test_inference_free_folders_equal_sentence_transformers(tmp_path, old_types):
    weights = tiny.idf_of_vocabulary(tiny.write_bert(tmp_path / "vocabulary"))
    assert_equals_peer(tiny.write_router(tmp_path / "m", old_types=old_types, weights=weights))


def test_a_folder_saved_by_sentence_transformers_itself_is_read(tmp_path):
    PeerEncoder(str(tiny.write_bert(tmp_path / "plain")), device="cpu").save(
        str(tmp_path / "saved")
    )
    assert_equals_peer(tmp_path / "saved")


@pytest.mark.parametrize("write", [tiny.write_llama, tiny.write_tied_qwen], ids=["Llama", "Qwen2"])
@pytest.mark.parametrize("scale", [1.0, 0.45])
def test_causal_language_models_equal_plain_transformers(tmp_path, write, scale):
    write(tmp_path)
    (tmp_path / "encoder.json").write_text(f'{{"logit_scale": {scale}}}')
    found = load_encoder(str(tmp_path), device="cpu").encode_documents(TEXTS)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    for i, text in enumerate(TEXTS):
        ids = tokenizer(text, return_tensors="pt", truncation=True)["input_ids"]
        with torch.no_grad():
            best = model(ids).logits[0].amax(0) * scale
        expected = torch.log1p(torch.relu(best)).numpy()
        expected[: len(tiny.SPECIAL)] = 0
        row = found.rows(i, i + 1).to_scipy().toarray()[0]
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-4)


def test_a_bidirectional_decoder_lets_early_tokens_see_late_ones(tmp_path):
    tiny.write_llama(tmp_path)
    (tmp_path / "encoder.json").write_text('{"bidirectional": true}')
    encoder = SparseEncoder.load(str(tmp_path), device="cpu")
    ids = torch.tensor([[2, 50, 60, 3], [2, 50, 70, 3]])
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        hidden = encoder.document_model(ids, mask)
    assert (hidden[0, 1] - hidden[1, 1]).abs().max() > 1e-2


def test_a_decoder_reads_left_to_right_unless_told_otherwise(tmp_path):
    encoder = SparseEncoder.load(str(tiny.write_llama(tmp_path)), device="cpu")
    ids = torch.tensor([[2, 50, 60, 3], [2, 50, 70, 3]])
    with torch.inference_mode():
        hidden = encoder.document_model(ids, torch.ones_like(ids))
    torch.testing.assert_close(hidden[0, 1], hidden[1, 1])


def test_a_model_that_changes_its_logits_after_the_head_is_refused(tmp_path):
    with pytest.raises(FormatError, match="changes them afterwards"):
        load_encoder(str(tiny.write_gemma2(tmp_path)), device="cpu")


def test_a_checkpoint_without_its_head_is_refused(tmp_path):
    """transformers would invent the missing weights at random and only warn."""
    tiny.write_bert(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("cls.")}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FormatError, match=r"found none for cls\.predictions"):
        load_encoder(str(tmp_path), device="cpu")


def test_weights_as_int8_rows_give_nearly_the_same_vectors(tmp_path):
    tiny.write_bert(tmp_path)
    whole = load_encoder(str(tmp_path), device="cpu").encode_documents(TEXTS)
    path = tmp_path / "model.safetensors"
    save_quantised({name: w.numpy() for name, w in load_file(path).items()}, path)
    side = load_encoder(str(tmp_path), device="cpu", arithmetic="float32").document_model
    rounded = [side.encode([ids]) for ids in tokens_of(tmp_path)]
    found = np.concatenate([row.to_scipy().toarray() for row in rounded])
    error = np.abs(found - whole.to_scipy().toarray())
    assert 1e-5 < error.mean() < 0.03


def tokens_of(folder):
    return Tokenizer.load(folder, tiny.MAX_LENGTH).document_ids(TEXTS)


def test_a_head_without_activation_is_for_bert_alone(tmp_path):
    tiny.write_distilbert(tmp_path)
    (tmp_path / "encoder.json").write_text('{"linear_head": true}')
    with pytest.raises(FormatError, match="expected a BERT model for linear_head"):
        load_encoder(str(tmp_path), device="cpu")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_an_adapter_equals_the_merged_model(tmp_path):
    from peft import LoraConfig, PeftModel, get_peft_model

    base = tiny.write_llama(tmp_path / "base")
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(3)
    lora = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(model, lora).save_pretrained(tmp_path / "adapter")
    plain = transformers.AutoModelForCausalLM.from_pretrained(base)
    merged = PeftModel.from_pretrained(plain, str(tmp_path / "adapter")).merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "merged" / name).write_bytes((base / name).read_bytes())
    folders = [tmp_path / name for name in ("adapter", "merged", "base")]
    with_adapter, with_merged, without = (
        load_encoder(str(f), device="cpu").encode_documents(TEXTS).to_scipy().toarray()
        for f in folders
    )
    np.testing.assert_allclose(with_adapter, with_merged, rtol=0, atol=1e-4)
    assert np.abs(with_adapter - without).max() > 0.1


def test_token_weights_are_the_largest_score_of_each_token(tmp_path):
    tiny.write_xlm_roberta(tmp_path)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    torch.manual_seed(5)
    model = transformers.AutoModel.from_config(config).eval()
    model.save_pretrained(tmp_path)
    linear = torch.nn.Linear(config.hidden_size, 1)
    save_file(linear.state_dict(), str(tmp_path / "sparse_linear.safetensors"))
    encoder = load_encoder(str(tmp_path), device="cpu")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    found = encoder.encode_documents(TEXTS).to_dicts()
    assert sum(map(len, found)) > 10
    for text, row in zip(TEXTS, found, strict=True):
        inputs = tokenizer(text, return_tensors="pt", truncation=True)
        with torch.no_grad():
            scores = torch.relu(linear(model(inputs["input_ids"])[0]))[0, :, 0]
        expected: dict[int, float] = {}
        for term, score in zip(inputs["input_ids"][0].tolist(), scores.tolist(), strict=True):
            if term >= len(tiny.SPECIAL) and score > 0:
                expected[term] = max(score, expected.get(term, 0.0))
        assert row == pytest.approx(expected, abs=1e-5)


def test_only_the_heaviest_terms_are_kept_where_the_model_says_so(tmp_path):
    tiny.write_bert(tmp_path)
    everything = load_encoder(str(tmp_path), device="cpu").encode_documents(TEXTS)
    (tmp_path / "encoder.json").write_text('{"top_n": 9}')
    heaviest = load_encoder(str(tmp_path), device="cpu").encode_documents(TEXTS)
    for i in range(len(TEXTS)):
        assert len(heaviest.row(i)[0]) == 9
        assert heaviest.row(i)[1].min() >= np.sort(everything.row(i)[1])[-9]


def test_a_prompt_stands_before_every_text(tmp_path):
    tiny.write_sentence_transformers(tmp_path, old_types=False)
    settings = '{"model_type": "SparseEncoder", "prompts": {"query": "one two ", "document": ""}}'
    (tmp_path / "config_sentence_transformers.json").write_text(settings)
    encoder = load_encoder(str(tmp_path), device="cpu")
    prompted, plain = encoder.encode_queries(["sieve"]), encoder.encode_documents(["one two sieve"])
    np.testing.assert_array_equal(prompted.weights, plain.weights)


def test_separate_query_and_document_models_are_both_used(tmp_path):
    tiny.write_bert(tmp_path)
    tiny.write_bert(tmp_path / "query", initializer_range=0.8)
    encoder = load_encoder(str(tmp_path), device="cpu")
    alone = load_encoder(str(tmp_path / "query"), device="cpu")
    np.testing.assert_array_equal(
        encoder.encode_queries(TEXTS).weights, alone.encode_documents(TEXTS).weights
    )
    assert encoder.encode_queries(TEXTS).nnz != encoder.encode_documents(TEXTS).nnz


def test_many_windows_of_texts_keep_their_order(tmp_path, monkeypatch):
    encoder = load_encoder(str(tiny.write_bert(tmp_path)), device="cpu")
    whole = encoder.encode_documents(TEXTS)
    monkeypatch.setattr("tamis.retriever.models.encoder.WINDOW_TEXTS", 2)
    windows = encoder.encode_documents(TEXTS)
    np.testing.assert_array_equal(whole.offsets, windows.offsets)
    np.testing.assert_allclose(whole.weights, windows.weights, atol=1e-5)


def test_batches_hold_every_text_once_and_keep_the_budget():
    lengths = [5, 0, 31, 7, 0, 7, 200, 1]
    batches = list(batches_by_length(lengths, budget=32))
    assert sorted(i for batch in batches for i in batch) == list(range(8))
    assert batches[0] == [6]  # longer than the budget: alone
    for batch in batches[1:]:
        assert max(lengths[i] for i in batch) * len(batch) <= 32
        assert len({lengths[i] > 0 for i in batch}) == 1


def test_a_device_that_is_not_there_is_one_clear_error(tmp_path):
    tiny.write_bert(tmp_path)
    with pytest.raises(InputError, match="expected a device"):
        load_encoder(str(tmp_path), device="abacus")


class TestContractOfASymmetricModel(EncoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, tmp_path_factory):
        return load_encoder(str(tiny.write_bert(tmp_path_factory.mktemp("bert"))), device="cpu")


class TestContractOfAnInferenceFreeModel(EncoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("router")
        weights = tiny.idf_of_vocabulary(tiny.write_bert(folder / "vocabulary"))
        return load_encoder(
            str(tiny.write_router(folder / "m", old_types=False, weights=weights)), device="cpu"
        )


class TestContractOfACausalModel(EncoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, tmp_path_factory):
        return load_encoder(str(tiny.write_llama(tmp_path_factory.mktemp("llama"))), device="cpu")
