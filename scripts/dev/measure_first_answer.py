"""Measures how long after the server's answer the search page shows it, in a Chromium.

    scripts/dev/measure_first_answer.py

A part of the sample collection is served with the default encoder. The page is loaded anew for each
query, as by somebody who follows a link. What counts is the time from the last byte of the answer
to the first frame with its hits, the least of all loads, as other programs disturb most of them;
the median stands beside it. Needs the extra ``dev``.
"""

import sys
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from picture_of_page import (  # type: ignore[import-not-found]  # beside this file
    CORPUS,
    QUERY,
    VIEW,
    chromium,
    serve,
)
from playwright.sync_api import Page

from tamis.retriever import index_corpus, load_encoder, read_passages

DOCUMENTS, LOADS, GOAL_MS = 300, 40, 50.0
NOTED = """
new MutationObserver((_, observer) => {
  if (!document.querySelector("article")) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.shownAt = performance.now(); }));
}).observe(document, { childList: true, subtree: true });
"""
DELAY = """
async () => {
  while (!window.shownAt) await new Promise(requestAnimationFrame);
  const all = performance.getEntriesByType("resource");
  return window.shownAt - all.filter((one) => one.name.endsWith("/search")).at(-1).responseEnd;
}
"""


def delay_ms(page: Page, address: str) -> float:
    """Milliseconds from the answer's last byte to the frame that shows it."""
    page.goto(f"{address}/?q={QUERY}")
    page.wait_for_selector("article")
    return float(page.evaluate(DELAY))


def main() -> None:
    """Print the least and the median, and fail where the goal is missed."""
    with TemporaryDirectory() as folder, chromium() as browser:
        place = Path(folder) / "wikipedia"
        index_corpus(islice(read_passages(CORPUS), DOCUMENTS), place, encoder=load_encoder())
        page = browser.new_page(viewport=VIEW)
        page.add_init_script(NOTED)
        address = serve(place)
        delays = [delay_ms(page, address) for _ in range(LOADS)]
    print(f"shown {min(delays):.1f} ms after the answer at least, median {median(delays):.1f} ms")
    if min(delays) > GOAL_MS:
        sys.exit(f"expected at most {GOAL_MS:.0f} ms")


if __name__ == "__main__":
    main()
