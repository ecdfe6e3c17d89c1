"""Datasets resolve by name, keep to their protocol and are checked when loaded."""

from __future__ import annotations

import json
import shutil

import pytest

from tamis.eval.checks import check
from tamis.eval.datasets import load_dataset, load_parts
from tamis.eval.protocol import CQADUPSTACK_PARTS, protocol_of
from tamis.index.errors import InputError


def test_a_beir_folder_gives_its_judged_queries_and_documents(beir):
    dataset = load_dataset(str(beir))
    assert dataset.name == "sieves"
    assert dataset.label == "sieves"
    assert dataset.queries == {"q1": "drum sieve", "q2": "sifting flour"}
    assert dataset.qrels == {"q1": {"d1": 2, "d3": 1}, "q2": {"d2": 1}}
    assert [p.doc_id for p in dataset.corpus()] == ["d1", "d2", "d3", "d4"]
    assert [p.doc_id for p in dataset.passages()] == ["d1", "d2", "d3"]
    assert next(dataset.passages()).content.startswith("Sieve A tamis")


@pytest.mark.parametrize("name", ["sieves", "beir/sieves"])
def test_a_name_resolves_in_the_data_folder(beir, name, monkeypatch):
    monkeypatch.setenv("TAMIS_DATA", str(beir.parent))
    assert load_dataset(name).name == "sieves"
    monkeypatch.delenv("TAMIS_DATA")
    assert load_dataset(name, data=beir.parent).name == "sieves"


def test_the_split_may_stand_after_a_colon(beir):
    shutil.copy(beir / "qrels/test.tsv", beir / "qrels/dev.tsv")
    dataset = load_dataset("sieves:dev", data=beir.parent)
    assert (dataset.split, dataset.label) == ("dev", "sieves:dev")


def test_an_unknown_name_shows_the_nearest(beir):
    with pytest.raises(InputError, match=r"found 'seives'.*nearest: sieves"):
        load_dataset("seives", data=beir.parent)


def test_an_unknown_split_shows_the_splits_there_are(beir):
    with pytest.raises(InputError, match=r"found no qrels; splits there: test"):
        load_dataset(str(beir), split="train")


def test_a_data_folder_that_is_absent_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a folder of datasets"):
        load_dataset("scifact", data=tmp_path / "nowhere")


def test_msmarco_layout_has_its_own_splits_and_measures(tmp_path):
    folder = tmp_path / "msmarco"
    folder.mkdir()
    (folder / "collection.tsv").write_text("0\tfirst passage\n1\tsecond passage\n")
    (folder / "queries.dev.small.tsv").write_text("9\twhich passage\n8\tnot judged\n")
    (folder / "qrels.dev.small.tsv").write_text("9\t0\t1\t1\n")
    (folder / "msmarco-test2019-queries.tsv").write_text("5\tgraded\n")
    (folder / "2019qrels-pass.txt").write_text("5 Q0 0 3\n5 Q0 1 1\n")
    dev, graded = load_dataset(str(folder)), load_dataset(f"{folder}", split="dl19")
    assert (dev.queries, dev.qrels) == ({"9": "which passage"}, {"9": {"1": 1}})
    assert dev.protocol.measures[0] == "MRR@10"
    assert (graded.protocol.relevant_from, dev.protocol.relevant_from) == (2, 1)
    with pytest.raises(InputError, match=r"found no queries, qrels"):
        load_dataset(str(folder), split="eval")


def test_files_that_are_given_need_not_be_in_the_folder(beir, tmp_path):
    queries = shutil.move(beir / "queries.jsonl", tmp_path / "asked.jsonl")
    qrels = shutil.move(beir / "qrels/test.tsv", tmp_path / "judged.tsv")
    assert set(load_dataset(str(beir), queries=queries, qrels=qrels).queries) == {"q1", "q2"}
    with pytest.raises(InputError, match="found no qrels"):
        load_dataset(str(beir), queries=queries)


def test_loose_files_make_a_dataset(beir, tmp_path):
    topics = tmp_path / "topics.txt"
    topics.write_text("<top>\n<num>q1\n<title>drums\n</top>\n")
    qrels = tmp_path / "judged.txt"
    qrels.write_text("q1 0 d3 1\n")
    dataset = load_dataset(str(beir / "corpus.jsonl"), queries=topics, qrels=qrels)
    assert (dataset.name, dict(dataset.queries)) == ("corpus", {"q1": "drums"})
    other = load_dataset(str(beir), queries=topics, qrels=qrels)
    assert other.queries == dataset.queries


@pytest.mark.parametrize(
    ("name", "split", "drops", "level"),
    [
        ("arguana", "test", True, 1),
        ("beir/quora", "test", True, 1),
        ("cqadupstack/gis", "test", True, 1),
        ("cranfield", "test", False, 1),  # its query ids are document ids only by accident
        ("scifact", "test", False, 1),
        ("msmarco-passage/trec-dl-2019/judged", "test", False, 2),
        ("msmarco", "dl20", False, 2),
        ("msmarco-passage/trec-dl-hard/fold1", "test", False, 2),
        ("msmarco-passage-v2/trec-dl-2022", "judged", False, 2),
        ("msmarco-document/trec-dl-2019/judged", "test", False, 1),
        ("msmarco-document-v2/trec-dl-2021", "test", False, 1),
        ("msmarco-doc", "dl19", False, 1),
        ("dl19-passage", "test", False, 2),
        ("dl20-doc", "test", False, 1),
        ("beir/msmarco/test", "test", False, 1),
        ("antique/test/non-offensive", "test", False, 3),
        ("beir/cqadupstack/android", "test", True, 1),
    ],
)
def test_protocols_follow_the_published_rules(name, split, drops, level):
    rules = protocol_of(name, split)
    assert (rules.drops_own_document, rules.relevant_from) == (drops, level)


@pytest.mark.parametrize(
    "place", ["arguana", "cqadupstack/gis", "msmarco-passage", "limit-small", "other"]
)
def test_files_of_a_published_folder_keep_its_rules(beir, tmp_path, place):
    folder = shutil.copytree(beir, tmp_path / place)
    files = [folder / name for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv")]
    dataset = load_dataset(str(files[0]), queries=files[1], qrels=files[2])
    assert dataset.protocol == load_dataset(str(folder)).protocol == protocol_of(place, "test")


def test_queries_that_are_documents_are_counted_apart_from_namesakes(beir):
    rows = {"d1": "a  tamis is a fine drum sieve", "d2": "other words", "d3": "drums"}
    text = json.loads((beir / "corpus.jsonl").read_text().split("\n", 1)[0])["text"]
    rows["d1"] = f" {text} "  # blanks do not matter
    lines = [json.dumps({"_id": key, "text": value}) for key, value in rows.items()]
    (beir / "queries.jsonl").write_text("\n".join(lines))
    (beir / "qrels/test.tsv").write_text("d1\td2\t1\nd2\td1\t1\nd3\td1\t1\n")
    summary = check(load_dataset(str(beir)))
    assert (summary.own_documents, summary.same_ids) == (1, 3)
    (beir / "qrels/test.tsv").write_text("d1\td1\t1\nd2\td1\t1\n")
    assert check(load_dataset(str(beir))).own_documents == 0  # it is judged to answer itself


def test_cqadupstack_is_its_twelve_parts(beir, tmp_path):
    for part in CQADUPSTACK_PARTS:
        shutil.copytree(beir, tmp_path / "cqadupstack" / part)
    parts = load_parts("cqadupstack", data=tmp_path)
    assert [part.name for part in parts] == [f"cqadupstack/{part}" for part in CQADUPSTACK_PARTS]
    assert len(parts) == 12
    assert not parts[0].protocol.parts
    assert [part.name for part in load_parts("sieves", data=beir.parent)] == ["sieves"]


def test_a_sample_is_seeded_and_keeps_the_order(beir):
    rows = [{"_id": f"q{n}", "text": f"text {n}"} for n in range(50)]
    (beir / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines = "".join(f"q{n}\td1\t1\n" for n in range(50))
    (beir / "qrels/test.tsv").write_text(lines)
    dataset = load_dataset(str(beir))
    drawn = [list(dataset.sample(7, seed).queries) for seed in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(drawn[0], key=lambda q: int(q[1:]))
    assert set(dataset.sample(7, 3).qrels) == set(drawn[0])
    assert dataset.sample(99, 0) is dataset


def test_the_check_counts_everything(beir):
    with (beir / "qrels/test.tsv").open("a") as file:
        file.write("q2\td2\t1\nq2\td1\t0\nq3\td1\t0\n")
    summary = check(load_dataset(str(beir)))
    assert (summary.documents, summary.empty_documents) == (4, 1)
    assert (summary.queries, summary.judgements) == (3, 5)
    assert summary.grades == {"0": 2, "1": 2, "2": 1}
    assert (summary.repeated_judgements, summary.queries_without_relevant) == (1, 1)
    assert set(summary.sha256) == {"corpus", "queries", "qrels"}
    # `sha256sum` of the four lines that conftest writes
    assert len(summary.sha256["corpus"]) == 64


def test_missing_judged_documents_are_refused_or_counted(beir):
    with (beir / "qrels/test.tsv").open("a") as file:
        file.write("".join(f"q1\tx{n}\t1\n" for n in range(5)))
    dataset = load_dataset(str(beir))
    with pytest.raises(InputError, match=r"found 5 missing, such as 'x0', 'x1', 'x2'; "):
        check(dataset)
    assert check(dataset, allow_missing=True).missing_documents == 5


def test_duplicate_documents_are_refused(beir):
    with (beir / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "d2", "title": "", "text": "again"}\n')
    with pytest.raises(InputError, match=r"found 1 that repeat, such as 'd2'"):
        check(load_dataset(str(beir)))


def test_an_empty_corpus_is_refused(beir):
    (beir / "corpus.jsonl").write_text("")
    with pytest.raises(InputError, match="expected documents, found none"):
        check(load_dataset(str(beir)))


def test_judged_queries_without_text_are_refused(beir):
    with (beir / "qrels/test.tsv").open("a") as file:
        file.write("q8\td1\t1\nq9\td1\t1\n")
    with pytest.raises(InputError, match=r"found 2 that are not, such as 'q8', 'q9'"):
        load_dataset(str(beir))


def test_empty_judged_queries_are_refused(beir):
    (beir / "queries.jsonl").write_text('{"_id": "q1", "text": " "}\n{"_id": "q2", "text": "a"}\n')
    with pytest.raises(InputError, match=r"found 1 empty, such as 'q1'"):
        load_dataset(str(beir))


def test_an_ir_datasets_name_is_read_through_that_package(beir, tmp_path):
    ir_datasets = pytest.importorskip("ir_datasets")
    from ir_datasets.datasets.base import Dataset as Parts
    from ir_datasets.formats import TrecQrels, TsvDocs, TsvQueries
    from ir_datasets.util import LocalDownload

    def file(name, text):
        (tmp_path / name).write_text(text)
        return LocalDownload(tmp_path / name)

    documents = TsvDocs(file("docs.tsv", "d1\tdrum sieve\nd2\tflour\n"))
    queries = TsvQueries(file("queries.tsv", "q1\tsieve\nq2\tnot judged\n"))
    qrels = TrecQrels(file("qrels.txt", "q1 0 d1 2\n"), {2: "relevant"})
    ir_datasets.registry.register("kitchen/tools", Parts(documents, queries, qrels))
    dataset = load_dataset("kitchen/tools")
    assert dict(dataset.queries) == {"q1": "sieve"}
    assert dataset.qrels == {"q1": {"d1": 2}}
    assert [(p.doc_id, p.content) for p in dataset.passages()] == [
        ("d1", "drum sieve"), ("d2", "flour"),
    ]  # fmt: skip
    assert check(dataset).documents == 2
    with pytest.raises(InputError, match="found 'kitchen/none'"):
        load_dataset("kitchen/none")


def test_the_packages_own_sample_has_a_name():
    dataset = load_dataset("sample")
    assert (dataset.name, len(dataset.queries)) == ("squadshifts-new-wiki", 749)
