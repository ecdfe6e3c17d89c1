"""The checks that must notice seeded defects, in forms short enough to run once for each."""

import checks
import pytest
from storages import Quick, files_of, seeded
from test_corruption import (
    check_detected,
    small,
)
from test_faults import check_fault, steps_of
from test_power_loss import check_power_cuts
from workload import Script

from tamis.index.writing import writer


def power(folder):
    """The short form of the power cuts, with other seeds until one notices."""
    for seed in range(200, 203):
        (folder / str(seed)).mkdir(parents=True)
        check_power_cuts(folder / str(seed), 80, seed, length=12)


def faults(folder):
    script = Script(seeded("defect"), 6)
    assert {"searchable", "commit"} & {kind for kind, _, _ in script.operations}
    for at in range(1, steps_of(folder / "whole", script, gather=False) + 1):
        check_fault(folder / str(at), script, at, gather=False)


def short_writes(folder):
    """A disk that takes half of each write at a time is as good as any."""

    class Halves(Quick):
        def write_some(self, handle, data):
            return super().write_some(handle, data[: max(len(data) // 2, 1)])

    checks.create(folder / "c", Halves(folder / "c"))
    with writer.CollectionWriter.open(
        folder / "c", merge=False, storage=Halves(folder / "c")
    ) as opened:
        checks.put(opened, [("a", 1)], wait="searchable")
    with checks.Collection.open(folder / "c") as collection:
        assert checks.held(collection) == {"a": 1}


def corruption(folder, pattern="*", step=211, verify="full"):
    expected = small(folder / "c")
    for file in files_of(folder / "c"):
        if file.match(pattern):
            whole = file.read_bytes()
            for at in range(0, len(whole), step):
                damaged = bytearray(whole)
                damaged[at] ^= 1 << at % 8
                file.write_bytes(damaged)
                check_detected(folder / "c", expected)
            file.write_bytes(whole)


def lazy_corruption(folder):
    """Opened lazily, a damaged text is noticed when it is read."""
    small(folder / "c")
    for file in files_of(folder / "c"):
        if file.name == "documents.bytes":
            damaged = bytearray(file.read_bytes())
            damaged[-1] ^= 1
            file.write_bytes(damaged)
    with (
        checks.Collection.open(folder / "c", verify="lazy") as collection,
        pytest.raises(checks.CorruptionError, match="is not what was written"),
    ):
        checks.held(collection)


def promise(name):
    return lambda folder: getattr(checks, f"check_{name}")(folder / "c")


def nothing(*arguments, **options):
    return None
