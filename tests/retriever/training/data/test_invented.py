import numpy as np

from tamis.retriever.training.data.invented import LEAST_TOKENS, MOST_TOKENS, invent_queries
from tamis.retriever.training.data.token_rows import TokenRows


def test_queries_hold_whole_words_of_their_passage_in_order():
    draw = np.random.default_rng(2)
    continues = np.zeros(50, bool)
    continues[40:] = True
    passages = TokenRows.of(
        [draw.integers(0, 50, draw.integers(0, 60)).tolist() for _ in range(200)]
    )
    queries, home = invent_queries(passages, continues, seed=4)
    assert 100 < len(queries) <= 200
    for i in range(len(queries)):
        query, passage = queries.row(i).tolist(), passages.row(int(home[i])).tolist()
        assert 1 <= len(query) <= MOST_TOKENS
        assert not continues[query[0]]
        position = iter(passage)
        assert all(piece in position for piece in query)  # a subsequence


def test_short_passages_give_none_and_the_seed_decides():
    continues = np.zeros(50, bool)
    short = TokenRows.of([[1] * LEAST_TOKENS, []])
    assert len(invent_queries(short, continues, 1)[0]) == 0
    rows = TokenRows.of([list(range(30))] * 40)
    first, again = (invent_queries(rows, continues, 1)[0].ids for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.tolist() != invent_queries(rows, continues, 2)[0].ids.tolist()
