"""An index and its encoder move: found again by fingerprint, never another one."""

import shutil

import pytest
from letter_encoder import LetterEncoder
from tiny_checkpoints import write_bert

from tamis.index import InputError, MismatchError
from tamis.retriever import Editor, Passage, Searcher, SparseEncoder, index_corpus
from tamis.retriever.models.own_encoder import (
    places_by_fingerprint,
    recorded_encoder,
    refuse_strangers,
)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return str(write_bert(tmp_path_factory.mktemp("other"), hidden_size=48, intermediate_size=16))


@pytest.fixture
def moved(tmp_path):
    """An index whose encoder has moved: its folder, where the encoder was, and where it is."""
    before, now = tmp_path / "before", tmp_path / "now"
    write_bert(before)
    encoder = SparseEncoder.load(str(before), device="cpu")
    index_corpus([Passage("a", "the owl hunts")], tmp_path / "index", encoder=encoder)
    shutil.move(before, now)
    return tmp_path / "index", before, now


def test_an_encoder_that_has_moved_is_told_and_found_at_another_place(moved, other):
    index, before, now = moved
    said = f"expected the encoder that made the index, before .* then at {before}, found none there"
    with pytest.raises(InputError, match=said) as told:
        Searcher.open(index)
    assert "name its present place with --encoder" in str(told.value)
    with pytest.raises(InputError, match=said):
        Editor.open(index)
    for place in (now, str(now), SparseEncoder.load(str(now), device="cpu")):
        (result,) = Searcher.open(index, encoder=place).search(["owl"])
        assert [hit.doc_id for hit in result.hits] == ["a"]
    with Editor.open(index, now) as editor:
        editor.put([Passage("b", "an owl")], wait="searchable")
    assert len(Searcher.open(index, encoder=now).collection) == 2
    for place in (other, LetterEncoder()):
        with pytest.raises(MismatchError, match=f"then at {before}, found .* name a place of the"):
            Searcher.open(index, encoder=place)
        with pytest.raises(MismatchError, match=f"then at {before}, found"):
            Editor.open(index, place)
    with pytest.raises(InputError, match="expected 'default', a folder, or a hub name"):
        Searcher.open(index, encoder=str(before))


def test_another_encoder_in_the_remembered_place_is_refused(moved, other):
    index, before, _ = moved
    shutil.copytree(other, before)
    with pytest.raises(MismatchError, match=f"found {before} with fingerprint"):
        Searcher.open(index)


def test_an_encoder_is_named_in_vain_where_words_are_alone(tmp_path, other):
    index_corpus([Passage("a", "owl")], tmp_path / "i", encoder=None)
    assert recorded_encoder(tmp_path / "i") is None
    for given in (other, LetterEncoder()):
        with pytest.raises(
            MismatchError, match="expected no encoder, as the index was made without"
        ):
            Searcher.open(tmp_path / "i", encoder=given)
        with pytest.raises(MismatchError, match="expected no encoder"):
            Editor.open(tmp_path / "i", given)


def test_a_table_is_searched_from_the_index_and_still_checked(tmp_path, other):
    encoder = SparseEncoder.load(device="cpu")
    index_corpus([Passage("a", "the owl hunts")], tmp_path / "i", encoder=encoder)
    for given in (None, "default", encoder):
        (result,) = Searcher.open(tmp_path / "i", encoder=given).search(["owl"])
        assert [hit.doc_id for hit in result.hits] == ["a"]
    for given in (other, LetterEncoder()):
        with pytest.raises(MismatchError, match="then at default, found"):
            Searcher.open(tmp_path / "i", encoder=given)


def test_places_that_no_index_needs_are_refused(moved, other):
    index, _, now = moved
    remembered = recorded_encoder(index)
    assert places_by_fingerprint([str(now)]) == {remembered.fingerprint: str(now)}
    refuse_strangers(places_by_fingerprint([str(now)]), [None, remembered])
    with pytest.raises(MismatchError, match=f"found {other} with fingerprint .*; leave it out"):
        refuse_strangers(places_by_fingerprint([str(now), other]), [remembered])
