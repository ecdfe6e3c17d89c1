"""The states of the search page in a real Chromium: waiting, choosing, paging, and what is told."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from looking import PHONE, hits, ids, search, settle

from tamis.api import create_app
from tamis.api.http.keys import ApiKeys

KEY = "a-key-of-this-test-0123456789"


def test_a_key_is_asked_for_kept_and_forgotten(visit, start, searchers):
    guarded = start(create_app(searchers, keys=ApiKeys([KEY])))
    page = visit("/?index=words", at=guarded, expected=(401,))
    assert "asks for an API key" in page.inner_text("#state")
    assert page.locator(".error").count() == 0  # nothing went wrong yet
    page.fill(".key input", "a-wrong-key")
    page.press(".key input", "Enter")
    page.wait_for_selector("#state.error")
    assert "not accepted" in page.inner_text("#state h2")
    page.fill(".key input", KEY)
    page.press(".key input", "Enter")
    page.wait_for_selector("#state:not(.error):not(:has(.key))")
    search(page, "owl")
    assert ids(page)[0] == "owl"
    assert KEY not in page.url
    assert KEY not in page.content()
    page.click("#forget")
    page.wait_for_selector("#state .key")
    assert page.locator("article:visible").count() == 0


def test_a_server_that_is_gone_is_told(visit, start, searchers):
    address = start(create_app(searchers))
    page = visit("/?index=words&q=owl", at=address)
    page.expected = ("ERR_CONNECTION_REFUSED",)
    start.stop(address)
    search(page, "sea")
    assert "does not answer" in page.inner_text(".state.error")


def test_an_index_that_is_not_there_is_an_error_and_not_another_one(visit):
    page = visit("/?index=wrods&q=owl")
    assert "No index is called wrods" in page.inner_text("#state.error")
    assert page.locator("article:visible").count() == 0
    page.click("#state button:text-is('words')")
    settle(page)
    assert ids(page)[0] == "owl"


def test_a_filter_that_excludes_everything_is_told(visit):
    page = visit("/?index=years&q=owl&filter=year+%3E+2050")
    told = page.inner_text(".column .state")
    assert "The filter excludes everything" in told
    assert "10 documents" in told
    page.click("text=Search without the filter")
    page.wait_for_selector("article")
    assert len(ids(page)) == 10
    page = visit("/?index=years&q=zzzz&filter=year+%3E+2050")
    assert "Nothing found" in page.inner_text(".column .state")


def test_a_filter_is_built_from_fields_types_and_values(visit):
    page = visit("/?index=years&q=owl")
    page.click(".build")
    field, sign, value = (page.locator(f".builder >> {one}").first for one in FORM)
    assert "note (string)" in field.locator("option").all_inner_texts()
    field.select_option("note")
    page.wait_for_selector(".builder datalist option", state="attached")
    offered = page.locator(".builder datalist option")
    assert offered.evaluate_all("all => all.map((one) => one.value)") == ['a "note"', "ten, twelve"]
    assert "begins with" in sign.locator("option").all_inner_texts()
    value.fill('a "note"')
    page.press(".builder input", "Enter")
    settle(page)
    assert "y1995" not in ids(page)
    field.select_option("year")
    sign.select_option("at least")
    value.fill("1997")
    page.click(".builder button")
    settle(page)
    assert set(ids(page)) == {"y1997", "y1998", "y1999"}


FORM = ("[aria-label=Field]", "[aria-label=Condition]", "[aria-label=Value]")


def test_all_indexes_are_searched_at_once(visit):
    page = visit("/?index=*&q=owl&k=50")
    found = ids(page)
    assert len({one.partition(": ")[0] for one in found}) > 2
    assert "in turn by rank" in page.inner_text("#summary")
    assert hits(page).first.locator(".sum .term").inner_text() == "in its index"
    page.click("#request-title")
    assert "/v1/search" in page.inner_text("#requests")


def test_a_field_boosts(visit):
    page = visit("/?index=years&q=owl&k=5&boost=year log 1e9")
    (first, *_) = ids(page)
    page.fill(".side:not([hidden]) .boost", "year saturation 1")
    page.press(".side:not([hidden]) .boost", "Enter")
    settle(page)
    assert hits(page).first.locator(".terms .term").first.inner_text() == "boost:year"
    assert first == "y1999"
    page.fill(".side:not([hidden]) .boost", "year much 1")
    page.press(".side:not([hidden]) .boost", "Enter")
    settle(page)
    assert "expected a boost such as" in page.inner_text("#state").lower()


def test_more_hits_follow_page_by_page(visit):
    page = visit("/?index=years&q=owl&k=5")
    first = ids(page)
    page.click(".more")
    page.wait_for_selector("article >> nth=9")
    assert len(set(ids(page))) == 10
    assert ids(page)[:5] == first
    assert page.locator(".rank").all_inner_texts() == [f"#{rank}" for rank in range(1, 11)]
    assert page.evaluate("document.activeElement.dataset.id") == ids(page)[5]
    page.click(".more")
    page.wait_for_selector(".column:not(:has(.more))")
    assert hits(page).count() == 10


def test_fields_and_a_link_stand_under_the_title(visit):
    page = visit("/?index=years&q=owl&filter=year+%3C+1992")
    by_id = dict(zip(ids(page), hits(page).all(), strict=True))
    assert by_id["y1991"].locator(".chosen").all_inner_texts() == [
        "year 1991",
        "kind odd",
        "even false",
    ]
    assert by_id["y1991"].locator("h2 a").get_attribute("href") == "https://example.org/1991"
    assert by_id["y1990"].locator("a").count() == 0
    by_id["y1991"].locator(".toggle").click()
    assert "9007199254740993" in by_id["y1991"].locator("dl").inner_text()


def test_examples_are_made_from_the_documents(visit):
    page = visit("/?index=words")
    page.wait_for_selector(".examples button")
    examples = page.locator(".examples button").all_inner_texts()
    assert len(examples) == 3
    assert "Bats hunt insects at night" in examples
    page.click(".examples button:text-is('Bats hunt insects at night')")
    settle(page)
    page.wait_for_selector("article")
    assert ids(page)[0] == "bat"


def test_while_it_waits_nothing_of_another_query_stays(visit):
    page = visit("/?index=words&q=sea&compare=1")
    assert ids(page) == ["sea"]
    page.evaluate(HELD)
    page.fill("#query", "owl")
    page.press("#query", "Enter")
    assert page.inner_text("#live") == "Searching…"
    page.wait_for_selector(".bone")
    assert page.locator("article").count() == 0
    assert page.locator(".column:has(.bone)").count() == 2
    assert (
        page.locator(".moving span").evaluate("line => getComputedStyle(line).visibility")
        == "visible"
    )
    page.evaluate("release()")  # the first answer: its column is shown, the other one waits
    page.wait_for_selector(".column:not(:has(.bone)) article")
    page.wait_for_function("typeof release === 'function'")
    page.evaluate("release()")
    settle(page)
    assert page.locator(".bone").count() == 0
    assert "hits in both" in page.inner_text("#live")


HELD = """() => {
  const own = window.fetch;
  window.fetch = (path, options) => !path.endsWith("/search") ? own(path, options)
    : new Promise((done) => {
      window.release = () => { delete window.release; done(own(path, options)); };
    });
}"""


def test_options_are_folded_on_a_phone_and_say_what_is_set(visit):
    page = visit("/?index=years&q=owl&recall=exact&filter=year+%3E+1995&k=25", **PHONE)
    assert not page.locator(".filter").first.is_visible()
    told = page.inner_text("#options summary")
    for part in ("years", "exact", "year > 1995", "25 hits"):
        assert part in told
    page.click("#options summary")
    assert page.locator(".filter").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(visit, scheme):
    """What axe-core knows of WCAG, in the states of the page."""
    for path in AXE_PATHS:
        page = visit(path, color_scheme=scheme, expected=(422,))
        found = Axe().run(page).response["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


AXE_PATHS = (
    "/?index=years",
    "/?index=years&q=owl&compare=1&k=5",
    "/?index=years&q=owl&filter=year+%3E+2050",
    "/?index=nowhere",
    "/docs",
)
