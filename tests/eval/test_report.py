"""Pictures and the HTML report: complete, self-contained, safe with any text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from matplotlib.text import Text

from tamis.eval import pictures
from tamis.eval.datasets import load_dataset
from tamis.eval.evaluate import Options
from tamis.eval.pictures import Point, frontier
from tamis.eval.report import cost_pictures, write_report
from tamis.eval.specs import Bm25Spec, TamisSpec, build_systems
from tamis.eval.suite import evaluate_all
from tamis.eval.tables import Results


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
    assert len(re.findall("<svg", page)) == 2  # wins and losses, histograms
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


def test_histograms_stand_side_by_side_over_common_bins_and_survive_any_counts():
    for counts in ({"a": [0, 0]}, {"a": [3], "b": []}, {"a": list(range(900))}):
        systems = {"one": counts, "two": {"a": [7.0]}, "three": {"a": [1.0, 2.0]}}
        figure = pictures.histograms(systems, "terms")
        assert "<svg" in pictures.svg(figure)
        shown = [axes for axes in figure.axes if axes.get_visible()]
        assert [axes.get_title(loc="left") for axes in shown] == list(systems)
        assert len({axes.get_xlim() for axes in shown}) == 1
        places = [axes.get_position() for axes in shown]
        assert places[0].x1 <= places[1].x0


@pytest.mark.parametrize("gap", [0.0, 0.001, 0.1])
def test_labels_of_points_cover_no_other_label_and_no_point(gap):
    points = [Point(f"system {n}", 10 + n * gap, 0.5 + n * gap / 10) for n in range(7)]
    figure = pictures.trade_off(points, "ms", "nDCG@10", "title")
    (axes,) = figure.axes
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == [point.system for point in points]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
        at = axes.transData.transform([(point.cost, point.worth) for point in points])
        assert not any(box.contains(*place) for place in at)


def test_two_systems_give_no_picture_of_two_dots(evaluations):
    assert cost_pictures(Results(evaluations), "nDCG@10") == []
