"""The unit of scores in training: a looked-up query's own weight, an encoded one's first."""

import pytest
import torch

from tamis.retriever.training.student import load_student


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
