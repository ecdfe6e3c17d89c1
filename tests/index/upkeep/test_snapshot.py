"""A snapshot is the generation it was taken of, wherever it lies, or it is refused."""

import pytest
from vectors_of import random_vectors

from tamis.index import Collection, CollectionWriter, CorruptionError, FormatError, InputError
from tamis.index.upkeep.snapshot import SNAPSHOT, read_snapshot, restore, write_snapshot
from tamis.index.writing.creation import create_collection

QUERIES = random_vectors(11, 31, seed=5)


def write(writer, first, rows):
    records = [{"_id": f"d{number}"} for number in range(first, first + rows)]
    writer.put(records, random_vectors(rows, 31, seed=first), wait="searchable")


@pytest.fixture
def collection(tmp_path):
    create_collection(tmp_path / "c", vocab_size=31, settings={"source": "here"})
    with CollectionWriter.open(tmp_path / "c", merge=False) as writer:
        write(writer, 0, 13)
        write(writer, 20, 7)
        writer.delete(["d3"], wait="searchable")
    return tmp_path / "c"


def answers(path):
    with Collection.open(path) as opened:
        top = opened.index.search(QUERIES, 5, exact=True)
        return top.docs.tolist(), top.scores.tolist(), opened.settings


@pytest.mark.parametrize("copy", [True, False])
def test_a_snapshot_survives_its_collection_and_is_restored_equal(collection, tmp_path, copy):
    before = answers(collection)
    taken = write_snapshot(collection, tmp_path / "kept", copy=copy)
    with CollectionWriter.open(collection) as writer:
        writer.delete(["d1", "d2"])
        writer.optimize()
    assert answers(collection) != before
    assert answers(tmp_path / "kept") == before
    restored = restore(tmp_path / "kept", tmp_path / "far/away")
    assert restored.identity == taken.identity == read_snapshot(tmp_path / "kept").identity
    assert answers(tmp_path / "far/away") == before
    with CollectionWriter.open(tmp_path / "far/away") as writer:
        write(writer, 50, 3)
        assert len(writer.index) == 22


def test_a_snapshot_without_documents_is_restored_and_written_to(tmp_path):
    create_collection(tmp_path / "none", vocab_size=31, settings={"source": "here"})
    write_snapshot(tmp_path / "none", tmp_path / "kept", copy=True)
    restore(tmp_path / "kept", tmp_path / "back")
    for folder in ("back", "kept"):
        with CollectionWriter.open(tmp_path / folder) as writer:
            write(writer, 0, 3)
            assert len(writer.index) == 3


def test_equal_contents_have_one_identity(collection, tmp_path):
    first, second = (write_snapshot(collection, tmp_path / name) for name in "ab")
    assert first.identity == second.identity
    with CollectionWriter.open(collection) as writer:
        writer.delete(["d5"])
    assert write_snapshot(collection, tmp_path / "c2").identity != first.identity


def test_every_damaged_file_of_a_snapshot_is_refused(collection, tmp_path):
    write_snapshot(collection, tmp_path / "kept", copy=True)
    damaged = 0
    for file in sorted((tmp_path / "kept").rglob("*")):
        if not file.is_file() or file.name == "LOCK" or file.name.startswith("log-"):
            continue
        whole = file.read_bytes()
        if whole:
            file.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
            with pytest.raises(FormatError):
                restore(tmp_path / "kept", tmp_path / f"out-{damaged}")
            with pytest.raises(FormatError):
                Collection.open(tmp_path / f"out-{damaged}")
            file.write_bytes(whole)
            damaged += 1
    assert damaged > 20
    restore(tmp_path / "kept", tmp_path / "out")


def test_a_damaged_collection_gives_no_snapshot(collection, tmp_path):
    file = next(iter(collection.glob("segments/*/records.entries")))
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    with pytest.raises(CorruptionError, match=r"records\.entries: expected checksum"):
        write_snapshot(collection, tmp_path / "kept")


def test_nothing_is_written_over(collection, tmp_path):
    write_snapshot(collection, tmp_path / "kept")
    with pytest.raises(InputError, match="expected an empty folder"):
        write_snapshot(collection, tmp_path / "kept")
    with pytest.raises(InputError, match="expected an empty folder"):
        restore(tmp_path / "kept", collection)
    with pytest.raises(InputError, match="expected a folder outside"):
        write_snapshot(collection, collection / "segments/kept")
    with pytest.raises(FormatError, match=f"expected a snapshot with a file {SNAPSHOT}"):
        restore(collection, tmp_path / "other")
