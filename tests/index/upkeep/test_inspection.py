import numpy as np
from vectors_of import random_vectors

from tamis.index import Index
from tamis.index.files.file_entry import FileEntry
from tamis.index.upkeep.inspection import (
    LengthClass,
    bytes_by_part,
    length_classes,
    posting_lengths,
)


def entry(size_bytes):
    return FileEntry(size_bytes, "0" * 16)


def test_lists_are_counted_in_classes_that_double():
    classes = length_classes(np.array([0, 1, 1, 2, 3, 4, 15, 16, 0]))
    assert classes == [
        LengthClass(1, 1, 2, 2),
        LengthClass(2, 3, 2, 5),
        LengthClass(4, 7, 1, 4),
        LengthClass(8, 15, 1, 15),
        LengthClass(16, 31, 1, 16),
    ]
    assert length_classes(np.zeros(3, np.int64)) == []


def test_the_postings_of_an_index_are_its_vectors_entries(tmp_path):
    vectors = random_vectors(307, 53, seed=4)
    Index.build(tmp_path / "index", vectors)
    classes = posting_lengths(tmp_path / "index")
    assert sum(each.postings for each in classes) == vectors.nnz
    assert sum(each.terms for each in classes) == np.unique(vectors.terms).size


def test_every_byte_belongs_to_one_part():
    files = {
        "segments/000001/lists.ranked": entry(5),
        "segments/000002/lists.starts": entry(7),
        "segments/000002/blocks.lists.ranked": entry(9),
        "segments/000001/documents.bytes": entry(40),
        "dictionary/000003.text": entry(3),
        "dictionary/000001.text": entry(1),
        "query/tokenizer.json": entry(2),
        "catalogue": entry(11),
    }
    assert list(bytes_by_part(files).items()) == [
        ("documents", 40),
        ("lists", 12),
        ("other", 11),
        ("blocks", 9),
        ("dictionary", 4),
        ("query", 2),
    ]
