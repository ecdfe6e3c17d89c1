"""An index encoded again is the index that the other encoder would have made of its documents."""

import pytest
from letter_encoder import LetterEncoder

from tamis.index import Collection, InputError, MismatchError
from tamis.retriever import Editor, Passage, Searcher, create_index, index_corpus
from tamis.retriever.builds.reencoding import reencode
from tamis.retriever.corpus.chunking import Chunking
from tamis.retriever.words.fields import TextField
from tamis.retriever.words.lexical import LexicalConfig, LexicalQueries

BEFORE = LetterEncoder("before")


def documents(*numbers, word="owl"):
    text = f"the {word} sees "
    return [Passage(f"d{n}", text + "x" * (n % 9), f"Nr {n}", {"n": n}) for n in numbers]


class InterruptionError(Exception):
    pass


def found(path, encoder):
    """Stored documents by id, the encoder's fingerprint, and an exact search's ids and scores."""
    with Collection.open(path) as collection:
        numbers = range(len(collection))
        records = {collection.doc_id(doc): collection.document(doc) for doc in numbers}
        settings = collection.settings
        lexical = LexicalQueries.from_settings(
            settings.lexical, collection.dictionary, collection.with_words
        )
        searcher = Searcher(encoder, collection, lexical)
        (result,) = searcher.search(["owl xx nr 3"], k=50, exact=True)
        hits = [(hit.doc_id, hit.score) for hit in result.hits]
    return records, settings.encoder.fingerprint, hits


@pytest.mark.parametrize("fields", [(), (TextField("title", 3.0), TextField("text"))])
def test_equals_the_index_that_the_other_encoder_makes(tmp_path, fields):
    after, options = (
        LetterEncoder("after"),
        {"source": "t", "lexical": LexicalConfig(fields=fields)},
    )
    index_corpus(documents(*range(9)), tmp_path / "old", encoder=BEFORE, **options)
    index_corpus(documents(*range(9)), tmp_path / "wanted", encoder=after, **options)
    assert reencode(tmp_path / "old", tmp_path / "new", after) == (9, 0, 0)
    assert found(tmp_path / "new", after) == found(tmp_path / "wanted", after)
    assert found(tmp_path / "old", BEFORE)[1] == BEFORE.description.fingerprint


def test_goes_on_where_it_was_stopped(tmp_path):
    index_corpus(documents(*range(600)), tmp_path / "old", encoder=BEFORE, source="t")
    after = LetterEncoder("after")

    def stop(what, done, total):
        if done >= 256:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        reencode(tmp_path / "old", tmp_path / "new", after, stop)
    again = LetterEncoder("after")
    result = reencode(tmp_path / "old", tmp_path / "new", again)
    assert result.kept >= 256
    assert len(again.encoded) == result.encoded == 600 - result.kept


def test_a_second_call_takes_over_what_has_changed(tmp_path):
    after = LetterEncoder("after")
    create_index(tmp_path / "old", encoder=BEFORE, source="t")
    with Editor.open(tmp_path / "old", BEFORE) as editor:
        editor.put(documents(1, 2, 3))
        editor.commit()
        reencode(tmp_path / "old", tmp_path / "new", after)
        editor.put(documents(2, word="newt"))
        editor.put(documents(4))
        editor.delete(["d1"])
    assert reencode(tmp_path / "old", tmp_path / "new", after) == (2, 1, 1)
    left = [*documents(3), *documents(2, word="newt"), *documents(4)]
    index_corpus(left, tmp_path / "wanted", encoder=after, source="t")
    records, _, hits = found(tmp_path / "new", after)
    wanted, _, wanted_hits = found(tmp_path / "wanted", after)
    assert records == wanted
    assert dict(hits) == pytest.approx(dict(wanted_hits))


def test_passages_are_not_divided_again(tmp_path):
    after = LetterEncoder("after")
    chunking = Chunking.parse("8:2")
    long = [Passage("d", " ".join(f"owl{n}" for n in range(30)))]
    index_corpus(long, tmp_path / "old", encoder=BEFORE, source="t", chunking=chunking)
    reencode(tmp_path / "old", tmp_path / "new", after)
    assert found(tmp_path / "new", after)[0] == found(tmp_path / "old", BEFORE)[0]


def test_refuses_vectors_that_no_text_gives(tmp_path):
    create_index(tmp_path / "old", encoder=BEFORE, source="t")
    with Editor.open(tmp_path / "old", BEFORE) as editor:
        editor.put_weighted(documents(1), [{"a": 1.0}])
    with pytest.raises(InputError, match="found 1 that brought vectors"):
        reencode(tmp_path / "old", tmp_path / "new", LetterEncoder("after"))


def test_refuses_a_folder_of_another_encoder(tmp_path):
    index_corpus(documents(1), tmp_path / "old", encoder=BEFORE, source="t")
    index_corpus(documents(1), tmp_path / "new", encoder=LetterEncoder("third"), source="t")
    with pytest.raises(MismatchError, match="expected the encoder"):
        reencode(tmp_path / "old", tmp_path / "new", LetterEncoder("after"))
    with pytest.raises(InputError, match="another folder"):
        reencode(tmp_path / "old", tmp_path / "old", LetterEncoder("after"))
