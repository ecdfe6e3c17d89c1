"""What lies in a data folder, and what is on its way out, whatever the disk refuses."""

import errno
import shutil

import pytest
from refusals import Disk

from tamis.api.serving.places import REMOVED, Places
from tamis.index.files.storage import Storage


def test_what_is_removed_by_another_meanwhile_is_no_fault(tmp_path):
    class Raced(Storage):
        def names(self, folder=""):
            found = super().names(folder)
            for name in found:
                shutil.rmtree(self.path(f"{folder}/{name}"))
            return found

    places = Places(Raced(tmp_path))
    (tmp_path / REMOVED / "gone").mkdir()
    places.sweep()


@pytest.mark.parametrize("step", ["create", "reserve", "remove"])
def test_a_try_for_room_leaves_nothing(tmp_path, step):
    disk = Disk()
    places = Places(disk.storage(tmp_path))
    with disk.refuses(errno.EIO, (step,)), pytest.raises(OSError, match="injected"):
        places.try_room()
    places.sweep()
    assert list((tmp_path / REMOVED).iterdir()) == []


def test_work_is_swept_up_when_it_has_ended_and_not_before(tmp_path):
    disk = Disk()
    places = Places(disk.storage(tmp_path))
    with disk.refuses(errno.EIO, ("remove",)), places.workplace() as work:
        work.mkdir()
        (work / "file").touch()
        places.sweep()
    assert (work / "file").exists()
    places.sweep()
    assert not work.exists()
