"""Pages of other sites may ask where they are listed, and only there."""

import pytest
from starlette.testclient import TestClient

from tamis.api import create_app
from tamis.api.http.hosts import read_origins
from tamis.api.http.keys import ApiKeys
from tamis.index import InputError

KEY, SITE = "0123456789abcdef", "https://search.example"
SEARCH = "/v1/indexes/words/search"


@pytest.fixture(scope="module")
def shared(searchers):
    app = create_app(searchers, keys=ApiKeys([KEY]), origins=["HTTPS://Search.example:443"])
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def preflight(client, origin, method="POST"):
    headers = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-encoding,idempotency-key",
    }
    return client.options(SEARCH, headers=headers)


def test_a_listed_site_is_let_in_with_its_key(shared):
    answer = preflight(shared, SITE)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == SITE
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    headers = {"origin": SITE, "sec-fetch-site": "cross-site", "authorization": f"Bearer {KEY}"}
    answer = shared.post(SEARCH, json={"query": "owl"}, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == SITE
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers
    refused = shared.post(SEARCH, json={"query": "owl"}, headers={"origin": SITE})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == SITE  # its page may read why


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://search.example", f"{SITE}.evil.example", "null", ""]
)
def test_other_sites_are_not(shared, origin):
    assert "access-control-allow-origin" not in preflight(shared, origin).headers
    headers = {"origin": origin, "sec-fetch-site": "cross-site", "x-api-key": KEY}
    answer = shared.post(SEARCH, json={"query": "owl"}, headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_it_is_off_unless_asked_for(client):
    answer = preflight(client, SITE)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_origins_are_written_as_browsers_write_them():
    given = [
        "http://localhost:3000",
        "HTTP://A.example:80",
        "https://[::1]:8443",
        "http://a.example",
    ]
    expected = ("http://localhost:3000", "http://a.example", "https://[::1]:8443")
    assert read_origins(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        *("*", "null", "", "search.example", "https://", "https://*.example", "ftp://a.example"),
        *("https://a.example/", "https://a.example/path", "https://a@b.example", "https://a:b"),
        *("https://a.example:70000", "https://a.example https://b.example", "https://-.example"),
    ],
)
def test_what_is_no_origin_is_refused(given, searchers):
    with pytest.raises(InputError, match=r"expected an origin such as https://search\.example"):
        create_app(searchers, origins=[given])
