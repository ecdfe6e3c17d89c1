"""Pieces of a corpus, indexed apart and put together, are the collection of one process."""

import json

import pytest
from letter_encoder import LetterEncoder
from storages import Killed, Killing, seeded
from tiny_checkpoints import write_bert

from tamis.index import Collection, FormatError, InputError, LockedError, MismatchError
from tamis.index.files.lock import FolderLock
from tamis.index.files.storage import Storage
from tamis.index.upkeep.verification import examine
from tamis.index.writing import assembly
from tamis.retriever import Editor, Passage, Searcher, index_corpus, indexing
from tamis.retriever.builds.pieces import assemble, index_piece
from tamis.retriever.corpus.passages import read_passages
from tamis.retriever.corpus.shares import Share
from tamis.retriever.models.encoder import load_encoder
from tamis.retriever.models.lazy_encoder import LazyEncoder

QUERIES = ["cats", "passage 7", "dogs and cats", "title", "zebra", "nothing of this"]
KINDS = {
    "words": {"encoder": None},
    "learned": {"encoder": LetterEncoder(), "lexical": None},
    "both": {"encoder": LetterEncoder()},
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(indexing, "CHUNK_DOCUMENTS", 4)


@pytest.fixture
def corpus(tmp_path):
    """Words first met in the middle, texts of many lengths, and one without any word."""
    path = tmp_path / "corpus.jsonl"
    rows = [
        {
            "_id": f"d{i}",
            "title": f"Title {i}",
            "text": f"passage {i} about {'cats' if i % 3 else 'dogs and cats'} "
            + "zebra " * (i % 5),
            "year": 1990 + i,
        }
        for i in range(30)
    ]
    rows[11] = {"_id": "d11", "text": "!!!", "year": 0}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def built(corpus, out, **options):
    options = {"source": str(corpus), "fields": {"year": "integer"}, **options}
    return index_corpus(read_passages(corpus), out, **options)


def pieces_of(corpus, folder, of, **options):
    options = {"source": str(corpus), "fields": {"year": "integer"}, **options}
    for number in range(1, of + 1):
        share = Share(number, of)
        index_piece(read_passages(corpus, share=share), folder / str(number), share, **options)
    return folder


def state(path, encoder):
    """What a collection is to its users: ids, statistics, and what exact searches find."""
    searcher = Searcher.open(path, encoder=encoder)
    index = searcher.collection.index
    made = index.manifest
    dictionary = searcher.collection.dictionary
    return {
        "settings": made.settings,
        "statistics": [made.documents, made.vocab_size, made.with_words, index.awaiting],
        "words": dictionary.fingerprint if dictionary is not None else None,
        "frequencies": [part.tolist() for part in index.frequencies()],
        "ids": [searcher.collection.doc_id(doc) for doc in range(len(index))],
        "found": [
            [(hit.doc_id, hit.score) for hit in result.hits]
            for result in searcher.search(QUERIES, 30, exact=True)
        ],
        "filtered": [
            [hit.doc_id for hit in result.hits]
            for result in searcher.search(
                QUERIES, 30, exact=True, filter={"field": "year", "range": {"gte": 2000}}
            )
        ],
    }


@pytest.mark.parametrize("of", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_pieces_are_the_collection_of_one_process(corpus, tmp_path, kind, of):
    options = KINDS[kind]
    built(corpus, tmp_path / "whole", **options)
    pieces = pieces_of(corpus, tmp_path / "pieces", of, **options)
    assemble([pieces], tmp_path / "assembled", encoder=options["encoder"])
    encoder = options["encoder"]
    assert state(tmp_path / "assembled", encoder) == state(tmp_path / "whole", encoder)
    assert not examine(tmp_path / "assembled").problems


def test_a_piece_may_come_in_any_order_and_by_its_own_folder(corpus, tmp_path):
    built(corpus, tmp_path / "whole", encoder=None)
    pieces = pieces_of(corpus, tmp_path / "pieces", 3, encoder=None)
    assemble([pieces / "3", pieces / "1", pieces / "2"], tmp_path / "assembled")
    assert state(tmp_path / "assembled", None) == state(tmp_path / "whole", None)


def test_segments_are_written_by_processes_side_by_side(corpus, tmp_path, monkeypatch):
    monkeypatch.undo()  # other processes read chunks of the usual size
    built(corpus, tmp_path / "whole", encoder=None)
    pieces = pieces_of(corpus, tmp_path / "pieces", 3, encoder=None)
    assemble([pieces], tmp_path / "assembled", workers=2)
    assert state(tmp_path / "assembled", None) == state(tmp_path / "whole", None)


def test_processes_find_an_encoder_that_was_moved(corpus, tmp_path, monkeypatch):
    monkeypatch.undo()
    write_bert(tmp_path / "before")
    made = load_encoder(str(tmp_path / "before"), device="cpu")
    pieces = pieces_of(corpus, tmp_path / "pieces", 2, encoder=made)
    (tmp_path / "before").rename(tmp_path / "after")
    moved = LazyEncoder.of(str(tmp_path / "after"))
    with assemble([pieces], tmp_path / "assembled", encoder=moved, workers=2) as collection:
        assert len(collection) == 30


def test_an_assembled_collection_is_written_to_and_optimized_as_another(corpus, tmp_path):
    pieces = pieces_of(corpus, tmp_path / "pieces", 3, encoder=LetterEncoder())
    built(corpus, tmp_path / "whole", encoder=LetterEncoder())
    assemble([pieces], tmp_path / "assembled", encoder=LetterEncoder())
    for name in ("whole", "assembled"):
        with Editor.open(tmp_path / name, LetterEncoder()) as editor:
            editor.put([Passage("new", "an owl", fields={"year": 2026})], wait="searchable")
            editor.delete(["d3", "d25"], wait="searchable")
            editor.optimize()
    found = [state(tmp_path / name, LetterEncoder()) for name in ("whole", "assembled")]
    assert found[0] == found[1]


def assemble_killed(monkeypatch, pieces, path, at):
    """Assemble until a step; the storage."""
    storage = Killing(path, at)
    with monkeypatch.context() as patch:
        patch.setattr(assembly, "Storage", lambda path: storage)
        if at:
            with pytest.raises(Killed):
                assemble([pieces], path, encoder=LetterEncoder())
        else:
            assemble([pieces], path, encoder=LetterEncoder())
    return storage


def check_kill(monkeypatch, pieces, path, at, whole):
    """After a kill there is no index, or the whole; the assembly goes on to its end."""
    assemble_killed(monkeypatch, pieces, path, at)
    try:
        Collection.open(path).close()
    except FormatError:
        is_there = False
    else:
        is_there = True
        assert state(path, LetterEncoder()) == whole
    if (path / "build" / "plan.json").exists():
        with pytest.raises(InputError, match="found an unfinished build; go on with --resume"):
            assemble([pieces], path, encoder=LetterEncoder())
    if not is_there or (path / "build" / "plan.json").exists():
        assemble([pieces], path, encoder=LetterEncoder(), resume=True)
    assert state(path, LetterEncoder()) == whole
    with Editor.open(path, LetterEncoder()) as editor:
        editor.put([Passage("new", "an owl")], wait="searchable")
    assert not (path / "build").exists()
    return is_there


def test_a_kill_at_any_step_is_gone_on_from(corpus, tmp_path, monkeypatch):
    pieces = pieces_of(corpus, tmp_path / "pieces", 3, encoder=LetterEncoder())
    steps = assemble_killed(monkeypatch, pieces, tmp_path / "whole", 0).steps
    whole = state(tmp_path / "whole", LetterEncoder())
    chosen = sorted(seeded("pieces").sample(range(1, steps + 1), 12))
    found = [
        check_kill(monkeypatch, pieces, tmp_path / str(at), at, whole) for at in [*chosen, steps]
    ]
    assert found == sorted(found)
    assert not found[0]
    assert found[-1]


@pytest.mark.slow
def test_a_kill_at_every_step_is_gone_on_from(corpus, tmp_path, monkeypatch):
    pieces = pieces_of(corpus, tmp_path / "pieces", 3, encoder=LetterEncoder())
    steps = assemble_killed(monkeypatch, pieces, tmp_path / "whole", 0).steps
    whole = state(tmp_path / "whole", LetterEncoder())
    for at in range(1, steps + 1):
        check_kill(monkeypatch, pieces, tmp_path / str(at), at, whole)


class Stopping(LetterEncoder):
    """Is interrupted when it has encoded so many documents."""

    def __init__(self, after):
        super().__init__()
        self._after = after

    def encode_documents(self, texts, *, progress=None):
        if len(self.encoded) >= self._after:
            raise KeyboardInterrupt
        return super().encode_documents(texts, progress=progress)


def test_a_stopped_piece_is_refused_and_goes_on(corpus, tmp_path):
    pieces, share = tmp_path / "pieces", Share(2, 2)
    pieces_of(corpus, tmp_path / "all", 2, encoder=LetterEncoder())
    options = {"source": str(corpus), "fields": {"year": "integer"}}
    with pytest.raises(KeyboardInterrupt):
        index_piece(
            read_passages(corpus, share=share), pieces, share, encoder=Stopping(5), **options
        )
    with pytest.raises(InputError, match="found one whose work was stopped; end it with"):
        assemble([tmp_path / "all" / "1", pieces], tmp_path / "index", encoder=LetterEncoder())
    again = LetterEncoder()
    count = index_piece([], pieces, share, encoder=again, resume=True, **options)
    assert count == 15
    assert len(again.encoded) == 7  # 15, less the two chunks of 4 that were kept
    assemble([tmp_path / "all" / "1", pieces], tmp_path / "index", encoder=LetterEncoder())


def test_pieces_that_do_not_belong_together_are_refused(corpus, tmp_path):
    pieces = pieces_of(corpus, tmp_path / "pieces", 3, encoder=None)

    def refused(folders, match, error=InputError):
        with pytest.raises(error, match=match):
            assemble(folders, tmp_path / "index")

    refused([pieces / "1", pieces / "3"], "pieces 1 to 3, found piece 2 missing")
    refused([pieces, pieces / "2"], "pieces 1 to 3, found piece 2 twice")
    refused([tmp_path / "nothing"], "expected a piece of a corpus, found none")
    refused([], "expected folders of pieces, found none")
    built(corpus, tmp_path / "whole", encoder=None)
    refused([tmp_path / "whole"], "expected a piece of a corpus, found none")
    pieces_of(corpus, tmp_path / "others", 3, encoder=None, fields={})
    others = [pieces / "1", pieces / "2", tmp_path / "others" / "3"]
    refused(others, "found fields year none where it was integer; make", MismatchError)
    for number, year in ((1, 1990), (2, 1990.5)):
        passages = [Passage(f"d{number}", "text", fields={"year": year})]
        place, share = tmp_path / "kinds" / str(number), Share(number, 2)
        index_piece(passages, place, share, encoder=None, fields={"year": None})
    refused([tmp_path / "kinds"], "type of field year float where it was integer", MismatchError)
    pieces_of(corpus, tmp_path / "halves", 2, encoder=None)
    refused([pieces / "1", tmp_path / "halves" / "2"], "a share of 2 where it was 3", MismatchError)
    with FolderLock(Storage(pieces / "2")):
        refused([pieces], "expected to be the only writer", LockedError)
    assert not (tmp_path / "index").exists()


def test_an_id_in_two_pieces_is_refused_with_both_places(corpus, tmp_path):
    rows = corpus.read_text().splitlines()
    corpus.write_text("\n".join([*rows, rows[0]]) + "\n")
    pieces = pieces_of(corpus, tmp_path / "pieces", 2, encoder=None)
    with pytest.raises(InputError, match=r"each id once, found 'd0' in .*1 and in .*2"):
        assemble([pieces], tmp_path / "index")


def test_a_share_without_documents_is_refused(corpus, tmp_path):
    share = Share(1, 100)
    with pytest.raises(InputError, match="expected documents, found none"):
        index_piece(read_passages(corpus, share=share), tmp_path / "1", share, encoder=None)
    assert not (tmp_path / "1").exists()
