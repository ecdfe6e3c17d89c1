import json
import threading
import time

import pytest
import uvicorn
from letter_encoder import LetterEncoder
from starlette.testclient import TestClient

from tamis.api import create_app
from tamis.api.http.server import address_of, listen
from tamis.api.serving.data_folder import DataFolder
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
    of_both = type(lexical).from_settings(both.settings.lexical, both.dictionary, both.with_words)
    return {"words": Searcher.open(words.path), "both": Searcher(encoder, both, of_both)}


@pytest.fixture(scope="session")
def client(searchers):
    with TestClient(create_app(searchers), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def start():
    """Serve an application on a free port and give its address; ``start.stop(address)`` ends it."""
    running = {}

    def start(app, port=0):
        listener = listen("127.0.0.1", port, guarded=False)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        address = address_of(listener)
        running[address] = server, thread
        return address

    def stop(address, force=True):
        server, thread = running.pop(address)
        server.should_exit, server.force_exit = True, force
        thread.join()

    start.stop = stop
    yield start
    for address in list(running):
        stop(address)


WORDS = {"encoder": None, "fields": {"year": "integer", "language": "string"}}
BIRDS = [
    {"_id": "owl", "text": "Owls hunt at night.", "title": "Owls", "year": 2001, "language": "en"},
    {"_id": "heron", "text": "A heron waits in the reeds.", "year": 2002, "language": "en"},
    {"_id": "kite/red", "text": "The red kite circles over fields.", "year": 2003},
    {"_id": "uhu", "text": "Der Uhu jagt bei Nacht.", "year": 2004, "language": "de"},
]


def ndjson(documents):
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


class Home:
    """A server over a data folder, and short ways to ask it."""

    def __init__(self, path, **options):
        self.path = path
        self.client = TestClient(
            create_app({}, data=DataFolder(path), **options), raise_server_exceptions=False
        )

    def __enter__(self):
        self.client.__enter__()
        return self

    def __exit__(self, *error):
        self.client.__exit__(*error)

    def ask(self, method, path, status=200, **options):
        response = self.client.request(method, path, **options)
        assert response.status_code == status, (response.status_code, response.text)
        return response.json()

    def create(self, name="birds", settings=WORDS, documents=BIRDS):
        self.ask("PUT", f"/v1/indexes/{name}", 201, json=settings)
        if documents:
            return self.add(documents, name)
        return None

    def add(self, documents, name="birds", wait="searchable", **options):
        path = f"/v1/indexes/{name}/documents?wait={wait}"
        return self.ask("POST", path, content=ndjson(documents), **options)

    def search(self, query, name="birds", **options):
        return self.ask("POST", f"/v1/indexes/{name}/search", json={"query": query, **options})

    def found(self, query, name="birds", **options):
        return [hit["id"] for hit in self.search(query, name, **options)["hits"]]

    def done(self, task):
        """The record of a task, once it has ended."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            record = self.ask("GET", f"/v1/tasks/{task['id']}")
            if record["status"] not in ("waiting", "running"):
                return record
            time.sleep(0.01)
        raise AssertionError(record)


@pytest.fixture
def open_home(tmp_path):
    """Opens servers over one data folder, one after the other."""
    return lambda **options: Home(tmp_path / "data", **options)


@pytest.fixture
def home(open_home):
    with open_home() as home:
        yield home


@pytest.fixture(scope="module")
def module_home(tmp_path_factory):
    """One server for all tests of a module, which leave it as it is once it is filled."""
    with Home(tmp_path_factory.mktemp("home") / "data") as home:
        yield home
