"""The unit of scores in training: a looked-up query's own weight, an encoded one's first."""

from pathlib import Path

import pytest
import torch

from tamis.retriever.training.prepared import load_or_prepare
from tamis.retriever.training.student import load_student
from tamis.retriever.training.trainer import Trainer


def scaled(student, queries, documents):
    return student.score(queries, student.learned(queries, documents), None, None).scaled


@pytest.mark.parametrize(("table", "factor"), [(True, 1.0), (False, 2.0)])
def test_only_encoded_queries_score_by_their_size(make_config, table, factor):
    student = load_student(make_config(model={"query_table": table}), torch.device("cpu"))
    torch.manual_seed(3)
    queries, documents = torch.rand(5, student.documents.vocab_size), torch.rand(4, 1)
    documents = documents * torch.rand(4, student.documents.vocab_size)
    once = scaled(student, queries, documents)
    torch.testing.assert_close(scaled(student, queries * 2, documents), once * factor)
    if not table:  # one unit for all: the sum of the weights of a query of the first batch
        unit = queries.sum(1).mean() / student.log_temperatures[1].exp()
        torch.testing.assert_close(once, queries @ documents.T / unit)


def test_encoded_queries_outlive_scores_that_are_too_large(make_config, data_folder):
    config = make_config(
        model={"query_table": False},
        loss={"kl": 1.0, "contrastive": 0.0, "dense": 1.0, "bm25": 0.5, "judged": 0.0, "scale": 2},
        sparsity={"weight": 0.0},
        optimiser={"steps": 150, "warmup_steps": 5, "rate": 1e-3, "head_rate": 1e-2},
    )
    student = load_student(config, torch.device("cpu"))
    with torch.no_grad():
        student.log_temperatures.fill_(6.0)  # twelve times the usual one
    folder = Path(config.data.prepared)
    data = load_or_prepare(config.data, student.tokenizer, data_folder, folder, 1)
    trainer = Trainer(config, student, data)
    terms = [float(trainer.train_step()["query_terms"]) for trainer.step in range(150)]
    assert min(terms) > 0.5 * terms[0]
