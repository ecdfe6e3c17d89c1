import asyncio

import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import ConfigurableField
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore
from word_counts import counts

from tamis.index.errors import InputError
from tamis.retriever.integrations.langchain import TamisRetriever

from .conftest import PLANETS


class Words(Embeddings):
    """Counts words."""

    def embed_documents(self, texts):
        return list(map(counts, texts))

    def embed_query(self, text):
        return counts(text)


@pytest.fixture(scope="module")
def theirs():
    """LangChain's own store over the documents that have a text."""
    store = InMemoryVectorStore(Words())
    store.add_documents(
        [
            Document(
                id=one.doc_id, page_content=one.text, metadata={"title": one.title, **one.fields}
            )
            for one in PLANETS
            if one.text
        ]
    )
    return store.as_retriever(search_kwargs={"k": 3})


def test_it_gives_the_searcher_s_documents(planets, truth):
    found = TamisRetriever.open(planets, k=2).invoke("red planet")
    assert [(document.id, document.metadata["score"]) for document in found] == truth(
        "red planet", 2
    )
    assert found[0].page_content.startswith(("The fourth", "A giant"))
    assert found[0].metadata["rank"] == 1
    assert {"title", "order"} <= set(found[0].metadata)


def test_options_go_to_the_search(planets, truth):
    where = {"field": "order", "range": {"gte": 5}}
    (found,) = TamisRetriever.open(planets, filter=where).invoke("red planet")
    assert found.id == "jupiter"
    assert TamisRetriever.open(planets).invoke(" ") == []


def test_it_stands_in_a_chain_and_answers_asynchronously(planets, truth):
    chain = TamisRetriever.open(planets) | (lambda documents: [d.id for d in documents])
    expected = [doc_id for doc_id, _ in truth("red planet")]
    assert chain.invoke("red planet") == expected
    assert asyncio.run(chain.ainvoke("red planet")) == expected
    assert TamisRetriever.open(planets).invoke("circles")[0].page_content == "It circles the Earth"


def test_what_is_given_with_a_call_holds_for_that_call(planets):
    where = {"field": "order", "range": {"gte": 5}}
    plain = TamisRetriever.open(planets)
    of_class = TamisRetriever(searcher=plain.searcher, filter=where)
    for found in (
        plain.invoke("red planet", filter=where),
        plain.batch(["red planet"], filter=where)[0],
        asyncio.run(plain.ainvoke("red planet", filter=where)),
        of_class.invoke("red planet"),
    ):
        assert [document.id for document in found] == ["jupiter"]
    other = {"field": "order", "range": {"lt": 5}}
    assert "jupiter" not in [d.id for d in of_class.invoke("red planet", filter=other)]
    assert len(plain.invoke("planet", k=1)) == 1
    assert len(plain.invoke("planet")) == 3


def by_id(documents):
    return {document.id: document for document in documents}


def test_its_documents_are_those_of_the_framework_s_own_store(planets, theirs):
    ours, queries = TamisRetriever.open(planets), ["red planet", "hottest planet"]
    for ask in (
        lambda retriever: retriever.batch(queries),
        lambda retriever: asyncio.run(retriever.abatch(queries)),
    ):
        for found, expected in zip(ask(ours), ask(theirs), strict=True):
            found, expected = by_id(found), by_id(expected)
            assert found.keys() == expected.keys() == {"mars", "venus", "jupiter"}
            for doc_id, document in found.items():
                assert document.page_content == expected[doc_id].page_content
                assert expected[doc_id].metadata.items() <= document.metadata.items()


def test_options_may_be_bound_or_come_with_the_configuration(planets):
    where = {"field": "order", "range": {"gte": 5}}
    plain = TamisRetriever.open(planets)
    bound = (plain.bind(filter=where) | (lambda documents: [one.id for one in documents])).invoke
    assert bound("red planet") == ["jupiter"]
    configurable = plain.configurable_fields(k=ConfigurableField(id="k"))
    found = configurable.invoke("planet", config={"configurable": {"k": 1}})
    assert len(found) == 1
    assert len(configurable.invoke("planet")) == 3


def test_it_is_a_tool_for_a_language_model(planets, truth):
    tool = create_retriever_tool(TamisRetriever.open(planets, k=1), "planets", "Knows planets.")
    (best, _) = truth("red planet")[0]
    (text,) = (one.text for one in PLANETS if one.doc_id == best)
    assert tool.invoke({"query": "red planet"}) == text


def test_what_is_no_option_is_refused_by_name(planets):
    plain = TamisRetriever.open(planets)
    with pytest.raises(InputError, match=r"found search_kwargs"):
        plain.invoke("planet", search_kwargs={"k": 1})
    with pytest.raises(ValueError, match=r"filters"):
        TamisRetriever(searcher=plain.searcher, filters={})
