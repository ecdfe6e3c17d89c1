"""A file system of its own in memory, which can be full, or only be read."""

import subprocess
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest


class SmallDisk(type(Path())):
    """Where it is mounted."""

    def remount(self, how):
        """Mount it again: ``ro`` or ``rw``."""
        subprocess.run(["mount", "-o", f"remount,{how}", str(self)], check=True)


@contextmanager
def small_disk(megabytes):
    """A disk of so many megabytes; the test is skipped where none may be mounted."""
    place = SmallDisk(mkdtemp(prefix="tamis-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        place.rmdir()
        pytest.skip("nothing may be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
        place.rmdir()


def fill(place):
    """Fill a disk to its last byte, with a file named ``fill``."""
    with (place / "fill").open("ab", buffering=0) as file:
        for size in (1 << 16, 4096, 512, 64, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                pass
