"""Verification sees one generation, whatever a writer does meanwhile."""

from vectors_of import random_vectors

from tamis.index import CollectionWriter
from tamis.index.generations.settings import CollectionSettings
from tamis.index.upkeep.verification import examine
from tamis.index.writing.creation import create_collection


def test_a_collection_that_is_written_meanwhile_is_whole(tmp_path):
    create_collection(tmp_path / "c", vocab_size=31, settings=CollectionSettings())
    with CollectionWriter.open(tmp_path / "c", merge=False) as writer:
        records = [{"_id": f"d{number}"} for number in range(13)]
        writer.put(records, random_vectors(13, 31, seed=1), wait="searchable")
        writer.delete(["d3"], wait="searchable")

        def write_more(done, total):
            writer.delete([f"d{len(writer.index)}"])
            writer.optimize()

        found = examine(tmp_path / "c", write_more)
        assert len(writer.index) < 12
    assert (found.documents, found.problems) == (12, ())
