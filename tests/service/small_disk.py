"""File systems of their own: one in memory, which can be full or only be read, and one to lose."""

import subprocess
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory, mkdtemp

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


class FailingDisk(type(Path())):
    """Where a disk is mounted whose file system can come to an end."""

    def image(self):
        """The file that holds it."""
        return self.with_name(f"{self.name}.image")

    def mount(self):
        """Mount it, mended where that is needed."""
        command = ["mount", "-o", "loop,errors=remount-ro", self.image(), self]
        return subprocess.run(list(map(str, command)), capture_output=True, check=False)

    def fail(self):
        """Have the kernel write nothing any more, as after an error of the disk."""
        subprocess.run(["mount", "-o", "remount,abort", str(self)], check=True)

    def unmount(self):
        subprocess.run(["umount", str(self)], check=True)


@contextmanager
def failing_disk(megabytes):
    """A disk of so many megabytes; the test is skipped where none may be mounted."""
    with TemporaryDirectory(prefix="tamis-disk-") as folder:
        place = FailingDisk(folder, "disk")
        place.mkdir()
        with place.image().open("wb") as file:
            file.truncate(megabytes << 20)
        make = ["mkfs.ext4", "-q", "-F", str(place.image())]
        made = which(make[0]) and not subprocess.run(make, check=False).returncode
        if not made or place.mount().returncode:
            pytest.skip("nothing may be mounted here")
        try:
            yield place
        finally:
            subprocess.run(["umount", "-l", str(place)], check=False)


def fill(place):
    """Fill a disk to its last byte, with a file named ``fill``."""
    with (place / "fill").open("ab", buffering=0) as file:
        for size in (1 << 16, 4096, 512, 64, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                pass
