"""A long build can be searched by words at once, and ends as if it had been made in one go."""

import pytest
from letter_encoder import LetterEncoder
from storages import Killed, Killing, seeded

from tamis.index import Collection, FormatError, InputError, LockedError
from tamis.index.files.storage import Storage
from tamis.index.upkeep.verification import examine
from tamis.index.writing import collection_build
from tamis.index.writing.collection_build import is_unfinished
from tamis.retriever import Editor, Passage, Searcher, index_corpus, indexing

QUERIES = ["cats", "passage 7", "dogs and cats", "title", "nothing of this"]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(indexing, "CHUNK_DOCUMENTS", 7)


def corpus():
    return [
        Passage(f"d{i}", f"passage {i} about {'cats' if i % 3 else 'dogs and cats'}", f"Title {i}")
        for i in range(30)
    ]


def build(path, **options):
    return index_corpus(corpus(), path, **{"encoder": LetterEncoder(), "source": "x", **options})


def state(path):
    """All that a generation holds but its number and time, and what exact searches find."""
    searcher = Searcher.open(path, encoder=LetterEncoder())
    index = searcher.collection.index
    made = index.manifest
    return {
        "files": {name: entry.xxh3 for name, entry in made.files.items()},
        "segments": made.segments,
        "settings": made.settings,
        "statistics": [made.documents, made.vocab_size, made.with_words, made.log, index.awaiting],
        "frequencies": [part.tolist() for part in index.frequencies()],
        "ids": [searcher.collection.doc_id(doc) for doc in range(len(index))],
        "found": [
            [(hit.doc_id, hit.score) for hit in result.hits]
            for result in searcher.search(QUERIES, 30, exact=True)
        ],
    }


class Watching(LetterEncoder):
    """Looks at the folder while it encodes."""

    def __init__(self, path, look):
        super().__init__()
        self._path, self._look = path, look

    def encode_documents(self, texts, *, progress=None):
        self._look(self._path, len(self.encoded))
        return super().encode_documents(texts, progress=progress)


def test_documents_are_found_by_words_while_they_are_encoded(tmp_path):
    words = build(tmp_path / "words", encoder=None)
    expected = Searcher.open(words.path).search(QUERIES, 30, exact=True)
    seen = []

    def look(path, done):
        searcher = Searcher.open(path, encoder=LetterEncoder())
        assert searcher.collection.index.awaiting == 30
        assert searcher.collection.encoded == done
        for result, wanted in zip(searcher.search(QUERIES, 30, exact=True), expected, strict=True):
            found = [(hit.doc_id, hit.score) for hit in result.hits]
            assert found == [(hit.doc_id, hit.score) for hit in wanted.hits]
        with pytest.raises(LockedError):
            Editor.open(path, LetterEncoder())
        seen.append(done)

    build(tmp_path / "index", encoder=Watching(tmp_path / "index", look))
    assert seen == [0, 7, 14, 21, 28]


def test_the_end_is_that_of_a_build_in_one_go(tmp_path):
    build(tmp_path / "words first")
    build(tmp_path / "one go", words_first=False)
    assert state(tmp_path / "words first") == state(tmp_path / "one go")
    for path, generation in (("words first", 2), ("one go", 1)):
        with Collection.open(tmp_path / path) as collection:
            assert collection.generation == generation
    assert sorted(p.name for p in (tmp_path / "words first" / "segments").iterdir()) == ["000001"]
    assert not (tmp_path / "words first" / "build").exists()
    assert examine(tmp_path / "words first").problems == ()


def test_who_reads_the_words_goes_on_and_is_given_the_rest(tmp_path):
    held = []

    def look(path, done):
        if not held:
            held.append(Searcher.open(path, encoder=LetterEncoder()))

    build(tmp_path / "index", encoder=Watching(tmp_path / "index", look))
    (searcher,) = held
    assert searcher.search(["cats"], 30)[0].generation == 1
    newer = searcher.refresh()
    assert newer.collection.index.awaiting == 0
    assert newer.search(["z"], 30)[0].hits[0].score > 0  # no text has a z: it was learned
    searcher.collection.close()


def test_few_documents_and_words_or_learned_terms_alone_are_published_once(tmp_path):
    few = index_corpus(corpus()[:7], tmp_path / "few", encoder=LetterEncoder())
    words = build(tmp_path / "words", encoder=None)
    learned = build(tmp_path / "learned", lexical=None)
    assert [one.generation for one in (few, words, learned)] == [1, 1, 1]


def build_killed(monkeypatch, path, at):
    """Build until a step; the storage."""
    storage = Killing(path, at)
    with monkeypatch.context() as patch:
        patch.setattr(collection_build, "Storage", lambda path: storage)
        if at:
            with pytest.raises(Killed):
                build(path)
        else:
            build(path)
    return storage


def check_kill(monkeypatch, path, at, whole):
    """After a kill there is no index, one of words, or the whole; the build goes on to its end."""
    build_killed(monkeypatch, path, at)
    try:
        with Collection.open(path) as collection:
            awaiting = collection.index.awaiting
            assert awaiting in (0, 30)
            assert examine(path).problems == ()
    except FormatError:
        awaiting = None
    if awaiting:
        with pytest.raises(InputError, match="still to come; end its build with"):
            Editor.open(path, LetterEncoder())
        with pytest.raises(InputError, match="found an unfinished build; go on with --resume"):
            build(path)
    if awaiting == 0 and not is_unfinished(Storage(path)):
        with pytest.raises(InputError, match="expected no index there yet, found one"):
            build(path, resume=True)
    else:
        build(path, resume=True)
    assert state(path) == whole
    with Editor.open(path, LetterEncoder()) as editor:
        editor.put([Passage("new", "an owl")], wait="searchable")
        assert editor.writer.index.awaiting == 0
        assert len(editor.writer.index) == 31
    return awaiting


def test_a_kill_at_any_step_is_gone_on_from(tmp_path, monkeypatch):
    steps = build_killed(monkeypatch, tmp_path / "whole", 0).steps
    whole = state(tmp_path / "whole")
    chosen = seeded("words first").sample(range(1, steps + 1), 20)
    found = [check_kill(monkeypatch, tmp_path / str(at), at, whole) for at in sorted(chosen)]
    assert found == sorted(found, key=[None, 30, 0].index)  # words come between nothing and all
    assert 30 in found


@pytest.mark.slow
def test_a_kill_at_every_step_is_gone_on_from(tmp_path, monkeypatch):
    steps = build_killed(monkeypatch, tmp_path / "whole", 0).steps
    whole = state(tmp_path / "whole")
    for at in range(1, steps + 1):
        check_kill(monkeypatch, tmp_path / str(at), at, whole)
