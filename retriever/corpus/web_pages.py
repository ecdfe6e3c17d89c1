"""Pages of the web: HTML becomes a title and blocks of text, less what only serves the site.

The tree is selectolax's (lexbor, the HTML5 algorithm). What is seen, what is text and where a block
ends is told by elements and roles; names of classes and ids help where a page has neither. Control
characters mark the borders in the tree, so that one call in C gives the text of a whole page.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from selectolax.lexbor import LexborHTMLParser

from tamis.retriever.corpus.blocks import TextBlock, one_line, table_row

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_BLOCK, _HEADING, _PRE, _LINE, _CELL = "\x01\x02\x03\x04\x05"
_MARKS = re.compile("[\x01-\x05]")  # no page may bring its own
_UNSEEN = (
    "script, style, template, noscript, svg, math annotation, iframe, object, canvas, dialog, "
    "select, textarea, input, datalist, button:not([role=tab]), "
    "[hidden]:not([role=tabpanel]), [aria-hidden=true], "
    "[style*='display:none'], [style*='display: none']"
)
_ABOUT_THE_SITE = (  # by element and role; then by the names that sites and generators give
    "nav, footer, body > header, aside:not([role=note], [role^=doc-], .footnote-list, .footnote), "
    "form[role=search], [role=navigation], [role=banner], [role=contentinfo], [role=search], "
    "[role=complementary], [role=menu], [role=menubar], "
    "#footer, .footer, #sidebar, .sidebar, .sphinxsidebar, #nav, .nav, .navbar, .navigation, "
    "#navigation, .navheader, .navfooter, .breadcrumb, .breadcrumbs, #breadcrumbs, .menu, #menu, "
    "#toc, .toc, .contents.local, .contents.topic, .table-of-contents, .genindex-jumpbox, "
    ".related-pages, .cookie-banner, #cookie-banner, .skip-link, .sr-only, .noprint"
)
_LINKS_OF_HEADERS = (
    "a.headerlink, a.header-anchor, a.hash-link, a.anchor, a.permalink, a.viewcode-link, "
    "a.viewcode-back, .mw-editsection"
)
_BORDERS = (
    "p, div, section, article, main, header, figure, figcaption, blockquote, address, ul, ol, li, "
    "dl, dt, dd, table, caption, tr, td, th, hr, details, summary, fieldset, legend, center, form"
)
_OF_LAYOUT = "td table, pre, ul, ol, dl, h1, h2, h3, h4, h5, h6, p + p, section, article"


class WebPage(NamedTuple):
    """What a page says of itself.

    Attributes:
        named: its ``<title>``; may be empty.
        blocks: its text in order, headings among them.
    """

    named: str
    blocks: tuple[TextBlock, ...]


def parse_page(page: str) -> WebPage:
    """Read a page of HTML, however broken."""
    tree = LexborHTMLParser(_MARKS.sub("", page))
    title = tree.css_first("head title")
    named = one_line(title.text()) if title is not None else ""
    if tree.body is None:  # frames
        return WebPage(named, ())
    _drop(tree.body, _UNSEEN)
    _drop(tree.body, _ABOUT_THE_SITE)
    root = _root(tree.body)
    _drop(root, _LINKS_OF_HEADERS)
    _mark(root)
    return WebPage(named, tuple(_blocks(root.text(deep=True))))


def _drop(node: LexborNode, selector: str) -> None:
    for found in node.css(selector):
        found.decompose()


def _root(body: LexborNode) -> LexborNode:
    """The element that holds the page's own text."""
    for selector in ("main, [role=main]", "article"):
        found = body.css(selector)
        if len(found) == 1 and found[0].text(deep=True).strip():
            return found[0]
    return body


def _mark(root: LexborNode) -> None:
    """Put marks where blocks, lines and cells end."""
    for table in root.css("table"):
        if table.css_first(_OF_LAYOUT) is None:
            _mark_table(table)
    for node in root.css("br"):
        node.replace_with(_LINE)
    for node in root.css("pre"):
        node.insert_before(_BLOCK + _PRE)
        node.insert_after(_BLOCK)
    for node in root.css("h1, h2, h3, h4, h5, h6"):
        node.insert_before(_BLOCK + _HEADING + (node.tag or "")[1:])
        node.insert_after(_BLOCK)
    for node in root.css(_BORDERS):
        node.insert_before(_BLOCK)
        node.insert_after(_BLOCK)


def _mark_table(table: LexborNode) -> None:
    """A table of values becomes a block of lines, bars between its cells."""
    table.insert_before(_BLOCK)
    table.insert_after(_BLOCK)
    for cell in table.css("td, th"):
        cell.insert_after(_CELL)
    for row in table.css("tr, caption"):
        row.insert_after(_LINE)
    _drop(table, ":empty")  # which would not be unwrapped
    table.unwrap_tags(["td", "th", "tr", "tbody", "thead", "tfoot", "caption", "p", "div"])


def _blocks(marked: str) -> list[TextBlock]:
    blocks = []
    for part in marked.split(_BLOCK):
        if part.startswith(_PRE):
            text, level = part[1:].replace(_LINE, "\n").strip("\n\r").rstrip(), 0
        else:
            level = int(part[1]) if part.startswith(_HEADING) else 0
            lines = part[2 * (level > 0) :].split(_LINE)
            text = "\n".join(filter(None, map(_line, lines)))
        if text.strip():
            blocks.append(TextBlock(text, level))
    return blocks


def _line(marked: str) -> str:
    return table_row(marked.split(_CELL)) if _CELL in marked else one_line(marked)
