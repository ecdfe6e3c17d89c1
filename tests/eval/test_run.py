"""Runs: TREC's file form, its repairs, and trec_eval's order of equal scores."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from tamis.eval.run import Run, RunWarning, read_run
from tamis.index.errors import InputError


def test_a_run_is_written_best_first_and_read_back(tmp_path):
    path = tmp_path / "out.trec"
    run = Run({"q1": {"a": 1.0, "b": 2.5, "c": 2.5}, "q2": {"z": -1.25}}, "mine")
    run.write(path)
    assert path.read_text() == (
        "q1 Q0 c 1 2.5 mine\nq1 Q0 b 2 2.5 mine\nq1 Q0 a 3 1 mine\nq2 Q0 z 1 -1.25 mine\n"
    )
    again = read_run(path)
    assert (again.scores, again.tag, again.repairs) == (run.scores, "mine", ())
    assert [p.name for p in tmp_path.iterdir()] == ["out.trec"]


def test_float32_scores_survive_the_file_exactly(tmp_path):
    scores = np.random.default_rng(5).lognormal(0, 9, 400).astype(np.float32)
    run = Run({"q": {f"d{n}": float(score) for n, score in enumerate(scores)}})
    run.write(tmp_path / "run")
    back = read_run(tmp_path / "run").scores["q"]
    assert [np.float32(back[f"d{n}"]) for n in range(400)] == scores.tolist()


def test_ids_with_spaces_survive_between_tabs_with_a_warning(tmp_path):
    path = tmp_path / "run.trec"
    scores = {"q 1": {"Geneva Durben": 2.0, "A B  C": 1.0, "plain": 0.5}, "q2": {"1 2": 1.0}}
    with pytest.warns(RunWarning, match="4 lines have ids with spaces"):
        Run(scores).write(path)
    assert read_run(path).scores == scores


def test_an_empty_run_is_written_with_a_warning(tmp_path):
    with pytest.warns(RunWarning, match="no query has an answer"):
        Run({"q": {}}).write(tmp_path / "run")


def test_a_tag_with_spaces_is_written_as_one_column(tmp_path):
    Run({"q": {"d": 1.0}}, "2024  my run").write(tmp_path / "run")
    assert read_run(tmp_path / "run").tag == "2024-my-run"
    Run({"q": {"d": 1.0}}, " ").write(tmp_path / "run")
    assert read_run(tmp_path / "run").tag == "tamis"


@pytest.mark.filterwarnings("ignore:.*ids with spaces:tamis.eval.run.RunWarning")
@pytest.mark.parametrize("seed", range(30))
def test_a_run_of_any_ids_and_scores_reads_back_in_its_order(tmp_path, seed):
    random = np.random.default_rng(seed)
    signs = [*"0189aZ-_.:,%\\\"'#\u00a0\u2003\u2028\x85ø日", *" " * (seed % 3)]

    def name():
        inner = "".join(random.choice(signs, random.integers(0, 6)))
        return f"{random.choice(['Q0', '1', 'd'])}{inner}{random.integers(10)}"

    scores = {
        name(): {
            name(): float(random.normal() * 10.0 ** random.integers(-30, 30)) for _ in range(9)
        }
        for _ in range(4)
    }
    run = Run(scores)
    run.write(tmp_path / "run")
    back = read_run(tmp_path / "run")
    for query in scores:
        order = [(doc, np.float32(score)) for doc, score in run.ordered(query)]
        assert [(doc, np.float32(score)) for doc, score in back.ordered(query)] == order


@pytest.mark.parametrize(
    ("scores", "found"),
    [
        ({"q": {"": 1.0}}, "document ''"),
        ({"": {"d": 1.0}}, "query ''"),
        ({"q": {"d\t1": 1.0}}, r"document 'd\\t1'"),
        ({"q\n": {"d": 1.0}}, r"query 'q\\n'"),
        ({"q": {" d": 1.0}}, "document ' d'"),
        ({"q": {"e": 1.0, "d": math.nan}}, "nan of 'd' for the query 'q'"),
        ({"q": {"d": 1e39}}, "1e.39 of 'd' for the query 'q'"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, scores, found):
    path = tmp_path / "run"
    path.write_text("before")
    with pytest.raises(InputError, match=found):
        Run(scores).write(path)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("run", "before")]


def test_repeated_documents_keep_their_higher_score_with_a_warning(tmp_path):
    path = tmp_path / "run.trec"
    path.write_text("q Q0 a 1 9 t\nq Q0 b 2 8 t\nq Q0 a 3 7 t\nq Q0 b 4 6 t\n")
    with pytest.warns(RunWarning, match="repaired 2 repeated documents and the order of 0"):
        run = read_run(path)
    assert run.scores == {"q": {"a": 9.0, "b": 8.0}}
    assert run.repairs == ("2 repeated documents merged, each with its higher score",)


def test_ranks_that_disagree_with_scores_are_sorted_with_a_warning(tmp_path):
    path = tmp_path / "run.trec"
    path.write_text("q Q0 a 1 1 t\nq Q0 b 2 2 t\np Q0 a 2 1 t\np Q0 b 1 2 t\n")
    with pytest.warns(RunWarning, match="repaired 0 repeated documents and the order of 1"):
        run = read_run(path)
    assert [doc for doc, _ in run.ordered("q")] == ["b", "a"]


def test_lines_in_any_order_are_no_mistake_where_ranks_fit_scores(tmp_path):
    path = tmp_path / "run.trec"
    path.write_text("q Q0 b 2 1 t\nq Q0 c 3 1 t\nq Q0 a 1 2 t\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_run(path).repairs == ()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("q Q0 a 1 2", "six columns"),
        ("10 Q0 2 1 0.9", "six columns"),
        ("q Q0 a b 1 2 t", "six columns"),
        ("q\tQ0\ta 1 2 t", "six columns"),
        ("q Q0 a 1 1e39 t", "finite 32-bit"),
        ("q Q0 a 1 1_0 t", "six columns"),
        ("\tQ0\ta\t1\t2\tt", "a query"),
        ("q Q0 a one 2 t", "six columns"),
        ("q Q0 a 1 two t", "six columns"),
        ("q Q0 a 1 nan t", "finite"),
        ("q Q0 a 1 inf t", "finite"),
        ("q", "six columns"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, expected):
    path = tmp_path / "run.trec"
    path.write_text(f"q Q0 b 1 3 t\n{line}\n")
    with pytest.raises(InputError, match=expected) as caught:
        read_run(path)
    assert str(caught.value).startswith(f"{path}:2: ")


def test_an_empty_run_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("\n")
    with pytest.raises(InputError, match="at least one line"):
        read_run(tmp_path / "run")


def test_scores_that_are_equal_as_32_bit_floats_are_tied():
    run = Run({"q": {"a": 1.0, "b": 1.0 + 1e-9, "c": 0.5}, "r": {"a": 1.0}})
    assert [doc for doc, _ in run.ordered("q")] == ["b", "a", "c"]  # the higher id first
    assert run.tied() == 2


def test_a_query_leaves_its_own_ranking():
    run = Run({"a": {"a": 2.0, "b": 1.0}, "c": {"b": 1.0}}).without_self()
    assert run.scores == {"a": {"b": 1.0}, "c": {"b": 1.0}}


def test_a_cut_keeps_the_best():
    run = Run({"q": {"a": 1.0, "b": 3.0, "c": 3.0}}).cut(2)
    assert run.scores == {"q": {"c": 3.0, "b": 3.0}}
