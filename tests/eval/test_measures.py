"""Measures equal trec_eval's, which pytrec_eval runs, and a plain reference that breaks ties."""

from __future__ import annotations

import math

import naive_measures
import numpy as np
import pytest
import pytrec_eval

from tamis.eval.measures import MeasureWarning, means, measurable, parse_measures, per_query
from tamis.eval.run import Run
from tamis.index.errors import InputError

NAMES = ("nDCG@10", "Recall@100", "MRR@10", "MAP", "P@5", "nDCG", "Success@3")
TREC_EVAL = {"nDCG@10": "ndcg_cut_10", "Recall@100": "recall_100", "MAP": "map", "P@5": "P_5",
             "nDCG": "ndcg", "Success@3": "success_3"}  # fmt: skip


def random_case(seed: int) -> tuple[Run, dict[str, dict[str, int]]]:
    """Up to 30 queries over a small world of documents, with many equal scores."""
    random = np.random.default_rng(seed)
    docs = np.array([f"d{n}" for n in random.permutation(random.integers(5, 400))])
    scores, qrels = {}, {}
    for query in range(random.integers(1, 30)):
        ranked = random.choice(docs, random.integers(0, len(docs) + 1), replace=False)
        levels = random.choice([2, 7, 1000])
        values = random.integers(0, levels, len(ranked)) / 8
        values += random.choice([0.0, 1e-9], len(ranked))  # still equal as 32-bit floats, often
        judged = random.choice(docs, random.integers(1, min(40, len(docs)) + 1), replace=False)
        if random.random() < 0.9:
            scores[f"q{query}"] = dict(zip(ranked.tolist(), values.tolist(), strict=True))
        grades = random.choice([0, 0, 1, 2, 3], len(judged))
        qrels[f"q{query}"] = dict(zip(judged.tolist(), grades.tolist(), strict=True))
    return Run(scores), qrels


def reciprocal_rank(run: Run, query: str, grades: dict[str, int], cutoff: int, level: int):
    ranks = (r for r, (doc, _) in enumerate(run.ordered(query), 1) if grades.get(doc, 0) >= level)
    rank = next(ranks, math.inf)
    return 1 / rank if rank <= cutoff else 0.0


def assert_agrees(seed: int, level: int) -> None:
    run, qrels = random_case(seed)
    ours = per_query(run, qrels, parse_measures(NAMES, level))
    evaluator = pytrec_eval.RelevanceEvaluator(
        qrels, {"ndcg_cut.10", "recall.100", "map", "P.5", "ndcg", "success.3", "recip_rank"},
        relevance_level=level,
    )  # fmt: skip
    theirs = evaluator.evaluate({q: dict(of) for q, of in run.scores.items()})
    for query, grades in qrels.items():
        for name, theirs_name in TREC_EVAL.items():
            expected = theirs.get(query, {}).get(theirs_name, 0.0)
            assert ours[name][query] == pytest.approx(expected, abs=1e-6), (seed, name, query)
        uncut = reciprocal_rank(run, query, grades, 10**9, level)
        theirs_uncut = theirs.get(query, {}).get("recip_rank", 0.0)
        assert uncut == pytest.approx(theirs_uncut, abs=1e-6), (seed, query)
        expected = reciprocal_rank(run, query, grades, 10, level)
        assert ours["MRR@10"][query] == pytest.approx(expected, abs=1e-6), (seed, query)


@pytest.mark.parametrize("seed", range(50))
def test_values_equal_trec_evals_on_runs_with_ties(seed):
    assert_agrees(seed, level=1 + seed % 2)


@pytest.mark.slow
def test_values_equal_trec_evals_on_a_thousand_runs_with_ties():
    for seed in range(1000, 2000):
        assert_agrees(seed, level=1 + seed % 2)


@pytest.mark.parametrize("seed", range(180))
def test_values_equal_those_of_the_definitions(seed):
    run, qrels = random_case(seed)
    random, level = np.random.default_rng(seed), 1 + seed % 3
    for grades in qrels.values():  # some of them judge nothing
        grades.update({doc: -1 for doc in grades if grades[doc] == 0 and random.random() < 0.3})
        grades[f"unseen{seed}"] = 0
    ours = per_query(run, qrels, parse_measures(list(naive_measures.MEASURES), level))
    for query, judged in qrels.items():
        ranked = [judged.get(doc) for doc, _ in run.ordered(query)]
        for name, measure in naive_measures.MEASURES.items():
            expected = measure(ranked, list(judged.values()), level)
            assert ours[name][query] == pytest.approx(expected, abs=1e-6), (name, query)


def test_ndcg_equals_the_value_worked_by_hand():
    run = Run({"q": {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}})
    qrels = {"q": {"a": 1, "c": 3, "d": 0, "e": 2}}
    gained = 1 / math.log2(2) + 3 / math.log2(4)  # ranks 1 and 3
    ideal = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    values = per_query(run, qrels, parse_measures(["nDCG@10"]))
    assert values["nDCG@10"]["q"] == pytest.approx(gained / ideal, abs=1e-9)
    assert gained / ideal == pytest.approx(0.5250, abs=1e-4)


def test_reciprocal_rank_breaks_ties_as_the_other_measures_do():
    run = Run({"q": {f"d{n:02}": 1.0 for n in range(11)}})  # trec_eval ranks d10 first, d00 last
    values = per_query(run, {"q": {"d00": 1}}, parse_measures(["MRR@10", "MRR", "MRR@11"]))
    assert [values[name]["q"] for name in values] == pytest.approx([0.0, 1 / 11, 1 / 11])


def test_judged_queries_without_answers_count_as_zero():
    values = per_query(
        Run({"x": {"d": 1.0}}), {"q": {"d": 1}, "x": {"d": 1}}, parse_measures(NAMES)
    )
    assert means(values)["nDCG@10"] == 0.5
    assert all(set(of) == {"q", "x"} for of in values.values())


def test_queries_without_judgements_are_left_out():
    values = per_query(
        Run({"x": {"d": 1.0}, "y": {"d": 1.0}}), {"x": {"d": 1}}, parse_measures(NAMES)
    )
    assert set(values["MAP"]) == {"x"}


def test_negative_grades_count_as_not_relevant():
    qrels = [{"q": {"a": grade, "b": 1}} for grade in (-2, 0)]
    run = Run({"q": {"a": 2.0, "b": 1.0}})
    found = [per_query(run, of, parse_measures(NAMES)) for of in qrels]
    assert found[0] == found[1]


GUARDED = {
    "a query of negative grades alone": (
        {"q": {"a": -1, "b": -2}, "x": {"d": 1}},
        {"q": {}, "x": {"d": 1}},
        2,
    ),
    "negative grades beside others": ({"q": {"a": -1, "b": 0}}, {"q": {"a": -1, "b": 0}}, 0),
    "a grade that is too high": ({"q": {"a": 2**31, "b": 1}}, {"q": {"b": 1}}, 1),
    "nothing else than such": ({"q": {"a": 2**40, "b": -1}}, {"q": {}}, 2),
    "a query without judgements": ({"q": {}}, {"q": {}}, 0),
}


@pytest.mark.parametrize("case", GUARDED)
def test_what_trec_eval_cannot_take_never_reaches_it(case):
    given, kept, left_out = GUARDED[case]
    assert measurable(given) == (kept, left_out)


def test_judgements_that_are_left_out_are_counted_and_told():
    run = Run({"q": {"a": 2.0}, "x": {"d": 1.0}, "empty": {}})
    qrels = {"q": {"a": -1, "b": -2}, "x": {"d": 1}, "empty": {"d": 1}}
    with pytest.warns(MeasureWarning, match="2 judgements are left out"):
        values = per_query(run, qrels, parse_measures(NAMES))
    assert values["nDCG@10"] == {"q": 0.0, "x": 1.0, "empty": 0.0}


@pytest.mark.parametrize(
    ("name", "level", "definition"),
    [
        ("Recall@100", 1, "R@100"),
        ("Recall@100", 2, "R(rel=2)@100"),
        ("R(rel=3)@100", 2, "R(rel=3)@100"),
        ("mrr@10", 2, "RR(rel=2)@10"),
        ("MAP", 1, "AP"),
        ("nDCG@10", 2, "nDCG@10"),
    ],
)
def test_binary_measures_take_the_datasets_relevance_level(name, level, definition):
    (measure,) = parse_measures([name], level)
    assert (measure.name, measure.definition) == (name, definition)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("nDGC@10", "nDCG@10"), ("Recal@100", "Recall@100"), ("nDCG@ten", "nDCG@10"),
     ("R", "RR@10"), ("ERR@10", "RR@10"), ("", "nDCG@10"), ("P@5; import os", "P@5")],
)  # fmt: skip
def test_an_unknown_measure_shows_the_nearest(name, nearest):
    with pytest.raises(InputError, match=f"nearest: .*{nearest}"):
        parse_measures([name])


def test_no_measure_is_refused():
    with pytest.raises(InputError, match="at least one measure"):
        parse_measures([])
