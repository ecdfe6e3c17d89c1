import pytest
from letter_encoder import LetterEncoder
from starlette.testclient import TestClient

from tamis.api import create_app
from tamis.retriever import Passage, Searcher, index_corpus

PASSAGES = [
    Passage("owl", "Owls hunt at night; a hunting owl flies silently.", "Owls"),
    Passage("kitchen/sieve", "A drum sieve, or tamis, is used to sieve flour.", fields={"year": 2}),
    Passage("bat", "Bats hunt insects at night."),
    Passage("sea", "Fish swim in the sea."),
]


@pytest.fixture(scope="session")
def searchers(tmp_path_factory):
    """Two real indexes: words alone, and letters (an encoder worked by hand) beside words."""
    folder = tmp_path_factory.mktemp("indexes")
    encoder = LetterEncoder()
    words = index_corpus(PASSAGES, folder / "words", encoder=None)
    both = index_corpus(PASSAGES, folder / "both", encoder=encoder)
    lexical = Searcher.open(words.path).lexical
    assert lexical is not None
    of_both = type(lexical).from_settings(both.settings["lexical"], both.dictionary, len(both))
    return {"words": Searcher.open(words.path), "both": Searcher(encoder, both, of_both)}


@pytest.fixture(scope="session")
def client(searchers):
    with TestClient(create_app(searchers), raise_server_exceptions=False) as client:
        yield client
