"""Tasks that many clients follow at once."""

import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack
from urllib.parse import urlsplit

from tamis.api import create_app
from tamis.api.limits import Limits
from tamis.api.serving.data_folder import DataFolder


def followers(address, task, many, stack):
    """Connections that ask for a task's events at one moment, and the status of each."""
    where = urlsplit(address)
    opened = [
        stack.enter_context(socket.create_connection((where.hostname, where.port), timeout=30))
        for _ in range(many)
    ]
    for one in opened:
        one.sendall(f"GET /v1/tasks/{task}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return Counter(int(one.recv(4096).split()[1]) for one in opened)


def test_no_more_clients_follow_a_task_than_may(start, tmp_path):
    data, ended = DataFolder(tmp_path / "data"), threading.Event()
    address = start(create_app({}, Limits(listeners=5), data=data))
    task = data.tasks.start("build", "x", lambda progress: ended.wait(60)).task
    try:
        with ExitStack() as stack:
            assert followers(address, task, 200, stack) == {200: 5, 503: 195}
        end = time.monotonic() + 30
        while True:  # those that have left have made room
            with ExitStack() as stack:
                if followers(address, task, 1, stack) == {200: 1}:
                    break
            assert time.monotonic() < end
    finally:
        ended.set()
