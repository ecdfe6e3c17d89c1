"""What a browser is made to send on behalf of other sites is refused."""

import pytest
from starlette.testclient import TestClient

from tamis.api import create_app
from tamis.api.http import hosts

SEARCH = "/v1/indexes/words/search"


@pytest.fixture(scope="module")
def local(searchers):
    with TestClient(create_app(searchers, hosts=("Search.example",))) as client:
        yield client


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080", "10.0.0.7"),
        *("search.example", "SEARCH.example:443"),
    ],
)
def test_addresses_and_known_names_are_answered_to(local, host):
    assert local.get(f"{SEARCH}?q=owl", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example"),
        *("", "localhost@evil.example", "evil.example#localhost", "[::1", "0x7f.1", "a:b:c"),
    ],
)
def test_other_names_are_not(local, host):
    for path in ("/", f"{SEARCH}?q=owl", "/healthz", "/openapi.json", "/nowhere"):
        answer = local.get(path, headers={"host": host})
        assert answer.status_code == 421
        assert answer.json()["code"] == "unknown_host"
        assert "--allow-host" in answer.json()["detail"]


def test_as_many_hosts_are_remembered_as_it_says():
    for number in range(1100):
        assert hosts._read(f"host-{number}:8080") == (f"host-{number}", False)
    assert hosts._read.cache_info().currsize == 1024


def test_any_name_is_answered_to_where_none_was_given(client):
    assert client.get("/healthz", headers={"host": "any.example"}).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_another_sites_page_changes_and_asks_nothing(local, site, method):
    headers = {"host": "localhost", "sec-fetch-site": site, "content-type": "text/plain"}
    answer = local.request(method, SEARCH, headers=headers, content='{"query": "owl"}')
    assert answer.status_code == 403
    assert answer.json()["code"] == "cross_site"


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_servers_own_page_does(local, site):
    headers = {"host": "localhost", "sec-fetch-site": site}
    answer = local.post(SEARCH, headers=headers, json={"query": "owl"})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example", "http://localhost:8080", "http://127.0.0.1", "null", ""),
        *("http://localhost.evil.example", "http://localhost@evil.example", "localhost"),
        *("ftp://localhost:80", "https://localhost:80"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_foreign_origin_alone_is_enough(local, origin, method):
    headers = {"host": "localhost", "origin": origin}
    answer = local.request(method, SEARCH, headers=headers, content='{"query": "owl"}')
    assert answer.status_code == 403
    assert answer.json()["code"] == "cross_site"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        *(("http://localhost", "localhost"), ("http://LOCALHOST:8080", "localhost:8080")),
        *(("https://search.example", "search.example"), ("http://[::1]:80", "[::1]")),
        *(("https://search.example", "search.example:443"), ("http://10.0.0.7:1", "10.0.0.7:1")),
    ],
)
def test_its_own_origin_is_none(local, origin, host):
    headers = {"origin": origin, "host": host}
    assert local.post(SEARCH, headers=headers, json={"query": "owl"}).status_code == 200


def test_a_browser_that_knows_better_is_believed(local):
    """A proxy may give this server another Host than the page has."""
    headers = {"host": "localhost", "origin": "https://a.example", "sec-fetch-site": "same-origin"}
    assert local.post(SEARCH, headers=headers, json={"query": "owl"}).status_code == 200
