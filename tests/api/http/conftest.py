"""A real Chromium, indexes to look at with it, and a page whose every fault is noticed."""

import shutil

import numpy as np
import pytest
from looking import HOSTILE, settle
from playwright.sync_api import sync_playwright

from tamis.api import create_app
from tamis.index import InputError
from tamis.retriever import Passage, Searcher, index_corpus
from tamis.retriever.corpus.chunking import Chunking

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Backwards:
    """A reranker that turns the order round, and refuses one query."""

    def score(self, query, documents, *, first_stage=None):
        if "refuse" in query:
            raise InputError("expected another query, found this one; <b>ask</b> another")
        return -np.array(first_stage, np.float32)


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium of this machine."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as driver:
        path = found or driver.chromium.executable_path
        if not shutil.which(path):
            pytest.skip("no Chromium on this machine; install the package chromium")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def indexes(searchers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    index_corpus(HOSTILE, folder / "odd", encoder=None)
    years = [
        Passage(
            f"y{year}",
            "owl",
            fields={
                "year": year,
                "kind": ("even", "odd")[year % 2],
                "even": year % 2 == 0,
                "note": "ten, twelve" if year == 1995 else 'a "note"',
                "count": 2**53 + year - 1990,  # the odd ones are no double
                "url": f"https://example.org/{year}" if year % 2 else "javascript:bad()",
            },
        )
        for year in range(1990, 2000)
    ]
    kinds = {"year": "integer", "kind": "string", "even": "boolean", "note": "string"}
    kinds["count"] = "integer"
    index_corpus(years, folder / "years", encoder=None, fields=kinds)
    manual = [Passage("owls", "The owl hoots at night. " * 9, "Owls"), Passage("o", "One owl.")]
    index_corpus(manual, folder / "manual", encoder=None, chunking=Chunking(20))
    names = ("odd", "years", "manual")
    return searchers | {name: Searcher.open(folder / name) for name in names}


@pytest.fixture(scope="module")
def address(start, indexes):
    return start(create_app(indexes, reranker=Backwards()))


@pytest.fixture
def visit(chromium, address):
    """Open the page; whatever its console or its network shows is held against it."""
    contexts, faults = [], []

    def visit(path="/", at=None, expected=(), **options):
        context = chromium.new_context(**options)
        context.set_default_timeout(60_000)  # of a busy machine
        contexts.append(context)
        page = context.new_page()
        page.expected = expected  # statuses that the test asks for
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on("console", lambda message: faults.append(message.text) if told(message) else None)

        def told(message):
            return not any(str(part) in message.text for part in page.expected)

        context.route("**", lambda route: own(route, at or address))
        page.goto((at or address) + path)
        if "/docs" not in path:
            settle(page)
        return page

    def own(route, base):
        if not route.request.url.startswith((base, "data:")):
            faults.append(route.request.url)
        route.continue_()

    yield visit
    for context in contexts:
        context.close()
    assert faults == []
