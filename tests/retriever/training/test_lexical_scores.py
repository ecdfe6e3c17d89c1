import math

import numpy as np
import torch

from tamis.retriever.training.data.token_rows import TokenRows
from tamis.retriever.training.lexical_scores import LexicalScorer

CPU = torch.device("cpu")


def brute_force(passages, queries, k1=0.9, b=0.4):
    """BM25 by its formula, one pair at a time; passages without words are counted nowhere."""
    mean = np.mean([len(row) for row in passages if row])
    documents = sum(map(bool, passages))
    scores = np.zeros((len(queries), len(passages)))
    for i, query in enumerate(queries):
        for j, passage in enumerate(passages):
            for word in query:
                df = sum(word in row for row in passages)
                idf = math.log1p((documents - df + 0.5) / (df + 0.5))
                tf = passage.count(word)
                norm = k1 * (1 - b + b * len(passage) / mean)
                scores[i, j] += idf * tf * (k1 + 1) / (tf + norm)
    return scores


def test_scores_equal_bm25_by_its_formula():
    draw = np.random.default_rng(5)
    passages = [draw.integers(0, 9, draw.integers(1, 12)).tolist() for _ in range(17)]
    passages[3] = passages[7] = passages[16] = []
    queries = [draw.integers(0, 9, draw.integers(1, 5)).tolist() for _ in range(6)]
    scorer = LexicalScorer(TokenRows.of(passages), TokenRows.of(queries), 9, CPU)
    scores = scorer.scores(torch.arange(6), torch.arange(17))
    np.testing.assert_allclose(scores.numpy(), brute_force(passages, queries), rtol=1e-5, atol=1e-6)


def test_some_rows_score_as_they_do_among_all():
    passages, queries = [[0, 1], [2], [1, 1, 3]], [[1], [3, 2], [0]]
    scorer = LexicalScorer(TokenRows.of(passages), TokenRows.of(queries), 4, CPU)
    whole = scorer.scores(torch.arange(3), torch.arange(3))
    some = scorer.scores(torch.tensor([2, 1]), torch.tensor([2, 0]))
    torch.testing.assert_close(some, whole[[2, 1]][:, [2, 0]])


def test_the_mass_of_a_query_is_the_sum_of_its_word_weights():
    passages, queries = [[0, 1], [1]], [[0, 0, 1], []]
    scorer = LexicalScorer(TokenRows.of(passages), TokenRows.of(queries), 2, CPU)
    expected = 2 * math.log1p(1.5 / 1.5) + math.log1p(0.5 / 2.5)
    assert math.isclose(scorer.mass[0].item(), expected, rel_tol=1e-6)
    assert scorer.mass[1].item() == 0
