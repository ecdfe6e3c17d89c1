"""The search page in a real Chromium: what a person sees and does, and what no document can do."""

import base64
import hashlib
import re
from urllib.parse import quote

import httpx
import pytest
from looking import HEBREW, HOSTILE, PHONE, hits, ids, search, settle


def test_passages_of_a_document_are_shown_as_one_hit(visit):
    page = visit("/?index=manual&q=owl")
    assert hits(page).count() == 2
    assert {name.split("#")[0] for name in ids(page)} == {"owls", "o"}
    (owls,) = [hit for hit in hits(page).all() if "Owls" in hit.inner_text()]
    assert owls.locator(".passages li").count() == 2  # three passages a document, the best above
    assert owls.locator(".passages mark").count() >= 2


def test_the_page_is_one_answer_that_loads_nothing_else(client):
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert not re.findall(r'(?:src|href)="(?!data:|/docs|/openapi)[^"]*"', answer.text)
    assert not re.findall(r"url\((?!data:)|@import|innerHTML|insertAdjacentHTML", answer.text)
    assert len(answer.content) < 60_000
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag, count in (("script", 4), ("style", 1)):
        blocks = re.findall(rf"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
        assert len(blocks) == count
        for block in blocks:
            digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy


def test_a_search_shows_marked_words_and_a_bar_for_each_term(visit, indexes):
    page = visit("/?index=both")
    assert "Search 4 documents" in page.inner_text("#state")
    search(page, "zoo owl")
    (result,) = indexes["both"].search(["zoo owl"], explain=True)
    assert ids(page) == [hit.doc_id for hit in result.hits]
    first, hit = hits(page).first, result.hits[0]
    assert "owl" in [text.lower() for text in first.locator("mark").all_inner_texts()]
    rows = first.locator("tr:not(.sum):not(.rest)")
    labels = [text.lstrip("+") for text in rows.locator(".term").all_inner_texts()]
    assert labels == [term.term for term in hit.matched_terms]
    shown = [float(text) for text in rows.locator(".value").all_inner_texts()]
    assert shown == pytest.approx([term.contribution for term in hit.matched_terms], abs=0.006)
    widths = rows.locator(".fill").evaluate_all("bars => bars.map((bar) => bar.offsetWidth)")
    assert widths[0] / widths[-1] == pytest.approx(shown[0] / shown[-1], rel=0.25)
    assert float(first.locator(".sum .value").inner_text()) == pytest.approx(hit.score, abs=0.006)
    kinds = {
        kind: page.locator(f".fill.{kind}").first.evaluate(
            "bar => getComputedStyle(bar).background"
        )
        for kind in ("word", "piece", "expansion")
    }
    assert len(set(kinds.values())) == 3
    assert first.locator("tr", has_text="+z").locator(".fill.expansion").count() == 1


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("year >= 1997", {"y1997", "y1998", "y1999"}),
        ("year>1991,year<=1993", {"y1992", "y1993"}),
        ("year = 1990 1995", {"y1990", "y1995"}),
        ("year < 1996, kind != even", {"y1991", "y1993", "y1995"}),
        ("year < 1993, kind ^= ev", {"y1990", "y1992"}),
        ('year > 1994, note = "ten, twelve"', {"y1995"}),
        ("year < 1992, note = *", {"y1990", "y1991"}),
        ("even = true, year < 1994", {"y1990", "y1992"}),
        ("count = 9007199254740993", {"y1991"}),
        ('{"field": "kind", "in": ["odd"]}', {f"y{year}" for year in range(1991, 2000, 2)}),
    ],
)
def test_a_filter_is_written_as_people_do(visit, written, found):
    page = visit("/?index=years&q=owl&k=25")
    page.fill(".filter", written)
    page.press(".filter", "Enter")
    settle(page)
    page.wait_for_selector(f".column article >> nth={len(found) - 1}")
    assert set(ids(page)) == found


def test_a_faulty_filter_is_told(visit):
    page = visit("/?index=years&q=owl")
    assert "year: integer" in page.get_attribute(".filter", "title")
    for written, told in (
        ("year", "such as year >= 1999"),
        ("colour = 1", "one of year, kind"),
        ("{", "JSON"),
        ('note = "ten', "such as year >= 1999"),
    ):
        page.fill(".filter", written)
        page.press(".filter", "Enter")
        assert told in page.inner_text(".state.error")
    page = visit("/?index=words&q=owl")
    assert not page.locator(".filter").first.is_visible()


def test_the_time_of_each_stage_is_told(visit):
    page = visit("/?index=words&q=owl&rerank=20")
    told = page.inner_text(".stages")
    for stage in ("encode", "retrieve", "fetch", "rerank", "answer", "round trip"):
        assert re.search(rf"{stage} [\d.]+", told), stage
    assert page.locator(".stage-bar span").count() == 5


def test_two_searches_stand_side_by_side(visit):
    page = visit("/?index=words&q=night+hunting+owl+fish")
    before = ids(page)
    assert len(before) >= 3
    page.click("#compare")
    settle(page)
    assert ids(page, 0) == before
    assert ids(page, 1) == before[::-1]
    assert page.inner_text("#summary") == f"{len(before)} of {len(before)} hits in both"
    moves = hits(page, 1).locator(".move").all_inner_texts()
    assert moves[0] == f"▲ {len(before) - 1}"
    assert moves[-1] == f"▼ {len(before) - 1}"
    assert "rerank" not in page.locator(".times").nth(0).inner_text()
    assert "rerank" in page.locator(".times").nth(1).inner_text()
    assert hits(page, 1).first.locator(".sum .term").inner_text() == "first stage"
    left, right = (page.locator(".column").nth(side).bounding_box() for side in (0, 1))
    assert right["x"] >= left["x"] + left["width"]
    hits(page, 1).first.hover()
    assert hits(page).last.evaluate("hit => hit.classList.contains('twin')")


def test_a_side_that_fails_leaves_the_other_standing(visit):
    page = visit()
    page.expected = (422,)
    page.goto(page.url.split("?")[0] + "?index=words&q=refuse+owl&compare=1&b.rerank=50")
    settle(page)
    assert ids(page, 0)
    failed = page.locator(".column").nth(1)
    assert "<b>ask</b> another" in failed.inner_text()
    assert failed.locator("b").count() == 0


def test_hits_of_one_side_alone_are_told(visit):
    page = visit("/?index=words&q=owl+sea+sieve&compare=1&k=5&b.index=words")
    assert page.inner_text("#summary") == "3 of 3 hits in both"
    page.select_option("fieldset >> nth=1 >> .index", "odd")
    settle(page)
    assert page.inner_text("#summary") == "0 of 5 hits in both"
    assert set(hits(page).locator(".move").all_inner_texts()) == {"only in A"}


def test_everything_can_be_done_by_keyboard(visit):
    page = visit("/?index=odd")
    page.locator("body").press("Tab")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("/")
    page.keyboard.type("owl night")
    page.keyboard.press("Enter")
    settle(page)
    page.keyboard.press("ArrowDown")
    focused = "document.activeElement.dataset.id || document.activeElement.id"
    assert page.evaluate(focused) == ids(page)[0]
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == ids(page)[1]
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert hits(page).first.locator(".toggle").inner_text() == "Less"
    page.keyboard.press("Enter")
    assert hits(page).first.locator(".toggle").inner_text() == "Whole document"
    page.keyboard.press("Escape")
    assert page.evaluate(focused) == "query"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("c")
    settle(page)
    hits(page).nth(1).focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(
        "document.activeElement === document.querySelectorAll('.column')[1]"
        ".querySelectorAll('article')[1]"
    )


def test_no_document_becomes_markup(visit):
    page = visit("/?index=odd&q=owl&compare=1&b.index=odd&k=25")
    for button in page.locator(".toggle").all():
        button.click()
    assert HOSTILE[0].doc_id in ids(page)
    shown = page.inner_text("#columns")
    for text in (HOSTILE[0].title, HOSTILE[0].text, HOSTILE[1].doc_id, "javascript:bad()"):
        assert text in shown
    inside = ", ".join(f"#results {tag}" for tag in ("script", "img", "iframe", "svg", "a", "b"))
    assert page.locator(inside).count() == 0
    assert page.evaluate(
        "document.querySelectorAll('#results *').values()"
        ".every((node) => !node.getAttributeNames().some((n) => n.startsWith('on')))"
    )


def test_nothing_in_the_address_becomes_markup(visit):
    hostile = quote("\"'><img src=x onerror=bad()></script><script>bad()</script>")
    page = visit("/?index=words&q=owl")
    for name in ("q", "index", "k", "weight", "recall", "b.index", "rerank"):
        page.goto(f"{page.url.split('?')[0]}?q=owl&compare=1&{name}={hostile}")
        settle(page)
        assert page.locator("img, script:not(body > script)").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(visit, scheme):
    """At least 4.5 to 1 between text and ground, as WCAG 2 asks."""
    page = visit("/?index=both&q=zoo+owl&compare=1&b.rerank=20", color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 3 * 128) == (scheme == "dark")
    for selector in (
        *(".hit h2", ".hit p", ".meta", "td.term", "td.value", "mark", ".stages", ".legend li"),
        *("#about", ".field", ".primary", ".toggle-button", "footer", ".column-head .letter"),
        *(".move",),
    ):
        ratio = page.locator(selector).first.evaluate(CONTRAST)
        assert ratio >= 4.5, (selector, ratio)


CONTRAST = """node => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  let ground = node;
  while (rgb(getComputedStyle(ground).backgroundColor)[3] === 0) ground = ground.parentElement;
  const pair = [getComputedStyle(node).color, getComputedStyle(ground).backgroundColor]
    .map((colour) => light(rgb(colour)) + 0.05);
  return Math.max(...pair) / Math.min(...pair);
}"""


@pytest.mark.parametrize("query", ["?index=odd&q=owl", "?index=odd&q=owl&compare=1", "?index=odd"])
def test_no_width_makes_the_page_wider_than_the_screen(visit, query):
    page = visit("/" + query, **PHONE)
    for width in (320, 360, 390, 600, 768):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.documentElement.clientWidth") == width
        if "compare" in query:
            first, second = (page.locator(".column").nth(side).bounding_box() for side in (0, 1))
            assert first["width"] >= 0.4 * width
            assert second["x"] > first["x"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_description_of_the_api_opens_reads_and_fits(visit, scheme):
    page = visit("/?index=words", color_scheme=scheme, **PHONE)
    page.click("footer a[href='/docs']")
    page.click("#search a[href='#type-SearchRequest']")
    assert page.locator("#type-SearchRequest").evaluate(
        "node => node.getBoundingClientRect().top < innerHeight"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for selector in (".method.get", ".method.delete", "summary code", ".types p", "td a"):
        assert page.locator(selector).first.evaluate(CONTRAST) >= 4.5, selector


def test_right_to_left_text_reads_from_the_right(visit):
    page = visit(f"/?index=odd&q={HEBREW}")
    hit = hits(page).first
    for selector in ("h2", "p"):
        assert hit.locator(selector).evaluate("node => getComputedStyle(node).direction") == "rtl"
    assert page.eval_on_selector("#query", "box => getComputedStyle(box).direction") == "rtl"
    assert hit.locator(".meta").evaluate("node => getComputedStyle(node).direction") == "ltr"


def test_the_address_holds_the_search_and_back_returns_to_it(visit):
    page = visit("/?index=words&q=sea")
    search(page, "owl")
    page.select_option("#k", "5")
    settle(page)
    assert re.search(r"\?q=owl&k=5&index=words$", page.url)
    page.go_back()
    page.go_back()
    page.wait_for_selector("article[data-id=sea]")
    assert page.input_value("#query") == "sea"


def test_the_request_shown_gives_the_same_hits(visit, address):
    page = visit("/?index=words&q=owl's+night&recall=exact&weight=2&rerank=20")
    page.click(".request summary")
    (shown,) = page.locator("#requests pre").all_inner_texts()
    body = re.search(r"-d '(.*)'", shown)[1].replace("'\\''", "'")
    url = re.search(r"http://\S+", shown)[0]
    assert url.startswith(address)
    assert '"exact":true' in body
    answer = httpx.post(url, content=body)
    assert [hit["id"] for hit in answer.json()["hits"]] == ids(page)


def test_nothing_found_and_mistakes_are_told(visit):
    page = visit("/?index=words&q=zzzz")
    assert "Nothing found" in page.inner_text(".state:visible")
    page.expected = (422,)
    page.goto(page.url.split("?")[0] + "?index=both&q=owl&weight=5000000")
    settle(page)
    assert "cannot be done" in page.inner_text(".state.error")
    page.fill(".weight >> nth=0", "")
    search(page, "owl")
    assert ids(page)[0] == "owl"


def test_matches_are_counted_and_a_value_narrows_the_search(visit):
    page = visit("/?index=years&q=owl&k=5")
    assert hits(page).count() == 5
    assert "5 hits of 10 matches" in page.locator("#summary").inner_text()
    (kinds,) = [one for one in page.locator(".facets p").all() if "kind" in one.inner_text()]
    assert "even 5" in kinds.inner_text()
    kinds.locator("button", has_text="odd").click()
    settle(page)
    assert ids(page) == [f"y{year}" for year in range(1991, 2000, 2)]
    assert "5 hits of 5 matches" in page.locator("#summary").inner_text()
