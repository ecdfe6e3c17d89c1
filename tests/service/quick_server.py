"""A server whose reranker costs nothing, for tests that send many requests of all kinds.

    quick_server.py FOLDER

Prints its address as a line of JSON, as `tamis serve --json` does.
"""

import json
import sys
from pathlib import Path

import numpy as np

from tamis.api import create_app
from tamis.api.http.server import address_of, listen, run
from tamis.api.serving.data_folder import DataFolder


class Quick:
    """A reranker that finds all documents alike."""

    def score(self, query, documents, *, first_stage=None):
        return np.zeros(len(documents), np.float32)


def main(folder):
    listener = listen("127.0.0.1", 0, guarded=False)
    app = create_app({}, data=DataFolder(Path(folder)), reranker=Quick())

    def say():
        sys.stdout.write(json.dumps({"address": address_of(listener)}) + "\n")
        sys.stdout.flush()

    run(app, listener, say)


if __name__ == "__main__":
    main(sys.argv[1])
