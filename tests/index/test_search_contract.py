"""Every search on a processor keeps the promises of an exact search."""

from functools import partial

import pytest
from search_contract import VOCAB, ExactSearchContract, IndexContract

from tamis.index import Collection, Index, SearchParams, reference
from tamis.index.writing.creation import create_collection
from tamis.index.writing.writer import CollectionWriter


class TestBruteForce(ExactSearchContract):
    @pytest.fixture
    def search_of(self):
        return lambda documents: partial(reference.search, documents)


class TestIndex(IndexContract):
    @pytest.fixture(params=["exact", "recall of 1", "cut of 0"])
    def search_of(self, tmp_path, request):
        how = {
            "exact": {"exact": True},
            "recall of 1": {"recall": None},
            "cut of 0": {"params": SearchParams(cut=0.0)},
        }[request.param]
        return lambda documents: partial(Index.build(tmp_path / "i", documents).search, **how)


class TestCollection(IndexContract):
    """Its documents come in several commits; segments are merged, or not."""

    @pytest.fixture(params=[False, True], ids=["segments", "one segment"])
    def search_of(self, tmp_path, request):
        def search_of(documents):
            create_collection(tmp_path / "c", vocab_size=VOCAB)
            with CollectionWriter.open(tmp_path / "c", merge=False) as writer:
                step = max(1, len(documents) // 3)
                for first in range(0, len(documents), step):
                    rows = documents.rows(first, min(first + step, len(documents)))
                    records = [{"_id": str(first + row)} for row in range(len(rows))]
                    writer.put(records, rows, wait="searchable")
                if request.param:
                    writer.optimize()
            return partial(Collection.open(tmp_path / "c").index.search, exact=True)

        return search_of
