"""What all integrations share; no framework is needed."""

import pytest

from tamis.index.errors import InputError
from tamis.retriever import Searcher
from tamis.retriever.integrations.found import check_options, metadata_of
from tamis.retriever.types import Hit


def test_a_document_s_own_fields_of_our_names_stay_as_they_are():
    own = {"score": 4.5, "rank": 3, "doc_id": "ext-1"}
    hit = Hit("mars", 2.0, 1, {"_id": "mars", "text": "red", **own})
    assert metadata_of(hit) == own | {"tamis_doc_id": "mars", "tamis_score": 2.0, "tamis_rank": 1}
    plain = Hit("mars", 2.0, 1, {"_id": "mars", "text": "red", "order": 4})
    assert metadata_of(plain) == {"order": 4, "doc_id": "mars", "score": 2.0, "rank": 1}


def test_every_option_of_a_search_is_one_here(planets):
    options = {"exact": True, "recall": 0.9, "filter": None, "lexical_weight": 1.0}
    check_options(options)
    assert Searcher.open(planets).search(["planet"], **options)
    with pytest.raises(InputError, match=r"found fitler"):
        check_options({"fitler": {}})
