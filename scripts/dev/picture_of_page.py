"""Takes the picture of the search page that the README and the site show.

    scripts/dev/picture_of_page.py [QUERY]

Indexes a part of the sample collection, serves it, and lets a Chromium of this machine look at it.
Needs the extra ``dev``, and pillow. Run it when the page looks different.
"""

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
from PIL import Image
from playwright.sync_api import Browser, ViewportSize, sync_playwright

from tamis.api import create_app
from tamis.api.http.server import address_of, listen
from tamis.retriever import Passage, Searcher, index_corpus, load_encoder, read_passages

ROOT = Path(__file__).parent.parent.parent
CORPUS = ROOT / "eval" / "sample" / "squadshifts-new-wiki" / "corpus.jsonl.gz"
PICTURE = ROOT / "scripts" / "docs" / "pages" / "assets" / "page.png"
QUERY = "software that protects a computer from viruses"
VIEW = ViewportSize(width=1080, height=640)
COLOURS = 64
QUIET_MS = 8.0


def indexed(place: Path) -> None:
    """Index the sample."""
    passages = [
        Passage(one.doc_id, one.text, one.title.replace("_", " ")) for one in read_passages(CORPUS)
    ]
    index_corpus(passages, place, encoder=load_encoder())


def serve(place: Path) -> str:
    """The address of a server over an index."""
    listener = listen("127.0.0.1", 0, guarded=False)
    app = create_app({place.name: Searcher.open(place)})
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return address_of(listener)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium of this machine."""
    path = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def picture(address: str, query: str) -> Image.Image:
    """What Chromium shows of an answer."""
    with chromium() as browser:
        page = browser.new_page(viewport=VIEW, device_scale_factor=1.5)
        for _ in range(60):  # until nothing else had the processor, as the page tells the time
            page.goto(f"{address}/?q={query}")
            page.wait_for_selector("article")
            if float(page.inner_text("#summary").split()[-2]) < QUIET_MS:
                break
        page.evaluate("document.activeElement.blur()")
        taken = page.screenshot()
    return Image.open(BytesIO(taken)).convert("RGB")


def main() -> None:
    """Write the picture, in few colours."""
    with TemporaryDirectory() as folder:
        indexed(Path(folder) / "wikipedia")
        taken = picture(serve(Path(folder) / "wikipedia"), " ".join(sys.argv[1:]) or QUERY)
    PICTURE.parent.mkdir(exist_ok=True)
    taken.quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
