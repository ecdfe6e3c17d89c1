import pytest

pytest.importorskip("pyterrier", reason="python-terrier is not installed")

import pandas as pd

from tamis.index import InputError
from tamis.retriever.integrations.pyterrier import TamisRetriever

QUERIES = pd.DataFrame(
    [{"qid": "1", "query": "red planet", "note": "a"}, {"qid": "2", "query": "nothing known"}]
)


def test_it_gives_the_searcher_s_ranking(planets, truth):
    found = TamisRetriever.open(planets, exact=True)(QUERIES)
    assert list(zip(found["docno"], found["score"], strict=True)) == truth("red planet", exact=True)
    assert found["rank"].tolist() == list(range(len(found)))
    assert set(found["qid"]) == {"1"}
    assert set(found["note"]) == {"a"}
    assert {"title", "text"} <= set(found.columns)


def test_it_stands_in_a_pipeline_and_an_experiment(planets):
    import pyterrier as pt

    retriever = TamisRetriever.open(planets)
    assert len((retriever % 1)(QUERIES)) == 1
    qrels = pd.DataFrame([{"qid": "1", "docno": "venus", "label": 1}])
    report = pt.Experiment([retriever], QUERIES, qrels, ["recip_rank"], names=["tamis"])
    place = retriever(QUERIES)["docno"].tolist().index("venus") + 1
    assert report["recip_rank"].tolist() == [1 / place]


def test_no_queries_give_an_empty_frame(planets):
    found = TamisRetriever.open(planets)(QUERIES.iloc[:0])
    assert len(found) == 0
    assert {"qid", "docno", "score", "rank"} <= set(found.columns)


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # PyTerrier's sums, to pandas 3.1
def test_it_is_measured_as_a_ranking_that_the_framework_holds_itself(planets):
    import pyterrier as pt

    ours = TamisRetriever.open(planets, exact=True)
    held = pt.Transformer.from_df(ours(QUERIES))
    qrels = pd.DataFrame([{"qid": "1", "docno": "venus", "label": 1}])
    measures = ["recip_rank", "ndcg_cut_2", "recall_1000"]
    report = pt.Experiment([ours, held, ours % 2], QUERIES, qrels, measures)
    assert report.loc[0, measures].tolist() == report.loc[1, measures].tolist()
    both = (ours + held)(QUERIES)  # scores are summed document by document
    assert both["score"].tolist() == (2 * ours(QUERIES)["score"]).tolist()
    assert pt.inspect.transformer_inputs(ours) == [["qid", "query"]]


def test_weights_of_an_encoder_are_searched_in_place_of_the_text(planets, truth):
    queries = QUERIES.iloc[:1].assign(query="venus", query_toks=[{"=planet": 2.0, "=red": 0.5}])
    found = TamisRetriever.open(planets, exact=True)(queries)
    expected = truth({"=planet": 2.0, "=red": 0.5}, exact=True)
    assert list(zip(found["docno"], found["score"], strict=True)) == expected
    nothing = TamisRetriever.open(planets)(queries.assign(query_toks=[{}]))
    assert len(nothing) == 0
    with pytest.raises(InputError, match="expected weights by term in query_toks of query '1'"):
        TamisRetriever.open(planets)(queries.assign(query_toks=["red"]))
