"""Pages are read for their own text: small pages whose text and boilerplate are known by sight."""

import pytest

from tamis.retriever.corpus.sites import Site
from tamis.retriever.corpus.web_pages import parse_page


def texts(page):
    return [block.text for block in parse_page(page).blocks]


def read(page, site=Site()):  # noqa: B008  frozen
    one = site.read(parse_page(page))
    return one.title, one.text


FURNITURE = """<html><head><title>Sieves - Acme</title></head><body>
<header><h1>Acme</h1><a href=/>Home</a></header><nav><ul><li>Products<li>About</ul></nav>
<div class="sidebar">Latest posts</div>
%s
<div role=complementary>Advertisement</div><div id="footer">Imprint</div><footer>2024 Acme</footer>
</body></html>"""


@pytest.mark.parametrize("own", ["<main>%s</main>", "<article>%s</article>", "<div>%s</div>"])
def test_what_surrounds_the_text_is_left_out(own):
    link = "<a class=headerlink href=#d>\u00b6</a>"
    text = f"<h1>Drum sieves{link}</h1><p>They sift.</p><aside>Ad</aside>"
    title, body = read(FURNITURE % (own % text))
    assert (title, body) == ("Drum sieves", "They sift.")


def test_text_beside_the_main_element_is_no_text_of_the_page():
    page = "<body><p>Cookies!</p><main><p>Flour.</p></main><p>Join us.</p></body>"
    assert texts(page) == ["Flour."]
    assert texts("<body><article>One</article><article>Two</article></body>") == ["One", "Two"]


def test_notes_and_panels_of_tabs_are_text():
    page = (
        "<main><aside role=note>Mind the gap.</aside><div role=tabpanel hidden>Linux</div>"
        "<p hidden>gone</p><p style='display:none'>gone</p></main>"
    )
    assert texts(page) == ["Mind the gap.", "Linux"]


def test_listings_keep_their_lines_and_words_may_cross_elements():
    page = (
        "<p>bo<b>l</b>d,\n next</p><pre>def f():\n    return <i>1</i>\n\n\nf()\n</pre>"
        "<p>one<br>two</p>"
    )
    assert texts(page) == ["bold, next", "def f():\n    return 1\n\n\nf()", "one\ntwo"]


def test_a_table_is_a_line_a_row_with_bars_between_its_cells():
    page = (
        "<table><caption>Meshes</caption><tr><th>mesh<th>mm</tr>"
        "<tr><td><p>fine</p><td>0.5</tr><tr><td><td>2</table>"
    )
    assert texts(page) == ["Meshes\nmesh | mm\nfine | 0.5\n2"]


def test_a_table_that_only_lays_out_is_read_as_what_it_holds():
    page = "<table><tr><td><h2>Left</h2><p>a</p><td><ul><li>b<li>c</ul></table>"
    found = parse_page(page).blocks
    assert [(block.text, block.level) for block in found] == [
        ("Left", 2), ("a", 0), ("b", 0), ("c", 0),
    ]  # fmt: skip


def test_headings_know_their_level_and_place():
    page = "<title>T</title><h1>T</h1><p>a</p><h2>Mesh</h2><p>b</p><h3>Wire</h3><p>c</p>"
    one = Site().read(parse_page(page))
    assert [(h.level, one.text[h.start : h.start + len(h.text)]) for h in one.headings] == [
        (2, "Mesh"), (3, "Wire"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<title>Half</title><p>a page that <b>stops in the mid", ["a page that stops in the mid"]),
        ("<html><head><script>var x = '<p>no</p>';</script></head><body></body>", []),
        ("<frameset cols='1,2'><frame src=a><frame src=b></frameset>", []),
        ("<p>a\x01b\x02\x03c &#1;d</p>", ["abc", "d"]),
        ("", []),
        ("<<<>>> & < plain", ["<<<>>> & < plain"]),
    ],
)
def test_broken_pages_are_read_as_far_as_they_hold_text(page, expected):
    assert texts(page) == expected


def test_a_page_that_is_one_line_of_a_million_words_is_read():
    assert len(texts(f"<p>{'sieve ' * 1_000_000}</p>")[0].split()) == 1_000_000


def site_of(*pages):
    return Site.of(map(parse_page, pages))


PAGES = [
    f"<title>{name} \u2014 Acme 2.1 documentation</title><body><h1>Acme 2.1 documentation</h1>"
    f"<div>Home | Contents</div><h1>{name}</h1><p>About {name}.</p><h2>See also</h2>"
    f"<p>{name} and others</p><div>Last update: May 2026</div></body>"
    for name in ("Drum", "Mesh", "Flour", "Grain")
]


def test_what_pages_of_a_site_begin_and_end_with_is_left_out():
    site = site_of(*PAGES)
    assert [read(page, site) for page in PAGES[:2]] == [
        (name, f"About {name}.\n\nSee also\n\n{name} and others") for name in ("Drum", "Mesh")
    ]
    assert read(PAGES[0])[0] == "Acme 2.1 documentation"  # a page alone cannot tell


def test_copies_of_a_page_are_no_site():
    page = "<title>T</title><h1>Drum</h1><p>short text</p>"
    assert read(page, site_of(page, page, page, page)) == ("Drum", "short text")


@pytest.mark.parametrize(
    ("title", "heading", "expected"),
    [
        ("git-add(1)", "git-add(1) Manual Page", "git-add(1)"),
        ("Sieves - Acme", "Sieves", "Sieves"),
        ("Welcome", "Drum sieves", "Drum sieves"),
        ("Sieves", "", "Sieves"),
        ("", "Sieves", "Sieves"),
        ("Art", "Cartwheels", "Cartwheels"),
    ],
)
def test_the_title_is_the_heading_or_the_shorter_of_two_that_hold_each_other(
    title, heading, expected
):
    page = f"<title>{title}</title><h1>{heading}</h1><p>text</p>"
    assert read(page)[0] == expected


def test_a_title_that_all_pages_share_is_the_site_s():
    pages = [f"<title>Acme</title><h2>{name}</h2><p>text</p>" for name in ("a", "b", "c")]
    assert [read(page, site_of(*pages))[0] for page in pages] == ["a", "b", "c"]


def test_a_heading_that_is_the_title_does_not_stand_in_the_text_again():
    one = Site().read(
        parse_page("<title>2.1. Mesh</title><h2>2.1.\u00a0Mesh</h2><p>a</p><h3>B</h3>")
    )
    assert (one.title, one.text) == ("2.1. Mesh", "a\n\nB")
    assert [heading.text for heading in one.headings] == ["B"]
