"""A key file is read again when it changes; what cannot be taken leaves the keys as they were."""

import os
import time

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from tamis.api import create_app
from tamis.api.http.keys import ApiKeys
from tamis.api.serving import service

OLD, NEW = "0123456789abcdef-old", "0123456789abcdef-new"


def role(keys, key):
    grant = keys.grant(Request({"type": "http", "headers": [(b"x-api-key", key.encode())]}))
    return None if grant is None else grant.everywhere


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"admin {OLD}\n")
    return path


def test_a_changed_file_is_read_again(path):
    keys = ApiKeys.read(path)
    keys.look_after()
    assert (role(keys, OLD), role(keys, NEW)) == ("all", None)
    path.write_text(f"read {NEW}\n")
    keys.look_after()
    assert (role(keys, OLD), role(keys, NEW)) == (None, "search")


def test_a_file_put_in_its_place_is_read_whatever_its_time(path):
    keys = ApiKeys.read(path)
    before = path.stat()
    other = path.with_name("other")
    other.write_text(f"admin {NEW}\n")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    keys.look_after()
    assert (role(keys, OLD), role(keys, NEW)) == (None, "all")


@pytest.mark.parametrize("how", ["empty", "short", "writable", "gone", "no text"])
def test_what_cannot_be_taken_is_told_and_leaves_the_keys_as_they_were(path, how, caplog):
    keys = ApiKeys.read(path)
    if how == "gone":
        path.unlink()
    elif how == "writable":
        path.write_text(f"admin {NEW}\n")
        path.chmod(0o666)
    else:
        path.write_bytes({"empty": b"", "short": b"admin x", "no text": b"\xff\xfe"}[how])
    for _ in range(3):
        keys.look_after()
    assert (role(keys, OLD), role(keys, NEW)) == ("all", None)
    assert str(path) in keys.fault.detail
    assert caplog.text.count("are those of before") == 1
    assert NEW not in caplog.text
    path.unlink(missing_ok=True)
    path.write_text(f"read {NEW}\n")
    keys.look_after()
    assert keys.fault is None
    assert role(keys, NEW) == "search"


def test_a_server_follows_its_file_and_tells_of_a_faulty_one(path, monkeypatch):
    monkeypatch.setattr(service, "REFRESH_S", 0.05)
    with TestClient(create_app({}, keys=ApiKeys.read(path))) as client:

        def until(status, path, key):
            end = time.monotonic() + 10
            while True:
                answer = client.get(path, headers={"x-api-key": key})
                if answer.status_code == status:
                    return answer
                assert time.monotonic() < end
                time.sleep(0.01)

        until(200, "/v1/info", OLD)
        path.write_text(f"admin {NEW}\n")
        until(200, "/v1/info", NEW)
        assert client.get("/v1/info", headers={"x-api-key": OLD}).status_code == 401
        path.write_text("")
        told = until(503, "/healthz", NEW).json()["detail"]
        assert "the key file" in told
        assert str(path) in told
        assert str(path) not in client.get("/healthz").text
        until(200, "/v1/info", NEW)
        path.write_text(f"admin {OLD}\n")
        until(200, "/healthz", OLD)
