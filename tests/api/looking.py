"""How the tests of the search page look at it; and documents that mean it harm."""

from tamis.retriever import Passage

PHONE = {"viewport": {"width": 360, "height": 720}, "has_touch": True, "is_mobile": True}
HEBREW = "\u05d9\u05e0\u05e9\u05d5\u05e3"  # an owl
HOSTILE = [
    Passage(
        "<img src=x onerror=bad()>",
        "</p></article><script>bad()</script><svg onload=bad()> owl {{7*7}} ${bad()}",
        "<b onmouseover=bad()>owl</b><script>bad()</script>",
        fields={"<i>": "<iframe src=javascript:bad()>", "link": "javascript:bad()", "n": [1, {}]},
    ),
    Passage('"><script>bad()</script>', "owl", "' onfocus=bad() autofocus='"),
    Passage("long", "owl" + "o" * 600, "owl " + "w" * 300),
    Passage("he", f"{HEBREW} ({HEBREW}) owl.", HEBREW),
    Passage("marks", "owl \u202e reversed \u0000 \ufffd \U0001f989 " + "night " * 200, "owl"),
]


def settle(page):
    """Wait until a search, if there is one, has been shown."""
    page.wait_for_selector("body:not(.busy)")
    page.wait_for_selector("#state:not([hidden]) h2, #results:not([hidden]) .column")


def search(page, text):
    page.fill("#query", text)
    page.press("#query", "Enter")
    settle(page)


def hits(page, column=0):
    return page.locator(".column").nth(column).locator("article")


def ids(page, column=0):
    return hits(page, column).evaluate_all("hits => hits.map((hit) => hit.dataset.id)")
