"""Collections of ir_datasets: every kind of record in its registry, none of them downloaded."""

from __future__ import annotations

from collections import namedtuple

import pytest

from tamis.eval.datasets import load_dataset, load_texts
from tamis.eval.registry import DatasetWarning, is_known, read_collection, text_of
from tamis.index.errors import InputError

ir_datasets = pytest.importorskip("ir_datasets")

FIELDS = {  # of the text, as the owners of the collections define it
    "aol-ia": "title text",
    "antique": "text",
    "beir/scifact": "title text",
    "beir/nfcorpus": "title text",
    "beir/arguana": "title text",
    "cord19": "title abstract",
    "cranfield": "title text",
    "csl": "title abstract",
    "disks45/nocr": "title body",
    "dpr-w100": "title text",
    "istella22": "title text extra_text",
    "medline/2004": "title abstract",
    "miracl/ar": "title text",
    "msmarco-document": "title body",
    "msmarco-document-v2": "title headings body",
    "msmarco-passage-v2": "text",
    "natural-questions": "document_title text",
    "nfcorpus": "title abstract",
    "nyt": "headline body",
    "pmc/v1": "title abstract body",
    "trec-tot/2023": "page_title text",
    "tripclick": "title text",
    "wapo/v2": "title body",
    "wikiclir/ar": "title text",
}
WITHOUT_TEXT = {
    "ArgsMeProcessedDoc", "ClinicalTrialsDoc", "CodeSearchNetDoc", "ToucheImageDoc",
    "TrecBackgroundLinkingQuery",
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_the_text_of_a_document_is_what_its_owners_call_the_text(name):
    kind = ir_datasets.registry[name].docs_cls()
    record = kind(*(f"<{field}>" for field in kind._fields))
    assert text_of(record, name).split() == [f"<{field}>" for field in FIELDS[name].split()]


def test_every_kind_of_record_has_a_text_or_is_refused_by_name():
    kinds = {}
    for name in list(ir_datasets.registry):
        dataset = ir_datasets.registry[name]
        kinds |= {dataset.docs_cls(): name} if dataset.has_docs() else {}
        kinds |= {dataset.queries_cls(): name} if dataset.has_queries() else {}
        if dataset.has_qrels():
            assert {"query_id", "doc_id", "relevance"} <= set(dataset.qrels_cls()._fields), name
    assert len(kinds) > 80
    without = {kind for kind in kinds if not {"default_text", "text"} & set(dir(kind))}
    assert {kind.__name__ for kind in without} == WITHOUT_TEXT
    for kind in without:
        with pytest.raises(InputError, match=f"found {kind.__name__} with {kind._fields[0]}"):
            text_of(kind(*kind._fields), kinds[kind])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vaswani", True), ("beir/none", True), ("kitchen", False), ("wikiqa", False)],
)
def test_a_name_is_known_with_a_slash_or_by_the_registry(name, expected):
    assert is_known(name) == expected


def test_a_collection_without_judgements_is_refused():
    with pytest.raises(InputError, match=r"msmarco-passage: .* found no queries, judgements"):
        read_collection("msmarco-passage")


Document = namedtuple("Document", "doc_id text")
Query = namedtuple("Query", "query_id text")
Judgement = namedtuple("Judgement", "query_id doc_id relevance subtopic_id")


@pytest.fixture
def kitchen(monkeypatch):
    """A collection of a registry; its judgements may be changed."""

    class Source:
        judgements = (("q1", "d1", 2, "1"),)
        queries = (("q1", "sieve"), ("q2", "not judged"))

        def docs_iter(self):
            return iter([Document("d1", "drum sieve"), Document("d2", "")])

        def queries_iter(self):
            return (Query(*one) for one in self.queries)

        def qrels_iter(self):
            return (Judgement(*one) for one in self.judgements)

    monkeypatch.setattr(ir_datasets, "load", lambda name: Source())
    return Source


def test_texts_need_no_judgements(kitchen, monkeypatch):
    monkeypatch.delattr(kitchen, "qrels_iter")
    texts = load_texts("kitchen/tools")
    assert texts.queries == {"q1": "sieve", "q2": "not judged"}
    assert [one.doc_id for one in texts.corpus()] == ["d1", "d2"]
    monkeypatch.delattr(kitchen, "queries_iter")
    with pytest.raises(InputError, match="expected documents and queries, found no queries"):
        load_texts("kitchen/tools")


def test_the_highest_grade_of_several_subtopics_counts(kitchen):
    kitchen.judgements = (("q1", "d1", 1, "1"), ("q1", "d1", 3, "2"), ("q1", "d1", 0, "3"))
    dataset = load_dataset("kitchen/tools")
    assert (dataset.qrels, dataset.repeated_judgements) == ({"q1": {"d1": 3}}, 2)
    assert [(p.doc_id, p.content) for p in dataset.corpus()] == [("d1", "drum sieve"), ("d2", "")]


def test_judged_queries_without_text_are_left_out_and_told(kitchen):
    kitchen.judgements = (*kitchen.judgements, ("q3", "d1", 1, "1"))
    with pytest.warns(DatasetWarning, match="1 judged queries have no text, such as 'q3'"):
        assert dict(load_dataset("kitchen/tools").queries) == {"q1": "sieve"}


def test_grades_that_are_no_whole_numbers_are_refused(kitchen):
    kitchen.judgements = (("q1", "d1", 0.5, "1"),)
    with pytest.raises(InputError, match=r"whole numbers as grades, found 0\.5 for 'q1' and 'd1'"):
        load_dataset("kitchen/tools")


def test_a_download_that_fails_is_one_line(kitchen, monkeypatch):
    def fail(_):
        raise OSError("no\nnetwork")
        yield

    monkeypatch.setattr(kitchen, "docs_iter", fail)
    with pytest.raises(InputError, match=r"tools: expected documents .* OSError: no network"):
        list(load_dataset("kitchen/tools").corpus())
