"""A lazy encoder is an encoder; its document side is loaded when it is first needed."""

import pytest
from letter_encoder import LetterEncoder

from tamis.index import MismatchError
from tamis.retriever.models import lazy_encoder
from tamis.retriever.models.encoder import Encoder, load_query_encoder
from tamis.retriever.models.lazy_encoder import LazyEncoder


def test_it_is_loaded_by_the_first_documents_and_once(monkeypatch):
    loaded = []
    monkeypatch.setattr(
        lazy_encoder, "load_encoder", lambda name: loaded.append(name) or LetterEncoder()
    )
    lazy = LazyEncoder("letters", LetterEncoder())
    assert isinstance(lazy, Encoder)
    assert lazy.encode_queries(["ab"]).to_dicts() == [{0: 2.0, 1: 2.0}]
    assert (lazy.vocabulary.term("c"), lazy.vocabulary.name(2)) == (2, "c")
    assert loaded == []
    for _ in range(2):
        assert lazy.encode_documents(["aab"]).to_dicts() == [{0: 2.0, 1: 1.0, 25: 0.5}]
    assert loaded == ["letters"]


def test_tokens_are_counted_without_a_model(monkeypatch):
    texts = ["", "Owls hunt.", "an owl " * 600]
    monkeypatch.setattr(lazy_encoder, "load_encoder", lambda name: pytest.fail("loaded"))
    lazy = LazyEncoder("default", load_query_encoder())
    assert lazy.count_tokens(texts) == [
        2,
        5,
        1202,
    ]  # [CLS] and [SEP] around owls, hunt and the full stop


def test_another_model_in_its_place_is_refused(monkeypatch):
    other = LetterEncoder("other letters")
    monkeypatch.setattr(lazy_encoder, "load_encoder", lambda name: other)
    with pytest.raises(MismatchError, match=r"of other letters.*tamis upgrade DIR"):
        LazyEncoder("letters", LetterEncoder()).encode_documents(["a"])


def test_tokens_of_another_model_are_not_counted():
    with pytest.raises(MismatchError, match="fingerprint of letters"):
        LazyEncoder("default", LetterEncoder()).count_tokens(["a"])
