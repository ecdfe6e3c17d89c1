"""One settings object: of a file, over it the environment, over it flags."""

import re

import pytest

from tamis.api import Limits
from tamis.api.http.settings import read_settings
from tamis.index import InputError


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "serve.toml"
        path.write_text(text)
        return path

    return write


def test_the_later_ones_win(file):
    path = file('host = "::1"\nport = 1\ndata = "d"\n[limits]\nk = 5\nbatch = 6\nworkers = 1\n')
    environment = {
        "TAMIS_SERVE_PORT": "2",
        "TAMIS_SERVE_MCP": "true",
        "TAMIS_SERVE_INDEXES": "a,b=c",
        "TAMIS_SERVE_LIMITS_BATCH": "7",
        "HOME": "/",
    }
    found = read_settings(path, {"port": 3, "host": None}, environment)
    assert (found.host, found.port, found.data, found.mcp) == ("::1", 3, "d", True)
    assert found.indexes == ("a", "b=c")
    assert found.limits == Limits(k=5, batch=7, workers=1)
    assert read_settings(None, {}, {}).limits == Limits()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("port = 70000", "serve.toml: .*70000|serve.toml: .*port"),
        ("colour = 1", "serve.toml: .*colour"),
        ("[limits]\ncolour = 1", "serve.toml: .*'colour'"),
        ("[limits]\nk = 0", "limit k of at least 1, found 0"),
        ("[limits]\noffset = 9500", "at most 10000 together"),
        ('log_level = "loud"', "log_level"),
        ("port", "serve.toml"),
    ],
)
def test_a_faulty_file_is_told_by_name(file, text, named):
    with pytest.raises(InputError) as error:
        read_settings(file(text), {}, {})
    assert re.search(named, str(error.value)), error.value


def test_a_faulty_variable_is_told():
    with pytest.raises(InputError, match=r"environment: .*port"):
        read_settings(None, {}, {"TAMIS_SERVE_PORT": "x"})
