import pytest

from tamis.retriever import Passage, Searcher, index_corpus

PLANETS = [
    Passage("mars", "The fourth planet, called red for its rust.", "Mars", {"order": 4}),
    Passage("venus", "The second planet, the hottest of them.", "Venus", {"order": 2}),
    Passage("jupiter", "A giant planet with a red spot.", "Jupiter", {"order": 5}),
    Passage("moon", "", "It circles the Earth"),
]


@pytest.fixture(scope="session")
def planets(tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "planets"
    index_corpus(PLANETS, path, encoder=None, fields={"order": "integer"}).close()
    return path


@pytest.fixture(scope="session")
def truth(planets):
    """What a search finds itself: ids and scores."""

    def search(query, k=10, **options):
        (result,) = Searcher.open(planets).search([query], k, **options)
        return [(hit.doc_id, hit.score) for hit in result.hits]

    return search
