#!/usr/bin/env bash
# An element of selectolax finds itself: `table.css_first("table")` is the table, not one within it.
#
# querySelector of a browser, and select of Beautiful Soup, look below the element alone. Asked of
# a table whether it holds another one, selectolax says yes of every table; a rule that leaves
# tables of layout alone then leaves all of them alone.
#
# What to do: write the selector from the inside, as in `td table`, which no table is by itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check selectolax==1.0.2 beautifulsoup4==4.14.2
cd "$folder"
venv/bin/python - <<'PYTHON'
from importlib.metadata import version

from bs4 import BeautifulSoup
from selectolax.lexbor import LexborHTMLParser

PAGE = "<table><tr><td>one table, none within it</table>"
table = LexborHTMLParser(PAGE).css_first("table")
within = table.css("table")
peer = BeautifulSoup(PAGE, "html.parser").table.select("table")
print(f"selectolax {version('selectolax')}: {len(within)} table within the table")
print(f"Beautiful Soup {version('beautifulsoup4')}: {len(peer)}")
assert len(within) == 1, "selectolax looks below the element alone by now"
assert table.css_first("td table") is None
assert peer == []
PYTHON
