"""tamis search A B TEXT."""

import json
import math

import pytest

from tamis.retriever import Passage, Searcher, index_corpus


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    texts = {
        "birds": ["Owls hunt mice nightly.", "Wrens sing songs early."],
        "fish": ["Pike hunt smaller fish.", "Trout swim cold rivers."],
    }
    for name, of_index in texts.items():
        passages = [Passage(f"{name}-{at}", text) for at, text in enumerate(of_index)]
        index_corpus(passages, folder / name, encoder=None)
    return folder / "birds", folder / "fish"


def test_hits_of_two_indexes_are_one_list(tamis, folders):
    result = tamis("search", *folders, "hunt rivers", "--explain")
    assert result.exit_code == 0, result.output
    assert "in birds" in result.output
    assert "in fish" in result.output
    assert "3 hits, ordered by score" in result.output
    assert "birds: 1 of the hits" in result.output
    assert "contribution" in result.output


def test_json_is_what_the_service_answers(tamis, folders):
    found = json.loads(tamis("search", *folders, "wren", "--json").stdout)
    assert found["merged"] == "score"
    assert [one["index"] for one in found["indexes"]] == ["birds", "fish"]
    (hit,) = found["hits"]
    assert hit["score"] == pytest.approx(math.log(1 + (4 - 1 + 0.5) / (1 + 0.5)))  # of both
    (alone,) = Searcher.open(folders[0]).search(["wren"])[0].hits
    assert alone.score == pytest.approx(math.log(1 + (2 - 1 + 0.5) / (1 + 0.5)))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["how", "do owls hunt"], "put a text of several words in quotes"),
        (["{fish}", "{birds}", "hunt"], "found 'birds'"),
        (["same={birds}", "hunt"], "expected each index once, found 2 names for 1"),
        (["{fish}", " "], "some text"),
        (["{fish}", "hunt", "--sort", "year"], "index birds: expected a declared field (none)"),
        (["{fish}", "hunt", "--vector", "{}"], "--vector"),
    ],
)
def test_mistakes_are_told(tamis, folders, arguments, told):
    names = {"birds": str(folders[0]), "fish": str(folders[1])}
    filled = [one if one == "{}" else one.format(**names) for one in arguments]
    result = tamis("search", folders[0], *filled)
    assert result.exit_code == 2, result.output
    assert told in " ".join(result.output.replace("│", " ").split())
