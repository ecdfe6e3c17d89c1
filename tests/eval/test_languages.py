"""Languages: folders of pairs, the documents' stemmer, languages as columns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_tables import evaluation
from typer.testing import CliRunner

from tamis.eval.baselines import Bm25System
from tamis.eval.datasets import load_dataset, with_pairs
from tamis.eval.languages import corpus_name, pair_of, pairs_in
from tamis.eval.tables import Results, language_table
from tamis.scripts.main import command_line

HELP = Path(__file__).parent / "parallel" / "libreoffice-help"


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("help/fr-en", ("fr", "en")),
        ("a/help/ja-ja:dev", ("ja", "ja")),
        ("help/cross-en", None),
        ("help/ab-cd", None),  # no such languages
        ("fr-en", None),  # of no family
        ("cqadupstack/gis", None),
    ],
)
def test_a_pair_is_told_by_its_name(name, pair):
    assert pair_of(name) == pair


def test_a_folder_stands_for_its_pairs():
    pairs = ["en-en", "fr-en", "fr-fr", "ja-en", "ja-ja", "ru-ru", "zh-zh"]
    assert pairs_in(HELP) == pairs
    assert with_pairs([str(HELP)]) == [f"{HELP}/{pair}" for pair in pairs]
    assert with_pairs([f"{HELP.name}:dev"], HELP.parent)[0] == "libreoffice-help/en-en:dev"
    assert with_pairs([str(HELP / "fr-en")]) == [str(HELP / "fr-en")]
    assert load_dataset(str(HELP / "fr-en")).name == "libreoffice-help/fr-en"


def test_pairs_of_the_same_documents_share_their_index():
    assert corpus_name("help/fr-en") == corpus_name("help/en-en") == "help/en"
    assert corpus_name("scifact") == "scifact"


def test_languages_of_queries_are_columns_and_systems_rows():
    found = [
        evaluation("help/fr-en", "words", [0.5, 0.3]),
        evaluation("help/en-en", "words", [1.0, 0.8]),
        evaluation("help/en-en", "dense", [0.25, 0.25]),
        evaluation("help/fr-fr", "words", [0.5, 0.5]),
        evaluation("scifact", "words", [1.0, 1.0]),
    ]
    assert language_table(Results(found), "nDCG@10") == [
        ["collection", "documents", "system", "en", "fr", "mean"],
        ["help", "en", "words", "0.900", "0.400", "0.650"],
        ["help", "en", "dense", "0.250", "", "0.250"],
        ["help", "fr", "words", "", "0.500", "0.500"],
    ]
    assert language_table(Results(found[-1:]), "nDCG@10") == []


def test_judgements_of_two_splits_stand_in_rows_of_their_own():
    found = [
        evaluation("help/fr-en:dev", "words", [0.1, 0.3]),
        evaluation("help/fr-en:test", "words", [0.5, 0.7]),
        evaluation("help/en-en:test", "words", [1.0, 0.8]),
    ]
    assert language_table(Results(found), "nDCG@10")[1:] == [
        ["help:dev", "en", "words", "", "0.200", "0.200"],
        ["help:test", "en", "words", "0.900", "0.600", "0.750"],
    ]


@pytest.fixture
def meals(tmp_path):
    """French words of one stem, and Chinese ones that no blanks part."""

    def make(pair, document, query):
        folder = tmp_path / "meals" / pair
        (folder / "qrels").mkdir(parents=True)
        (folder / "corpus.jsonl").write_text(json.dumps({"_id": "1", "text": document}))
        (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": query}))
        (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t1\t1\n")
        return load_dataset(str(folder))

    return make


@pytest.mark.parametrize(
    ("pair", "document", "query"),
    [("fr-fr", "elle chantait", "ils chantaient"), ("zh-zh", "厨房里的滚筒筛子", "筛子")],
)
def test_bm25_stems_as_the_documents_language_does(meals, tmp_path, pair, document, query):
    dataset = meals(pair, document, query)
    ranked = Bm25System(language="auto").prepare(dataset, tmp_path).rank([query], 10)
    assert list(ranked[0]) == ["1"]
    in_english = Bm25System().prepare(dataset, tmp_path).rank([query], 10)
    assert in_english == [{}]


def test_eval_shows_the_languages_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shown = CliRunner().invoke(
        command_line(), ["eval", str(HELP), "--encoder", "bm25", "--timed-queries", "0"]
    )
    assert shown.exit_code == 0, shown.output
    table = shown.stdout.partition("by language of the queries\n")[2].splitlines()
    assert table[0].split() == [
        "collection", "documents", "system", "en", "fr", "ja", "ru", "zh", "mean",
    ]  # fmt: skip
    english = next(line.split() for line in table if line.split()[1] == "en")
    own, french, japanese = map(float, english[3:6])
    assert own > french > japanese  # which shares no letters with English
