import threading
import time

import pytest
import uvicorn
from letter_encoder import LetterEncoder
from starlette.testclient import TestClient

from tamis.api import create_app
from tamis.api.server import address_of, listen
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


@pytest.fixture(scope="module")
def start():
    """Serve an application on a free port and give its address; ``start.stop(address)`` ends it."""
    running = {}

    def start(app):
        listener = listen("127.0.0.1", 0, guarded=False)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        address = address_of(listener)
        running[address] = server, thread
        return address

    def stop(address):
        server, thread = running.pop(address)
        server.should_exit = server.force_exit = True
        thread.join()

    start.stop = stop
    yield start
    for address in list(running):
        stop(address)
