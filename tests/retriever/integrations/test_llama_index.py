import asyncio

import pytest

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")

from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import MetadataMode, QueryBundle, TextNode
from word_counts import counts

from tamis.retriever import Searcher
from tamis.retriever.integrations.llama_index import TamisRetriever

from .conftest import PLANETS


class Words(BaseEmbedding):
    """Counts words."""

    def _get_text_embedding(self, text):
        return counts(text)

    def _get_query_embedding(self, query):
        return counts(query)

    async def _aget_query_embedding(self, query):
        return counts(query)


@pytest.fixture(scope="module")
def theirs():
    """The retriever of LlamaIndex's own store over the documents that have a text."""
    nodes = [
        TextNode(id_=one.doc_id, text=one.text, metadata={"title": one.title, **one.fields})
        for one in PLANETS
        if one.text
    ]
    return VectorStoreIndex(nodes, embed_model=Words()).as_retriever(similarity_top_k=3)


def test_it_gives_the_searcher_s_nodes(planets, truth):
    found = TamisRetriever.open(planets, k=2).retrieve("red planet")
    assert [(node.node.node_id, node.score) for node in found] == truth("red planet", 2)
    assert found[0].node.metadata["title"] in ("Mars", "Jupiter")
    assert found[0].text.startswith(("The fourth", "A giant"))


def test_its_nodes_are_those_of_the_framework_s_own_store(planets, theirs):
    found, expected = (
        {node.node.node_id: node.node for node in retriever.retrieve("red planet")}
        for retriever in (TamisRetriever.open(planets), theirs)
    )
    assert found.keys() == expected.keys() == {"mars", "venus", "jupiter"}
    for doc_id, node in found.items():
        assert node.hash == expected[doc_id].hash
        everything = MetadataMode.ALL
        assert node.get_content(everything) == expected[doc_id].get_content(everything)


def test_a_document_that_several_find_is_fused_into_one(planets, theirs):
    ours = TamisRetriever.open(planets)
    both = QueryFusionRetriever(
        [ours, theirs], llm=MockLLM(), num_queries=1, similarity_top_k=9, use_async=False,
        mode="reciprocal_rerank",
    )  # fmt: skip
    found = both.retrieve("red planet")
    assert sorted(node.node.node_id for node in found) == ["jupiter", "mars", "venus"]


def test_it_answers_asynchronously_and_beside_the_event_loop(planets, truth, monkeypatch):
    loops = []

    def search(searcher, *arguments, **options):
        try:
            loops.append(asyncio.get_running_loop())
        except RuntimeError:
            loops.append(None)
        return plain(searcher, *arguments, **options)

    plain = Searcher.search
    monkeypatch.setattr(Searcher, "search", search)
    found = asyncio.run(TamisRetriever.open(planets).aretrieve(QueryBundle("red planet")))
    assert loops == [None]
    assert [(node.node.node_id, node.score) for node in found] == truth("red planet")


def test_options_go_to_the_search(planets):
    where = {"field": "order", "range": {"lt": 5}}
    found = TamisRetriever.open(planets, filter=where).retrieve("red")
    assert [node.node.node_id for node in found] == ["mars"]
