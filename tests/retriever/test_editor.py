"""A changed index is the index that would be built of the documents it holds."""

import numpy as np
import pytest
from letter_encoder import LetterEncoder
from msgspec import structs

from tamis import retriever
from tamis.index import Collection, InputError, MismatchError
from tamis.index.generations.manifest import FORMAT
from tamis.index.upkeep.verification import examine
from tamis.index.writing import pending
from tamis.index.writing.build_process import BuildProcess
from tamis.retriever import Editor, LexicalConfig, Passage, Searcher, create_index, index_corpus
from tamis.retriever.renewal import upgrade_index
from tamis.retriever.words.lexical import LexicalQueries

ANIMALS = ["cat", "dog", "owl", "heron", "bat", "newt"]


def passages(*numbers, word="sees"):
    return [
        Passage(f"d{n}", f"the {ANIMALS[n % 6]} {word} {ANIMALS[n % 5]} {'x' * (n % 4)}", f"Nr {n}")
        for n in numbers
    ]


def build(path, documents, **options):
    return index_corpus(documents, path, **{"encoder": LetterEncoder(), "source": "t", **options})


def searched(collection, text):
    """Ids and scores of an exact search for a text's words and letters."""
    lexical = LexicalQueries.from_settings(
        collection.settings.lexical, collection.dictionary, collection.with_words
    )
    searcher = Searcher(LetterEncoder(), collection, lexical)
    (result,) = searcher.search([text], k=20, exact=True)
    return [(hit.doc_id, hit.score) for hit in result.hits]


def change_words(writer, **changes):
    """Record other settings of words."""
    lexical = structs.replace(writer.settings.lexical, **changes)
    writer.change_settings(structs.replace(writer.settings, lexical=lexical))


def files_of(collection):
    """Checksums of all files but the generation's number in their names."""
    return sorted(entry.xxh3 for entry in collection.index.manifest.files.values())


def test_changes_then_optimize_equal_one_build_to_the_byte(tmp_path):
    build(tmp_path / "living", passages(*range(20))).close()
    with Editor.open(tmp_path / "living", LetterEncoder()) as editor:
        assert editor.put(passages(3, 21, 22, word="hears")) == 3
        assert editor.delete(["d0", "d21", "none"]) == 2
        editor.commit()
        editor.put(passages(30, word="smells"), wait="searchable")
        editor.optimize()
    left = [*passages(*(n for n in range(20) if n not in (0, 3)))]
    left += [*passages(3, 22, word="hears"), *passages(30, word="smells")]
    fresh, living = build(tmp_path / "fresh", left), Collection.open(tmp_path / "living")
    assert [living.doc_id(doc) for doc in range(len(living))] == [p.doc_id for p in left]
    assert living.settings == fresh.settings
    assert files_of(living) == files_of(fresh)
    assert not (tmp_path / "living/build").exists()


def test_another_process_optimizes_to_the_byte_alike(tmp_path, monkeypatch):
    found = {}
    with BuildProcess() as process:
        assert process.start(60)
        for name, builder in (("here", None), ("there", process)):
            build(tmp_path / name, passages(*range(20))).close()
            with Editor.open(tmp_path / name, LetterEncoder(), builder=builder) as editor:
                editor.put(passages(3, 21, word="hears"))
                editor.delete(["d0"], wait="searchable")
                if builder is not None:  # nothing is written here
                    monkeypatch.setattr("tamis.index.writing.build_here.carry_out", None)
                editor.optimize()
            with Collection.open(tmp_path / name) as collection:
                found[name] = files_of(collection), collection.settings
    assert found["there"] == found["here"]


@pytest.mark.parametrize("place", [("read", 3, 19), ("build", 0, 19)])
def test_optimizing_tells_how_far_it_has_come_and_can_be_stopped(tmp_path, place):
    told = []

    def progress(*step):
        told.append(step)
        if step == place:
            raise InterruptedError

    build(tmp_path / "c", passages(*range(20)), encoder=None).close()
    with Editor.open(tmp_path / "c") as editor:
        editor.delete(["d0"], wait="searchable")
        with pytest.raises(InterruptedError):
            editor.optimize(progress)
        assert told[0] == ("read", 0, 19)
        assert not (tmp_path / "c/build").exists()
        assert len(editor.writer.index.parts[0].stored.ids) == 20
        editor.optimize()
    assert len(Collection.open(tmp_path / "c").index.live_docs()) == 19


def test_many_segments_score_as_one_build_of_the_same_average_length(tmp_path):
    """Document frequencies and the number of documents follow every change."""
    build(tmp_path / "living", passages(*range(20))).close()
    with Editor.open(tmp_path / "living", LetterEncoder(), merge=False) as editor:
        for n in range(20, 30):
            editor.put(passages(n), wait="searchable")
        editor.delete([f"d{n}" for n in range(0, 30, 7)], wait="searchable")
    living = Collection.open(tmp_path / "living")
    assert len(living.index.parts) == 9  # two of eleven held deleted documents alone
    average = living.settings.lexical.average_length
    left = [p for p in passages(*range(30)) if int(p.doc_id[1:]) % 7]
    create_index(tmp_path / "one", encoder=LetterEncoder(), source="t")
    with Editor.open(tmp_path / "one", LetterEncoder()) as editor:
        change_words(editor.writer, average_length=average)
        editor.put(left)
    one = Collection.open(tmp_path / "one")
    for text in ("the owl sees a heron", "cat", "dog xxx sees", "newt bat"):
        assert searched(living, text) == searched(one, text)


def test_an_empty_index_takes_its_average_length_from_the_first_documents(tmp_path):
    create_index(tmp_path / "c", encoder=None, lexical=LexicalConfig())
    assert Searcher.open(tmp_path / "c").search(["owl"])[0].hits == ()
    with Editor.open(tmp_path / "c") as editor:
        editor.put(passages(*range(8)), wait="searchable")
    with Collection.open(tmp_path / "c") as collection:
        assert collection.settings.lexical.average_length > 0
        assert len(collection) == 8
    assert not examine(tmp_path / "c").problems


WORDLESS = {
    "marks": lambda editor: editor.put([Passage("a", "!!! ???")]),
    "stop words": lambda editor: editor.put([Passage("a", "the of and")]),
    "nothing": lambda editor: editor.put([Passage("a", "")]),
    "vector": lambda editor: editor.put_weighted([Passage("a", "")], [{}]),
}


@pytest.mark.parametrize("kind", WORDLESS)
@pytest.mark.parametrize("wait", ["durable", "searchable"])
@pytest.mark.parametrize("then", ["nothing", "optimize", "delete", "delete and optimize"])
def test_a_first_generation_without_a_word_is_one_like_others(tmp_path, kind, wait, then):
    path = tmp_path / "c"
    create_index(path, encoder=None)
    with Editor.open(path) as editor:
        WORDLESS[kind](editor)
        if wait == "searchable":
            editor.commit()
        if "delete" in then:
            assert editor.delete(["a"]) == 1
        if "optimize" in then:
            editor.optimize()
    assert not examine(path).problems
    left = [] if "delete" in then else ["a"]
    with Collection.open(path) as collection:
        assert [collection.doc_id(doc) for doc in collection.index.live_docs()] == left
    assert Searcher.open(path).search(["owl"])[0].hits == ()
    with Editor.open(path) as editor:
        editor.put([Passage("b", "an owl")], wait="searchable")
    assert searched_words(path, "owl") == ["b"]
    with Editor.open(path) as editor:
        editor.delete(["b"])
        editor.optimize()
    assert searched_words(path, "owl") == []
    assert not examine(path).problems


def test_a_searcher_moves_to_the_newest_generation_when_asked(tmp_path):
    build(tmp_path / "c", passages(1, 2), encoder=None).close()
    old = Searcher.open(tmp_path / "c")
    assert old.refresh() is old
    with Editor.open(tmp_path / "c") as editor:
        editor.put([Passage("z", "zebra")], wait="searchable")
        new = old.refresh()
    assert old.search(["zebra"])[0].hits == ()
    assert [hit.doc_id for hit in new.search(["zebra"])[0].hits] == ["z"]
    assert new.collection.generation == old.collection.generation + 1


def test_another_encoder_is_refused(tmp_path):
    build(tmp_path / "c", passages(1, 2)).close()
    with pytest.raises(MismatchError, match="expected the encoder that made the index"):
        Editor.open(tmp_path / "c", LetterEncoder("others"))
    Editor.open(tmp_path / "c", LetterEncoder()).close()  # the refused one let go of the lock


def test_learned_terms_alone_need_no_dictionary(tmp_path):
    build(tmp_path / "c", passages(*range(9)), lexical=None).close()
    with Editor.open(tmp_path / "c", LetterEncoder()) as editor:
        editor.put(passages(20, 21), wait="searchable")
        editor.delete(["d0"])
        editor.optimize()
    with Collection.open(tmp_path / "c") as collection:
        assert len(collection.index.parts) == 1
        assert np.array_equal(collection.index.live_docs(), np.arange(10))


def test_vectors_of_ones_own_are_searched_as_they_are(tmp_path):
    create_index(tmp_path / "index", encoder=LetterEncoder())
    with Editor.open(tmp_path / "index", LetterEncoder()) as editor:
        editor.put([Passage("text", "abc")], wait="searchable")
        editor.put_weighted(
            [Passage("own", "never read"), Passage("word", "")],
            [{"a": 3.0, "=new word": 2.0}, {"=new word": 1.0}],
            wait="searchable",
        )
        for faulty in ({"no piece": 1.0}, {"a": -1.0}):
            with pytest.raises(InputError):
                editor.put_weighted([Passage("bad", "")], [faulty])
    collection = Collection.open(tmp_path / "index")
    assert collection.dictionary is not None
    term = collection.dictionary.lookup("new word")
    assert collection.index.row(collection.doc("own"))[0].tolist() == [0, term]
    assert collection.index.row(collection.doc("own"))[1].tolist() == [3.0, 2.0]
    assert collection.dictionary.document_frequency(np.array([term])).tolist() == [2]
    assert collection.doc("bad") is None


def test_a_searcher_keeps_what_it_remembers_of_words_while_their_settings_last(tmp_path):
    build(tmp_path / "c", passages(1, 2), encoder=None).close()
    old = Searcher.open(tmp_path / "c")
    with Editor.open(tmp_path / "c") as editor:
        editor.put(passages(3), wait="searchable")
        new = old.refresh()
        change_words(editor.writer, language="german")
        other = new.refresh()
    assert new.collection.generation > old.collection.generation
    assert new.lexical.analyzer is old.lexical.analyzer
    assert other.lexical.analyzer.config.language == "german"


def test_an_editor_remembers_a_bounded_number_of_chunks_and_none_at_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(retriever.editor, "REMEMBERED_CHUNKS", 40)
    create_index(tmp_path / "c", encoder=None)
    with Editor.open(tmp_path / "c") as editor:
        for n in range(30):
            editor.put([Passage(f"a{n}", f"one two three four {n} x{n}")])
            assert len(editor._counter._counters[0]._seen) <= 40
        assert editor._counter._counters[0]._seen
        editor.forget_words()
        assert not editor._counter._counters[0]._seen
        editor.put([Passage("b", "one more")], wait="searchable")
    assert searched_words(tmp_path / "c", "one more")[0] == "b"


def test_writes_that_nobody_waits_for_are_committed_before_they_fill_the_memory(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(pending, "MOST_BYTES", 5000)
    create_index(tmp_path / "c", encoder=None)
    with Editor.open(tmp_path / "c") as editor:
        before = editor.writer.index.manifest.generation
        for n in range(90):
            editor.put([Passage(f"a{n}", f"owl {n} {'x' * 100}")], wait="none")
            assert editor.writer._pending.size_bytes <= 5000
        assert editor.writer.index.manifest.generation > before


def searched_words(path, text):
    (result,) = Searcher.open(path).search([text], k=3)
    return [hit.doc_id for hit in result.hits]


@pytest.mark.parametrize(
    ("name", "version"), [("stemmer", "1.0"), ("stemmer", None), ("unicode", "1.1")]
)
def test_texts_are_not_analysed_by_two_versions(tmp_path, name, version):
    create_index(tmp_path / "c", encoder=None)
    with Editor.open(tmp_path / "c") as editor:
        editor.put([Passage("old", "universities")], wait="searchable")
        change_words(editor.writer, **{name: version})
    with pytest.warns(UserWarning, match="words that it spells otherwise are not found"):
        editor = Editor.open(tmp_path / "c")
    with editor:
        with pytest.raises(MismatchError, match=r"analysed again with `tamis upgrade DIR`$"):
            editor.put([Passage("new", "university")])
        assert editor.delete(["none"]) == 0
    assert upgrade_index(tmp_path / "c") == (FORMAT, True)
    assert upgrade_index(tmp_path / "c") == (FORMAT, False)
    with Editor.open(tmp_path / "c") as editor:
        editor.put([Passage("new", "university")], wait="searchable")
    assert sorted(searched_words(tmp_path / "c", "university")) == ["new", "old"]
