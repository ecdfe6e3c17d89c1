"""One record of options, the same from every door."""

import inspect
from dataclasses import fields

import pytest
from letter_encoder import LetterEncoder

from tamis.api.messages import requests
from tamis.retriever import Passage, Searcher, SearchOptions, index_corpus
from tamis.retriever.search_options import Option
from tamis.scripts.search import search

NAMES = {field.name for field in fields(SearchOptions)}
IN_PYTHON_ALONE = {"threads", "seen"}  # REST spells what was seen as a cursor
IN_BODIES = NAMES - IN_PYTHON_ALONE - {"reranker"}  # which stands in ``rerank``


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    path = tmp_path_factory.mktemp("options") / "index"
    passages = [Passage(f"d{i}", text) for i, text in enumerate(["a cab", "a dog", "dog dog"])]
    collection = index_corpus(passages, path, encoder=LetterEncoder(), lexical=None)
    return Searcher(LetterEncoder(), collection)


def test_keyword_arguments_are_the_options_of_the_record():
    types = {field.name: field.type for field in fields(SearchOptions) if field.name != "k"}
    assert {name: kind.__forward_arg__ for name, kind in Option.__annotations__.items()} == types


def test_bodies_urls_and_the_command_line_take_every_option():
    assert set(requests.SearchRequest.__struct_fields__) >= IN_BODIES
    assert set(requests.BatchRequest.__struct_fields__) >= IN_BODIES - {"offset"}
    assert set(inspect.signature(search).parameters) >= NAMES - IN_PYTHON_ALONE


def test_what_a_request_asks_for_reaches_the_record():
    asked = requests.SearchRequest(
        query="a",
        k=3,
        exact=True,
        recall=0.5,
        lexical_weight=2.0,
        explain=True,
        rerank=requests.Rerank(7, "dense"),
        filter={"field": "year", "in": [1]},
        group_by="year",
        group_size=2,
        offset=4,
        syntax="operators",
        typos="auto",
    )
    assert requests.search_options(asked) == SearchOptions(
        k=3,
        exact=True,
        recall=0.5,
        lexical_weight=2.0,
        explain=True,
        rerank=7,
        reranker="dense",
        filter={"field": "year", "in": [1]},
        group_by="year",
        group_size=2,
        offset=4,
        syntax="operators",
        typos="auto",
    )
    assert requests.search_options(requests.SearchRequest(query="a")) == SearchOptions()


def test_a_search_by_name_is_a_search_by_record(searcher):
    by_name = searcher.search(["dog"], 1, exact=True, explain=True)
    by_record = searcher.search_with(["dog"], SearchOptions(k=1, exact=True, explain=True))
    assert by_name[0].hits[0].doc_id == "d2"
    assert [result.hits[0].matched_terms for result in by_name] == [
        result.hits[0].matched_terms for result in by_record
    ]


def test_an_unknown_option_is_named(searcher):
    with pytest.raises(TypeError, match="recal"):
        searcher.search(["dog"], recal=0.9)
