"""Fixtures that several rooms use."""

from pathlib import Path

import pytest

from tamis.index.segment.plain_search import import_loops

pytest_plugins = ["closing_lines"]

import_loops()  # a test searches with them from the beginning, not from its hundredth search on

PLANETS = {
    "mars": ("Mars", "Mars is the fourth planet from the Sun, called the Red Planet for its rust."),
    "venus": ("Venus", "Venus is the second planet; thick clouds make it the hottest of all."),
    "jupiter": ("Jupiter", "Jupiter is a gas giant with a great red spot, a storm of centuries."),
    "moon": ("Moon", "The Moon circles the Earth and raises the tides of its oceans."),
    "comet": ("Comet", "A comet grows a tail of dust and gas when it comes near the Sun."),
}


@pytest.fixture
def tests_by_name(monkeypatch):
    """A process that is spawned imports the test whose function it calls by its name."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent)


@pytest.fixture(scope="session")
def sample_index(tmp_path_factory):
    """A collection of five documents with the default encoder and the lexical channel."""
    from tamis.retriever import Passage, index_corpus, load_encoder

    path = tmp_path_factory.mktemp("sample") / "planets"
    passages = [Passage(doc_id, text, title) for doc_id, (title, text) in PLANETS.items()]
    index_corpus(passages, path, encoder=load_encoder(), source="planets")
    return path
