"""Teachers give the scores of the models and files that they stand for."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file

from tamis.index.errors import InputError
from tamis.retriever import load_encoder
from tamis.retriever.training.cached_scores import CachedScores
from tamis.retriever.training.data.training_data import Listed, TrainingData, load_or_prepare
from tamis.retriever.training.student import load_student
from tamis.retriever.training.training_set import TrainingSet, load_backbone


def training_set(config, root):
    student = load_student(config, torch.device("cpu"))
    data = load_or_prepare(config.data, student.tokenizer, root, Path(config.data.prepared), 1)
    return student, data, TrainingSet(data, config, student, torch.device("cpu"))


@pytest.mark.parametrize("table", [False, True], ids=["neural queries", "query table"])
def test_a_sparse_teacher_scores_as_its_encoder(make_config, data_folder, base, tmp_path, table):
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    for file in base.iterdir():
        (teacher / file.name).write_bytes(file.read_bytes())
    if table:
        size = json.loads((base / "config.json").read_text())["vocab_size"]
        weights = torch.arange(size) % 7 / 3.0
        save_file({"weight": weights}, str(teacher / "query_weights.safetensors"))
    config = make_config(loss={"sparse": 1.0, "sparse_teacher": str(teacher)})
    student, data, made = training_set(config, data_folder)
    ((weight, found),) = made.teachers
    assert weight == 1.0
    texts = [student.tokenizer.backend.decode(data.passages.row(i)) for i in range(9)]
    asked = [student.tokenizer.backend.decode(data.queries.row(i)) for i in range(5)]
    encoder = load_encoder(str(teacher), device="cpu")
    expected = (
        encoder.encode_queries(asked).to_scipy() @ encoder.encode_documents(texts).to_scipy().T
    )
    scores = found.scores(torch.arange(5), torch.arange(9))
    np.testing.assert_allclose(scores.numpy(), expected.toarray(), rtol=1e-4, atol=1e-3)
    assert expected.max() > 1


def test_a_teacher_of_another_vocabulary_is_refused(make_config, base, tmp_path):
    config = make_config()
    student = load_student(config, torch.device("cpu"))
    with pytest.raises(InputError, match="expected the vocabulary of the student's base"):
        load_backbone("default", student.tokenizer)


def test_a_dense_encoder_without_a_head_can_teach(make_config, base, tmp_path):
    student = load_student(make_config(), torch.device("cpu"))
    whole = transformers.AutoModelForMaskedLM.from_pretrained(base)
    whole.base_model.save_pretrained(tmp_path / "dense")
    (tmp_path / "dense" / "1_Pooling").mkdir()
    (tmp_path / "dense" / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    backbone = load_backbone(str(tmp_path / "dense"), student.tokenizer)
    ids = torch.tensor([[2, 9, 12, 3]])
    with torch.no_grad():
        torch.testing.assert_close(backbone(ids)[0], whole.eval().base_model(ids)[0])


def test_pairs_without_a_cached_score_have_the_least_of_their_query():
    listed = Listed(
        np.array([0, 0, 2, 2], np.int32),
        np.array([1, 3, 0, 1], np.int32),
        np.array([0.5, -1.0, 7.0, math.nan], np.float32),
    )
    scores = CachedScores(listed, 4, torch.device("cpu"))
    found = scores.scores(torch.tensor([0, 1, 2]), torch.tensor([3, 0, 1]))
    assert found.tolist() == [[-1.0, -1.0, 0.5], [0.0, 0.0, 0.0], [7.0, 7.0, 7.0]]
    found = scores.scores(torch.tensor([0]), torch.tensor([0, 1]))
    assert found.tolist() == [[0.5, 0.5]]


def test_scores_of_a_source_reach_the_ensemble(make_config, tmp_path):
    rows = [
        {"query": "the book", "docs": ["ban of bel", "can of cel", "dan"], "scores": [0.1, 3, 2]},
        {"query": "the cook", "docs": ["can of cel", "fan"], "scores": [1, 0]},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "scored.jsonl").write_text(lines)
    source = {"path": "scored.jsonl", "query": ["query"], "listed": ["docs"], "scores": "scores"}
    config = make_config(
        data={"dev": [], "sources": [source]}, batch={"passages": 4, "queries": 2},
        loss={"cached": 1.0, "bm25": 0.0, "kl": 1.0},
    )  # fmt: skip
    student, data, made = training_set(config, tmp_path)
    text = [student.tokenizer.backend.decode(data.passages.row(i)) for i in range(4)]
    book, cook = (
        next(i for i in range(2) if word in student.tokenizer.backend.decode(data.queries.row(i)))
        for word in ("book", "cook")
    )
    ((_, teacher),) = made.teachers
    found = teacher.scores(torch.tensor([book, cook]), torch.arange(4))
    expected = {"ban of bel": (0.1, 0), "can of cel": (3, 1), "dan": (2, 0), "fan": (0.1, 0)}
    for i, one in enumerate(text):
        assert found[:, i].tolist() == pytest.approx(expected[one])
    homes = dict(zip(made.homes.queries.tolist(), made.homes.passages.tolist(), strict=True))
    assert text[homes[book]] == text[homes[cook]] == "can of cel"  # the best of each
    folder = Path(config.data.prepared)
    settings = json.loads((folder / "data.json").read_text())["settings"]
    again = TrainingData.load(folder, settings)
    assert again.listed.scores.tolist() == data.listed.scores.tolist()
