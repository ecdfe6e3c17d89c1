"""What the pages of this room show must work."""

import re
from pathlib import Path

import pytest

ROOM = Path(__file__).parent.parent.parent / "index"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "LIVING.md"])
def test_the_python_of_a_page_runs(page):
    blocks = BLOCK.findall((ROOM / page).read_text())
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), {})
