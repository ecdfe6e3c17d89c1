import asyncio

import pytest

pytest.importorskip("haystack", reason="haystack-ai is not installed")

from haystack import Document, Pipeline
from haystack.document_stores.in_memory import InMemoryDocumentStore

from tamis.index import InputError
from tamis.retriever.integrations.haystack import TamisRetriever, filter_of

from .conftest import PLANETS


def test_it_gives_the_searcher_s_documents(planets, truth):
    found = TamisRetriever(str(planets)).run("red planet", top_k=2)["documents"]
    assert [(document.id, document.score) for document in found] == truth("red planet", 2)
    assert found[0].meta["order"] in (4, 5)
    assert TamisRetriever(str(planets)).run("red planet", top_k=0)["documents"] == []


def test_a_pipeline_with_it_goes_to_a_file_and_back(planets, truth):
    pipeline = Pipeline()
    pipeline.add_component("retriever", TamisRetriever(str(planets), top_k=2))
    trusted = ["tamis.retriever.integrations.haystack"]  # Haystack loads no other classes unasked
    pipeline = Pipeline.loads(pipeline.dumps(), allowed_modules=trusted)
    found = pipeline.run({"retriever": {"query": "red planet"}})["retriever"]["documents"]
    assert [document.id for document in found] == [doc_id for doc_id, _ in truth("red planet", 2)]


def test_a_pipeline_runs_it_asynchronously_with_options_at_the_call(planets, truth):
    pipeline = Pipeline()
    pipeline.add_component("retriever", TamisRetriever(str(planets)))
    asked = {"query": "red planet", "top_k": 1, "filters": condition("==", 5)}
    found = asyncio.run(pipeline.run_async({"retriever": asked}))["retriever"]["documents"]
    assert [document.id for document in found] == ["jupiter"]


def condition(operator, value):
    return {"field": "meta.order", "operator": operator, "value": value}


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (condition("==", 4), {"mars"}),
        (condition("!=", 4), {"venus", "jupiter"}),
        (condition(">", 4), {"jupiter"}),
        (condition(">=", 4), {"mars", "jupiter"}),
        (condition("<", 4), {"venus"}),
        (condition("<=", 4), {"mars", "venus"}),
        (condition("in", [2, 5]), {"venus", "jupiter"}),
        (condition("not in", [2, 5]), {"mars"}),
        ({"operator": "AND", "conditions": [condition(">", 2), condition("<", 5)]}, {"mars"}),
        (
            {"operator": "OR", "conditions": [condition("==", 2), condition("==", 5)]},
            {"venus", "jupiter"},
        ),
        (
            {"operator": "NOT", "conditions": [condition(">", 2), condition("<", 5)]},
            {"venus", "jupiter"},
        ),
    ],
)
def test_haystack_s_filters_mean_what_they_say(planets, filters, found):
    documents = TamisRetriever(str(planets), filters=filters).run("planet")["documents"]
    assert {document.id for document in documents} == found


@pytest.mark.parametrize(
    "filters",
    [
        condition("!=", 4),
        condition("not in", [2, 5]),
        condition("in", []),
        {"operator": "NOT", "conditions": [condition("==", 4)]},
        {"operator": "NOT", "conditions": [condition(">=", 4), condition("<", 5)]},
        {
            "operator": "OR",
            "conditions": [
                condition("<", 3),
                {"operator": "AND", "conditions": [condition(">", 2), condition("!=", 5)]},
            ],
        },
    ],
    ids=str,
)
def test_filters_find_what_the_framework_s_own_store_finds(planets, filters):
    store = InMemoryDocumentStore()
    store.write_documents(
        [
            Document(id=one.doc_id, content=one.text, meta={"title": one.title, **one.fields})
            for one in PLANETS
        ]
    )
    found = TamisRetriever(str(planets), filters=filters).run("planet circles")["documents"]
    assert {one.id for one in found} == {one.id for one in store.filter_documents(filters)}


@pytest.mark.parametrize(
    "filters", [{"operator": "XOR", "conditions": []}, condition("~", 1), {"a": 1}]
)
def test_filters_without_a_counterpart_are_refused(filters):
    with pytest.raises(InputError, match="expected a filter of Haystack with AND, OR, NOT"):
        filter_of(filters)


@pytest.mark.parametrize("operator", ["in", "not in"])
def test_a_string_where_a_list_belongs_is_refused(operator):
    with pytest.raises(InputError, match=r"expected a list of values"):
        filter_of({"field": "meta.language", "operator": operator, "value": "en"})
