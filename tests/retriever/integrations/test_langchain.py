import asyncio

import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")

from tamis.index.errors import InputError
from tamis.retriever.integrations.langchain import TamisRetriever


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


def test_what_is_no_option_is_refused_by_name(planets):
    plain = TamisRetriever.open(planets)
    with pytest.raises(InputError, match=r"found search_kwargs"):
        plain.invoke("planet", search_kwargs={"k": 1})
    with pytest.raises(ValueError, match=r"filters"):
        TamisRetriever(searcher=plain.searcher, filters={})
