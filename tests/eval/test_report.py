"""Pictures and the HTML report: complete, self-contained, safe with any text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from tamis.eval import pictures
from tamis.eval.datasets import load_dataset
from tamis.eval.evaluate import Options
from tamis.eval.pictures import Point, frontier
from tamis.eval.report import write_report
from tamis.eval.specs import Bm25Spec, TamisSpec, build_systems
from tamis.eval.suite import evaluate_all


class Tags(HTMLParser):
    """Checks that tags close in order and gathers what a page would load."""

    VOID = ("meta", "link", "br", "input", "hr")

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.loads += [
            value for name, value in attrs
            if name in ("src", "href", "xlink:href") and not value.startswith(("#", "data:"))
        ]  # fmt: skip
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def evaluations(beir, tmp_path):
    hostile = '<script>alert("sieve")</script> drum'
    (beir / "queries.jsonl").write_text(
        json.dumps({"_id": "q1", "text": hostile}) + '\n{"_id": "q2", "text": "sifting flour"}\n'
    )
    systems = build_systems([Bm25Spec(), TamisSpec("words", "bm25")])
    options = Options(timed_queries=2, explained=2)
    return evaluate_all(systems, {"sieves": [load_dataset(str(beir))]}, tmp_path / "w", options)


def test_the_report_is_one_page_that_loads_nothing(evaluations, tmp_path):
    path = tmp_path / "report.html"
    write_report(evaluations, path, baseline="bm25")
    page = path.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.loads == []
    assert "<script" not in page
    for expected in (
        "Evaluation on sieves",
        "corrected p",
        "bytes/document",
        "Failing queries",
        '<script>alert("sieve")</script> drum',
        "First answer",
        "=drum",
        "sha256",
    ):
        assert expected in tags.text, expected  # fmt: skip
    assert len(re.findall("<svg", page)) >= 4
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    assert 'name="viewport"' in page


def test_failing_queries_come_worst_first_with_what_was_wanted(evaluations):
    (words,) = (found for found in evaluations if found.system == "words")
    first, second = words.failures
    assert first.value <= second.value
    by_query = {failure.query: failure for failure in (first, second)}
    assert by_query["q2"].wanted.doc_id == "d2"
    assert by_query["q2"].found.rank == 1
    assert {term.term for term in by_query["q2"].found.terms} == {"=sift", "=flour"}


def test_pictures_are_written_twice_and_repeatably(tmp_path):
    figure = pictures.wins_and_losses([1, 0.5, 0], [0, 0.5, 1], ("new", "old"), "nDCG@10")
    written = pictures.write(figure, tmp_path / "picture")
    assert [path.name for path in written] == ["picture.png", "picture.svg"]
    assert written[0].read_bytes().startswith(b"\x89PNG")
    root = ElementTree.fromstring(written[1].read_text())
    texts = " ".join(
        element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")
    )
    assert "1 better, 1 equal, 1 worse" in texts
    again = pictures.wins_and_losses([1, 0.5, 0], [0, 0.5, 1], ("new", "old"), "nDCG@10")
    assert pictures.svg(again) == pictures.svg(figure)


def test_the_frontier_holds_what_nothing_beats():
    points = [Point("a", 3, 0.5), Point("b", 1, 0.4), Point("c", 2, 0.3), Point("d", 9, 0.5)]
    assert [point.system for point in frontier(points)] == ["b", "a"]


@pytest.mark.parametrize("costs", [[0.3, 0.31], [5.0], [1, 1e6]])
def test_a_trade_off_shows_plain_numbers_on_its_axis(costs):
    points = [Point(f"s{n}", cost, 0.5 + n / 10) for n, cost in enumerate(costs)]
    figure = pictures.trade_off(points, "ms", "nDCG@10", "title")
    axis = figure.axes[0].xaxis
    low, high = figure.axes[0].get_xlim()
    shown = [axis.get_major_formatter()(at) for at in axis.get_majorticklocs() if low <= at <= high]
    assert len(shown) >= 2
    assert all(re.fullmatch(r"[\d,.]+", text) for text in shown)


def test_a_histogram_survives_equal_and_empty_counts():
    for counts in ({"a": [0, 0]}, {"a": [3], "b": []}, {"a": list(range(900))}):
        assert "<svg" in pictures.svg(pictures.histogram(counts, "terms", "title"))
