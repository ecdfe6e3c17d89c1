"""The page that shows the REST API to people."""

import re
from html import unescape

import pytest
from starlette.testclient import TestClient

from tamis.api import create_app
from tamis.api.http.keys import ApiKeys


@pytest.fixture(scope="module")
def page(client):
    return client.get("/docs").text


def test_every_operation_and_type_is_shown(client, page):
    document = client.get("/openapi.json").json()
    for path, by_method in document["paths"].items():
        for method, operation in by_method.items():
            block = re.search(rf'id="{operation["operationId"]}">.*?</details>', page, re.DOTALL)[0]
            assert method.upper() in block
            assert path in unescape(block.replace("<wbr>", ""))
            assert operation["summary"] in unescape(block)
            for parameter in operation.get("parameters", ()):
                assert f"<code>{parameter['name']}</code>" in block
            for status in operation["responses"]:
                assert status in block
    for name, schema in document["components"]["schemas"].items():
        block = re.search(rf'id="type-{name}">.*?</article>', page, re.DOTALL)[0]
        for field in schema.get("properties", ()):
            assert f"<code>{field}</code>" in block, (name, field)


def test_every_link_leads_somewhere_and_nothing_is_loaded(client, page):
    policy = client.get("/docs").headers["content-security-policy"]
    assert "script-src 'none'" in policy
    assert "<script" not in page
    targets = set(re.findall(r'href="([^"]*)"', page))
    assert {one for one in targets if not one.startswith("#")} == {"data:,", "/", "/openapi.json"}
    assert {one[1:] for one in targets if one.startswith("#")} <= set(
        re.findall(r'id="([^"]*)"', page)
    )


def test_bounds_and_defaults_are_told(page):
    (row,) = re.findall(
        r"<tr><td><code>recall</code></td>.*?</tr>", page.split('id="type-SearchRequest"')[1]
    )[:1]
    assert "default 0.99" in row
    assert "above 0, at most 1" in row


def test_what_needs_no_key_is_told_where_others_do(searchers, page):
    assert "no key</span>" not in page
    with TestClient(create_app(searchers, keys=ApiKeys(["a-key-of-this-test"]))) as client:
        guarded = client.get("/docs").text
    opened = re.findall(r'id="(\w+)"><summary>(?:(?!</summary>).)*no key</span>', guarded)
    assert "healthz" in opened
    assert "search" not in opened
    assert "Authorization: Bearer KEY" in unescape(guarded)
