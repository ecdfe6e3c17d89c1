"""Where the long proofs leave what they counted."""

import json
import os
from pathlib import Path

import pytest


@pytest.fixture
def proof():
    """Add a line of JSON to the file that TAMIS_PROOFS names, if it names one."""

    def keep(name, **figures):
        path = os.environ.get("TAMIS_PROOFS")
        if path:
            with Path(path).open("a") as file:
                file.write(json.dumps({name: figures}) + "\n")

    return keep
