"""Servers as processes of their own, and where the long proofs leave what they counted."""

import json
import os
from pathlib import Path

import pytest
from server_process import Server


@pytest.fixture
def serve(tmp_path):
    """Start servers over new data folders; they end with the test."""
    running = []

    def start(**limits):
        server = Server(tmp_path / f"data{len(running)}", limits)
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def proof():
    """Add a line of JSON to the file that TAMIS_PROOFS names, if it names one."""

    def keep(name, **figures):
        path = os.environ.get("TAMIS_PROOFS")
        if path:
            with Path(path).open("a") as file:
                file.write(json.dumps({name: figures}) + "\n")

    return keep


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A server that tests of a module share."""
    server = Server(tmp_path_factory.mktemp("shared") / "data", {})
    yield server
    server.stop()
