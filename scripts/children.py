"""Children: commands of Tamis as processes that end when this one does, however that ends.

The parent holds the one end of a pipe, which the system closes when it dies, even of SIGKILL. The
child reads the other end. Linux alone could signal a parent's death; pipes are everywhere.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from time import sleep

START = "from tamis.scripts.children import main; main()"
STOP_WITHIN_S = 20.0  # after SIGTERM


def start_child(*arguments: str) -> subprocess.Popen[str]:
    """Start `tamis` with arguments; its standard output is to be read, its input to be kept."""
    path = os.pathsep.join(place for place in sys.path if place and isinstance(place, str))
    return subprocess.Popen(
        [sys.executable, "-P", "-c", START, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the one that was started by hand
        env={**os.environ, "PYTHONPATH": path},
    )


def main() -> None:
    """Run `tamis`, stopped as by SIGTERM once its standard input ends; nothing else may read it."""
    line = os.dup(0)  # which programs that this one starts do not get
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_end_after, args=(line,), daemon=True).start()
    from tamis.scripts.main import main as run

    run()


def _end_after(line: int) -> None:
    while os.read(line, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(STOP_WITHIN_S)
    os.kill(os.getpid(), signal.SIGKILL)
