import numpy as np

from tamis.retriever.training.data.token_rows import TokenRows
from tamis.retriever.training.training_set import document_frequency


def test_a_term_counts_once_for_each_text_that_holds_it():
    rng = np.random.default_rng(4)
    texts = [rng.integers(0, 37, rng.integers(0, 23)).tolist() for _ in range(101)]
    found = document_frequency(TokenRows.of([[], *texts, []]), 41)
    assert found.tolist() == [sum(term in text for text in texts) for term in range(41)]
