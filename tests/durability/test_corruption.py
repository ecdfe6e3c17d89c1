"""Every damaged byte is noticed before it answers, by opening and by verify."""

import shutil

import pytest
from storages import Quick, files_of, seeded
from workload import Script, check_consistent, create, held, put, reopened, stop

from tamis.index import Collection, CollectionWriter, FormatError
from tamis.index.upkeep.verification import examine, repair


def small(path):
    """A collection of several segments with deletions; what it holds."""
    create(path)
    script = Script(seeded("corruption"), 30, ids=30)
    with CollectionWriter.open(path, merge=False, storage=Quick(path)) as writer:
        script.run(writer)
        put(writer, [("d1", 1), ("last", 2)])
    return {**script.states[-1], "d1": 1, "last": 2}


def check_detected(path, expected):
    """Opening refuses the folder, or it is whole; verify names a problem in any case."""
    noticed = False
    try:
        with Collection.open(path) as collection:
            assert held(collection) == expected
    except FormatError:
        noticed = True
    try:
        reported = bool(examine(path).problems)
    except FormatError:
        reported = True
    assert reported
    return noticed


def check_flips(path, step, files=None):
    """Flip one bit of every ``step``-th byte of every file; how many flips opening noticed."""
    expected = small(path)
    noticed = flips = 0
    for file in files or files_of(path):
        whole = file.read_bytes()
        for at in range(0, len(whole), step):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << at % 8
            file.write_bytes(damaged)
            noticed += check_detected(path, expected)
            flips += 1
        file.write_bytes(whole)
    assert examine(path).problems == ()
    assert noticed == flips
    return flips


@pytest.mark.long
def test_every_seventh_byte(tmp_path):
    """The flipped bit moves along; a prime step meets all fields of all records."""
    assert check_flips(tmp_path / "c", 7) > 2_000


@pytest.mark.slow
def test_every_byte(tmp_path, proof):
    flips = check_flips(tmp_path / "c", 1)
    assert flips > 10_000
    proof("flipped bytes", flips=flips, not_noticed=0, wrong_answers=0)


@pytest.mark.long
def test_truncated_extended_missing_and_swapped_files(tmp_path):
    path = tmp_path / "c"
    expected = small(path)
    files = files_of(path)
    for file, other in zip(files, files[1:] + files[:1], strict=True):
        whole = file.read_bytes()
        for damaged in (whole[:-1], whole + b"\0", b"", other.read_bytes(), None):
            if damaged == whole:
                continue
            if damaged is None:
                file.unlink()
            else:
                file.write_bytes(damaged)
            noticed = check_detected(path, expected)
            tail = damaged is not None and damaged[: len(whole)] == whole
            assert noticed or (file.name.startswith("log-") and tail), file
            file.write_bytes(whole)
    assert examine(path).problems == ()


@pytest.mark.long
def test_a_damaged_write_in_the_log_is_an_error_and_a_torn_one_is_not(tmp_path):
    """A flip in what had been acknowledged is told from a tail that a stop cut off."""
    path = tmp_path / "c"
    create(path)
    writer = CollectionWriter.open(path, merge=False, storage=Quick(path))
    put(writer, [("a", 1)])
    acknowledged = (path / "log-000001").stat().st_size
    put(writer, [("b", 2)], wait="none")
    stop(writer)
    whole = (path / "log-000001").read_bytes()
    for at in range(len(whole)):
        copy = tmp_path / "copy"
        shutil.copytree(path, copy)
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        (copy / "log-000001").write_bytes(damaged)
        assert examine(copy).problems
        if at < acknowledged - 24:  # what follows is a mark and a write nobody waited for
            with pytest.raises(FormatError):
                CollectionWriter.open(copy, merge=False)
        else:
            assert reopened(copy, consistent=False).items() >= {"a": 1}.items()
        shutil.rmtree(copy)


def test_repair_names_a_whole_manifest_again_and_drops_a_torn_tail(tmp_path):
    path = tmp_path / "c"
    expected = small(path)
    (path / "CURRENT").write_bytes(b"nonsense")
    (problem,) = examine(path).problems
    assert "run `tamis verify DIR --repair`" in problem.repair
    assert repair(path) == [f"CURRENT names {newest_manifest(path)} again"]
    log = max(path.glob("log-*"))
    log.write_bytes(log.read_bytes() + b"tfrm torn")
    (problem,) = examine(path).problems
    assert problem.code == "torn"
    assert repair(path) == ["the log's torn tail is dropped, and its whole writes are searchable"]
    assert examine(path).problems == ()
    with Collection.open(path) as collection:
        assert held(collection) == expected
        check_consistent(collection)


def newest_manifest(path):
    return max(file.name for file in path.glob("manifest-*.json"))


def test_a_report_says_what_is_still_readable(tmp_path):
    path = tmp_path / "c"
    small(path)
    file = next(iter(sorted(path.glob("segments/*/documents.bytes"))))
    damaged = bytearray(file.read_bytes())
    damaged[0] ^= 1
    file.write_bytes(damaged)
    (problem,) = examine(path).problems
    assert problem.file == str(file.relative_to(path))
    assert "documents of other segments; here all vectors and ids, and the text of" in (
        problem.readable
    )
    assert "restore a snapshot with `tamis restore`" in problem.repair
