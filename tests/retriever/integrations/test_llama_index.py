import pytest

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")

from tamis.retriever.integrations.llama_index import TamisRetriever


def test_it_gives_the_searcher_s_nodes(planets, truth):
    found = TamisRetriever.open(planets, k=2).retrieve("red planet")
    assert [(node.node.node_id, node.score) for node in found] == truth("red planet", 2)
    assert found[0].node.metadata["title"] in ("Mars", "Jupiter")
    assert found[0].text.startswith(("The fourth", "A giant"))


def test_options_go_to_the_search(planets):
    where = {"field": "order", "range": {"lt": 5}}
    found = TamisRetriever.open(planets, filter=where).retrieve("red")
    assert [node.node.node_id for node in found] == ["mars"]
