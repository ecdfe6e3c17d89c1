import gzip
import json

import pytest

from tamis.index.errors import InputError
from tamis.retriever.training.config import SourceConfig
from tamis.retriever.training.data.dev_sets import read_dev_set
from tamis.retriever.training.data.sources import Candidate, Example, read_source


def test_fields_of_json_lines_make_queries_and_passages(tmp_path):
    rows = [
        {"t": "Moon", "s": "tides", "x": "The Moon raises tides."},
        {"t": "Sun", "s": None, "x": "A star."},
    ]
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    config = SourceConfig("a.jsonl.gz", query=("t", "s"), passage=("x",), judged=False)
    assert read_source(config, tmp_path, 1) == [
        Example("Moon tides", "The Moon raises tides.", False),
        Example("Sun", "A star.", False),
    ]


def test_a_line_without_the_fields_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"q": "a", "p": "b"}\n{"q": "a"}\n')
    with pytest.raises(InputError, match=r"a\.jsonl:2: expected a JSON object with q, p"):
        read_source(SourceConfig("a.jsonl", query=("q",), passage=("p",)), tmp_path, 1)


SHAPES = {
    "with a header": "query-id\tcorpus-id\tscore\nq0\td0-0\t1\nq1\td1-0\t1\nq1\td2-0\t0\n",
    "without one": "q0\td0-0\t1\nq1\td1-0\t1\nq1\td2-0\t0\n",
    "with decimals": "q0\td0-0\t1.0\nq1\td1-0\t1.0\nq1\td2-0\t0.0\n",
    "of TREC": "q0 0 d0-0 1\nq1 0 d1-0 1\nq1 0 d2-0 0\n",
}


@pytest.fixture
def judged(tmp_path, data_folder):
    """Writes the train split of a copy of a collection."""
    folder = tmp_path / "c"
    (folder / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl"):
        (folder / name).write_bytes((data_folder / "topics" / name).read_bytes())

    def write(text):
        (folder / "qrels" / "train.tsv").write_text(text)
        return tmp_path

    return write


@pytest.mark.parametrize("shape", SHAPES)
def test_judgements_of_every_shape_give_all_their_pairs(judged, shape):
    found = read_source(SourceConfig("c"), judged(SHAPES[shape]), 1)
    assert [(one.query, one.passage) for one in found] == [
        ("the book", "the ban of bel ban"), ("the cook", "the can of cel can"),
    ]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_development_sets_of_every_shape_hold_all_their_pairs(judged, shape):
    texts = read_dev_set("c:train", judged(SHAPES[shape]), 10**6, 1)
    pairs = zip(texts.query_of, texts.passage_of, texts.grades, strict=True)
    assert [(texts.queries[q], texts.passages[p], grade) for q, p, grade in pairs] == [
        ("the book", "the ban of bel ban", 1), ("the cook", "the can of cel can", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("read", ["training", "development"])
def test_a_short_line_of_judgements_is_named(judged, read):
    root = judged("q0\td0-0\t1\nq1\td1-0\n")
    with pytest.raises(InputError, match=r"train\.tsv:2: expected 3 columns"):
        read_source(SourceConfig("c"), root, 1) if read == "training" else read_dev_set(
            "c:train", root, 10, 1
        )


def test_judgements_of_unknown_texts_are_named(judged):
    with pytest.raises(InputError, match=r"train\.tsv:3: expected ids of the collection"):
        read_source(SourceConfig("c"), judged("q\td\ts\nq0\td0-0\t1\nq0\tnone\t1\n"), 1)


def test_development_sets_refuse_judgements_of_unknown_texts(judged):
    with pytest.raises(InputError, match=r"train\.tsv: .* found 1 unknown, such as \('q0', 'none'"):
        read_dev_set("c:train", judged("q0\tnone\t1\nq0\td0-0\t1\n"), 10, 1)


def test_listed_passages_come_with_their_scores(tmp_path):
    rows = [{"q": "a", "p": "b", "n": ["c", "d"], "s": [1, 2.5]}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = SourceConfig("a.jsonl", query=("q",), passage=("p",), listed=("n",), scores="s")
    (found,) = read_source(config, tmp_path, 1)
    assert found == Example("a", "b", True, (Candidate("c", 1.0), Candidate("d", 2.5)))
    (tmp_path / "a.jsonl").write_text('{"q": "a", "p": "b", "n": ["c"], "s": [1, 2]}\n')
    with pytest.raises(InputError, match=r"a\.jsonl:1: expected a JSON object with q, p, n, s"):
        read_source(config, tmp_path, 1)


def test_triples_are_read_and_unknown_ids_are_named(data_folder, tmp_path):
    folder = tmp_path / "c"
    folder.mkdir()
    for name in ("corpus.jsonl", "queries.jsonl"):
        (folder / name).write_bytes((data_folder / "topics" / name).read_bytes())
    (folder / "triples.tsv").write_text("q0\td0-0\td1-0\td2-0\nq1\td1-0\n")
    config = SourceConfig("c", triples="triples.tsv")
    first, second = read_source(config, tmp_path, 1)
    assert first.query == "the book"
    assert [one.passage for one in first.listed] == ["the can of cel can", "the dan of del dan"]
    assert second.listed == ()
    (folder / "triples.tsv").write_text("q0\td0-0\nq0\td0-0\td9-9\n")
    with pytest.raises(InputError, match=r"triples\.tsv:2: expected ids .* found 'd9-9'"):
        read_source(config, tmp_path, 1)
    with pytest.raises(InputError, match="check `triples`"):
        read_source(SourceConfig("c", triples="none.tsv"), tmp_path, 1)


def test_tagged_queries_come_without_passages_and_without_excluded_tags(tmp_path):
    (tmp_path / "q.tsv").write_text("nq\twho was first\nbad\tnot this\n")
    found = read_source(SourceConfig("q.tsv", exclude=("bad",)), tmp_path, 1)
    assert found == [Example("who was first", "", False)]


def test_a_limit_draws_by_the_seed_and_a_holdout_by_the_passage(tmp_path):
    with (tmp_path / "a.jsonl").open("w") as file:
        file.writelines(json.dumps({"q": f"q{i}", "p": f"p{i}"}) + "\n" for i in range(500))
    config = SourceConfig("a.jsonl", query=("q",), passage=("p",))
    limited = SourceConfig(**{**_fields(config), "limit": 20})
    held = SourceConfig(**{**_fields(config), "holdout": 0.3})
    assert read_source(limited, tmp_path, 1) == read_source(limited, tmp_path, 1)
    assert read_source(limited, tmp_path, 1) != read_source(limited, tmp_path, 2)
    kept = read_source(held, tmp_path, 1)
    assert 300 < len(kept) < 400
    assert kept == read_source(held, tmp_path, 2)


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(InputError, match="found nothing"):
        read_source(SourceConfig("none.jsonl"), tmp_path, 1)


def _fields(config):
    return {name: getattr(config, name) for name in config.__slots__}
