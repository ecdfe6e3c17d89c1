"""What a training writes loads, and is what was trained; of every family that can be trained."""

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch
from safetensors.torch import load_file, save_file

from tamis.index.errors import FormatError
from tamis.retriever import load_encoder
from tamis.retriever.models.inventory import ModelWarning
from tamis.retriever.training.export import export_model
from tamis.retriever.training.student import load_student

TEXTS = tiny.TEXTS[:3]
MASKED = (
    "Bert", "Roberta", "XLMRoberta", "Camembert", "Albert", "DistilBert", "MPNet", "Electra",
    "Ernie", "Deberta", "DebertaV2", "RoFormer", "ConvBert", "BigBird", "LayoutLM", "MegatronBert",
    "RemBert", "ModernBert", "EuroBert",
)  # fmt: skip
CAUSAL = ("Llama", "Mistral", "Qwen3", "Gemma", "OPT", "GPTNeoX", "Phi3", "Granite", "Olmo")
FAMILIES = [(one, "MaskedLM") for one in MASKED] + [(one, "CausalLM") for one in CAUSAL]


def moved_student(config):
    """A student as after a training: every parameter that is trained is another number."""
    student = load_student(config, torch.device("cpu"))
    torch.manual_seed(5)
    with torch.no_grad():
        for one in student.parameters():
            if one.requires_grad:
                one += 0.05 * torch.randn_like(one)
    return student.eval()


def vectors(student, model, texts):
    """[texts, V] by the student itself, one text after the other."""
    rows = []
    for (ids,) in (student.tokenizer.document_ids([text]) for text in texts):
        with torch.no_grad():
            rows.append(model.weights(torch.tensor([ids]), torch.ones(1, len(ids))))
    return torch.cat(rows).numpy()


def assert_exports(student, folder):
    export_model(student, folder, name="exported")
    encoder = load_encoder(str(folder), device="cpu")
    found = encoder.encode_documents(TEXTS).to_scipy().toarray()
    expected = vectors(student, student.documents, TEXTS)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert expected.max() > 0.5


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize(("family", "task"), FAMILIES, ids=[one for one, _ in FAMILIES])
@pytest.mark.long
def test_the_model_that_is_written_is_the_one_that_was_trained(
    make_config, tmp_path, family, task, tied
):
    base = tiny.write_family(tmp_path / "base", family, task, tie_word_embeddings=tied)
    config = make_config(model={"base": str(base), "query_table": False})
    assert_exports(moved_student(config), tmp_path / "out")


@pytest.mark.parametrize("head", ["sum", "linear", "mlp", "gated"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_so_are_heads_of_other_kinds(make_config, tmp_path, head, tied):
    base = tiny.write_bert(tmp_path / "base", tie_word_embeddings=tied)
    settings = {"base": str(base), "query_table": False, "head": head}
    assert_exports(moved_student(make_config(model=settings)), tmp_path / "out")
    again = settings | {"base": str(tmp_path / "out")}  # a base that has this head already
    assert_exports(moved_student(make_config(model=again)), tmp_path / "again")


def test_so_are_differences_of_low_rank(make_config, tmp_path):
    base = tiny.write_llama(tmp_path / "base")
    settings = {"base": str(base), "query_table": False, "lora_rank": 3}
    assert_exports(moved_student(make_config(model=settings)), tmp_path / "out")


def test_a_model_that_lacks_a_weight_is_refused(tmp_path):
    folder = tiny.write_bert(tmp_path, tie_word_embeddings=False)
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights.pop("cls.predictions.decoder.bias")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(FormatError, match=r"found none for cls\.predictions\.decoder\.bias"):
        load_encoder(str(folder), device="cpu")
    wrapped = {f"module.{name}": one for name, one in weights.items()}
    save_file(wrapped, path, metadata={"format": "pt"})
    with pytest.raises(FormatError, match=r"names begin with 'module\.'"):
        load_encoder(str(folder), device="cpu")


def test_weights_without_a_place_are_told(tmp_path):
    folder = tiny.write_bert(tmp_path)
    path = folder / "model.safetensors"
    weights = load_file(path)
    more = {"bert.encoder.layer.2.output.dense.bias": torch.zeros(24)}
    pooler = {"bert.pooler.dense.bias": torch.zeros(24)}
    save_file(weights | pooler, path, metadata={"format": "pt"})
    load_encoder(str(folder), device="cpu")
    save_file(weights | pooler | more, path, metadata={"format": "pt"})
    with pytest.warns(ModelWarning, match=r"found 1 others, which are not used: bert\.encoder"):
        load_encoder(str(folder), device="cpu")
