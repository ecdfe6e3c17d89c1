"""The page that shows the REST API to people."""

import json
import re
from html import unescape

import jsonschema
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
    assert "default-src 'none'" in policy
    assert not re.search(r"<script[^>]|unsafe|innerHTML", page + policy)
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


def test_every_operation_has_an_example_of_its_answer_that_its_type_allows(client, page):
    document = client.get("/openapi.json").json()
    for by_method in document["paths"].values():
        for operation in by_method.values():
            (good,) = {
                json.dumps(content)
                for status, response in operation["responses"].items()
                if status.startswith("2")
                for content in response["content"].values()
            }
            content = json.loads(good)
            if "$ref" not in content["schema"]:
                continue  # a text, or a stream
            whole = content["schema"] | {"components": document["components"]}
            jsonschema.validate(content["example"], whole)
            assert content["example"], operation["operationId"]


def test_filters_and_keys_are_told_and_the_first_operation_stands_open(searchers, page):
    for condition in ("eq", "in", "all_of", "range", "exists", "prefix", "must", "should"):
        assert f'"{condition}"' in unescape(page), condition
    assert "asks for no key" in page
    assert re.findall(r'<details open class="operation" id="(\w+)"', page) == ["search"]
    with TestClient(create_app(searchers, keys=ApiKeys(["a-key-of-this-test"]))) as client:
        assert "asks for no key" not in client.get("/docs").text


def test_the_commands_of_the_page_are_taken_by_the_server(client, page, tmp_path):
    """Each body as it is shown, and from a file as curl sends it."""
    shown = unescape(page.split('id="search"')[1].split("</details>")[0])
    body = re.search(r"-d '(.*?)'</pre>", shown, re.DOTALL)[1]
    assert "-d @request.json" in shown
    joined = body.replace("\n", "")  # which -d does to a file
    assert client.post("/v1/indexes/words/search", content=joined).status_code == 200
    added = unescape(page.split('id="add_documents"')[1].split("</details>")[0])
    assert "--data-binary @documents.jsonl" in added
