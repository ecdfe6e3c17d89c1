import json
import math
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
from letter_encoder import LetterEncoder

from tamis.index import Collection, FormatError, InputError, MismatchError
from tamis.index.files.storage import Storage
from tamis.index.generations.manifest import publish
from tamis.index.upkeep.verification import examine
from tamis.retriever import Editor, LexicalConfig, Passage, Searcher, indexing
from tamis.retriever.indexing import index_corpus
from tamis.retriever.words import analysis


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(indexing, "CHUNK_DOCUMENTS", 7)


def corpus(size=30):
    return [
        Passage(f"d{i}", f"passage {i} about {'cats' if i % 3 else 'dogs and cats'}", f"Title {i}")
        for i in range(size)
    ]


def build(path, passages=None, **options):
    options = {"encoder": LetterEncoder(), "source": "test", **options}
    return index_corpus(corpus() if passages is None else passages, path, **options)


def contents(collection):
    return {name: entry.xxh3 for name, entry in collection.index.manifest.files.items()}


def test_documents_ids_and_settings_come_back(tmp_path):
    collection = build(tmp_path / "index")
    assert len(collection) == 30
    assert collection.doc_id(4) == "d4"
    assert collection.doc("d29") == 29
    assert collection.document(4) == {
        "_id": "d4",
        "title": "Title 4",
        "text": "passage 4 about cats",
    }
    assert collection.settings.encoder.fingerprint == "fingerprint of letters"
    words_in_all = 30 * 6 + 10  # title, N, passag, N, about, cat; and dog
    assert collection.settings.lexical.average_length == words_in_all / 30
    assert not (tmp_path / "index" / "build").exists()


def test_both_channels_lie_side_by_side(tmp_path):
    collection = build(tmp_path / "index")
    words = collection.dictionary
    assert words is not None
    assert words.first_term == 26
    assert collection.index.vocab_size == 26 + len(words)
    dog = words.lookup("dog")
    assert words.document_frequency([dog]).tolist() == [10]
    assert collection.index.document_frequency(np.array([dog])).tolist() == [10]
    assert collection.weights_of(0, np.array([dog]))[0] > 0
    assert collection.weights_of(1, np.array([dog]))[0] == 0


def test_a_dictionary_that_is_not_the_vectors_own_is_refused(tmp_path):
    """Two collections of equal words in another order; the dictionary's files change places."""
    first = build(tmp_path / "first", [Passage("a", "cats dogs")], encoder=None)
    second = build(tmp_path / "second", [Passage("a", "dogs cats")], encoder=None)
    storage = Storage(first.path)
    manifest = first.index.manifest
    swapped = {
        name: second.index.manifest.files[name] if name.startswith("dictionary/") else entry
        for name, entry in manifest.files.items()
    }
    shutil.copytree(second.path / "dictionary", first.path / "dictionary", dirs_exist_ok=True)
    publish(storage, replace(manifest, generation=2, files=swapped))
    with pytest.raises(MismatchError, match="open the vectors with the collection they were"):
        Collection.open(first.path)
    (problem,) = examine(first.path).problems  # though every file is as it was written
    assert (problem.file, problem.code) == ("manifest-000002.json", "mismatch")


def test_documents_without_words_count_in_neither_n_nor_the_average_length(tmp_path):
    """As in Lucene, whose docCount is of the documents that have a term of the field."""
    texts = ["owl owl cat", "", "the of and", "!!!", "cat"]
    passages = [Passage(str(number), text) for number, text in enumerate(texts)]
    collection = build(tmp_path / "index", passages, encoder=None, precision="f32")
    assert collection.with_words == 2
    assert collection.settings.lexical.average_length == (3 + 1) / 2
    (hit,) = Searcher.open(tmp_path / "index").search(["owl"])[0].hits
    idf = math.log(1 + (2 - 1 + 0.5) / (1 + 0.5))
    assert hit.score == pytest.approx(idf * 2 * 1.9 / (2 + 0.9 * (0.6 + 0.4 * 3 / 2)), rel=1e-6)


def test_words_that_were_cut_are_counted(tmp_path):
    collection = build(tmp_path / "index", [Passage("a", "x" * 10_001)], encoder=None)
    assert collection.settings.lexical.words_cut == 1


@pytest.mark.parametrize("stop_after", [3, 7, 8, 14, 29])
def test_a_stop_while_encoding_is_resumed_without_encoding_again(tmp_path, stop_after):
    whole = build(tmp_path / "whole")

    class Stops(LetterEncoder):
        def encode_documents(self, texts, *, progress=None):
            if len(self.encoded) + len(texts) > stop_after:
                raise KeyboardInterrupt
            return super().encode_documents(texts, progress=progress)

    first = Stops()
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "index", encoder=first)
    assert Collection.open(tmp_path / "index").index.awaiting == 30
    second = LetterEncoder()
    resumed = build(tmp_path / "index", encoder=second, resume=True, passages=[])
    assert len(first.encoded) + len(second.encoded) == 30
    assert contents(resumed) == contents(whole)


def test_a_stop_while_reading_begins_the_reading_again(tmp_path):
    def stops():
        yield from corpus(12)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "index", stops())
    resumed = build(tmp_path / "index", resume=True)
    assert contents(resumed) == contents(build(tmp_path / "whole"))


def test_an_unfinished_build_is_neither_overwritten_nor_mixed(tmp_path, monkeypatch):
    class Fails(LetterEncoder):
        def encode_documents(self, texts, *, progress=None):
            raise RuntimeError("no memory")

    with pytest.raises(RuntimeError):
        build(tmp_path / "index", encoder=Fails())
    with pytest.raises(InputError, match="found an unfinished build; go on with --resume"):
        build(tmp_path / "index")
    others = {
        "encoder fingerprint fingerprint of others where it was fingerprint of letters; "
        "encoder name others where it was letters": {"encoder": LetterEncoder("others")},
        "encoder none where it was letters": {"encoder": None},
        "lexical k1 1.2 where it was 0.9": {"lexical": LexicalConfig(k1=1.2)},
        "corpus another where it was test": {"source": "another"},
    }
    for said, options in others.items():
        with pytest.raises(MismatchError, match=f"found {said}; give those of its beginning, or"):
            build(tmp_path / "index", resume=True, **options)
    versions = {**analysis.analysis_versions(), "unicode": "99.0"}
    with monkeypatch.context() as patch:
        patch.setattr(indexing, "analysis_versions", lambda: versions)
        with pytest.raises(MismatchError, match=r"found lexical unicode 99\.0 where it was"):
            build(tmp_path / "index", resume=True)
    assert len(build(tmp_path / "index", resume=True)) == 30


def test_a_folder_with_something_else_in_it_is_refused_and_kept(tmp_path):
    for name in ("build/mine.o", "segments/mine", "query/mine.sql"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("mine")
    for passages in (corpus(), [Passage("1", "one"), Passage("1", "again")]):
        with pytest.raises(InputError, match="one that holds 'build' and 2 more; name another"):
            build(tmp_path, passages)
    assert sorted(path.name for path in tmp_path.rglob("mine*")) == ["mine", "mine.o", "mine.sql"]
    (tmp_path / "empty").mkdir()
    assert len(build(tmp_path / "empty")) == 30


@pytest.mark.parametrize(
    ("passages", "words"),
    [
        ([], "test: expected documents, found none"),
        ([*corpus(9), Passage("d3", "again")], "found 'd3' for records 4 and 10"),
    ],
)
def test_a_faulty_corpus_leaves_nothing_behind(tmp_path, passages, words):
    with pytest.raises(InputError, match=words):
        build(tmp_path / "index", passages)
    assert not (tmp_path / "index").exists()
    assert len(build(tmp_path / "index")) == 30


def test_a_faulty_corpus_leaves_a_folder_s_other_files_alone(tmp_path):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "notes.txt").write_text("mine")
    with pytest.raises(InputError):
        build(tmp_path / "index", [])
    assert [path.name for path in (tmp_path / "index").iterdir()] == ["notes.txt"]


def test_one_channel_alone_is_enough_and_none_is_refused(tmp_path):
    assert build(tmp_path / "words", encoder=None).index.vocab_size > 0
    assert build(tmp_path / "learned", lexical=None).dictionary is None
    with pytest.raises(InputError, match="found neither"):
        build(tmp_path / "none", encoder=None, lexical=None)


def test_progress_names_each_step_and_reaches_the_end(tmp_path):
    told = []
    build(tmp_path / "index", progress=lambda step, done, total: told.append((step, done, total)))
    assert [step for step, _, _ in told] == sorted(
        (step for step, _, _ in told), key=["read", "words", "encode", "build"].index
    )
    assert {step: (done, total) for step, done, total in told} == {
        "read": (30, None),
        "words": (30, 30),
        "encode": (30, 30),
        "build": (30, 30),
    }


def test_a_damaged_document_is_noticed_when_it_is_read(tmp_path):
    build(tmp_path / "index")
    path = tmp_path / "index/segments/000001/documents.bytes"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(FormatError, match="expected checksum"):
        Collection.open(tmp_path / "index")
    collection = Collection.open(tmp_path / "index", verify="lazy")
    with pytest.raises(FormatError, match="is not what was written"):
        [collection.document(doc) for doc in range(len(collection))]


MEASURED = """
    import resource, sys
    from tamis.retriever import Passage, index_corpus, indexing

    def corpus(size):
        for i in range(size):
            yield Passage(f"d{i}", f"{'extraordinary ' * 400}{i}")

    indexing.CHUNK_DOCUMENTS = 256
    index_corpus(corpus(8_000), sys.argv[1] + "/small", encoder=None)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    index_corpus(corpus(38_000), sys.argv[1] + "/large", encoder=None)
    print(used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.long
def test_memory_does_not_grow_with_the_text_of_the_corpus(tmp_path):
    """30,000 more texts of 5,600 characters are 168 MB; the process may grow by a third of that."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURED), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    small_kb, large_kb = map(int, done.stdout.split())
    assert large_kb - small_kb < 56_000, f"{small_kb} -> {large_kb} kB"


def test_the_manifest_is_readable_json(tmp_path):
    build(tmp_path / "index")
    manifest = json.loads((tmp_path / "index/manifest-000002.json").read_text())
    assert manifest["documents"] == 30
    assert manifest["settings"]["encoder"]["licence"] == "none"


def weights(collection):
    """Documents by id, as dense rows over the learned terms."""
    index, rows = collection.index, {}
    for part in index.parts:
        dense = part.rows(part.live_docs, index.manifest.vocab_size).to_scipy().toarray()
        names = [collection.doc_id(part.first + doc) for doc in part.live_docs.tolist()]
        rows |= dict(zip(names, dense, strict=True))
    return {name: row[: LetterEncoder().description.vocab_size] for name, row in rows.items()}


@pytest.mark.parametrize(("precision", "steps"), [("u8", 508), ("u16", 129_000), ("f16", 8_192)])
def test_rounded_weights_take_fewer_bytes_and_err_no_more_than_is_said(tmp_path, precision, steps):
    exact = build(tmp_path / "f32", precision="f32")
    rounded = build(tmp_path / "rounded", precision=precision)
    true, found = weights(exact), weights(rounded)
    largest = np.max(list(true.values()), axis=0)
    assert true.keys() == found.keys()
    assert all((abs(true[name] - found[name]) <= 1.01 * largest / steps).all() for name in true)
    names = [name for name in contents(exact) if name.endswith("entries")]
    sizes = [
        sum(one.index.manifest.files[name].size_bytes for name in names) for one in (rounded, exact)
    ]
    assert sizes[0] < 0.9 * sizes[1]


def test_a_collection_keeps_its_precision_over_commits_and_merges(tmp_path):
    build(tmp_path / "index", precision="u8")
    with Editor.open(tmp_path / "index", LetterEncoder()) as editor:
        editor.put([Passage("new", "cats of a new kind")], wait="searchable")
        editor.optimize()
    found = weights(Collection.open(tmp_path / "index"))
    documents = [*corpus(), Passage("new", "cats of a new kind")]
    true = weights(build(tmp_path / "true", documents, precision="f32"))
    assert Collection.open(tmp_path / "index").index.manifest.precision == "u8"
    largest = np.max(list(true.values()), axis=0)  # rounded when written, and by each rewriting
    assert all((abs(true[name] - found[name]) <= 3.1 * largest / 508).all() for name in true)


def test_an_unknown_precision_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match="expected precision u8, u16, f16, f32, found 'u4'"):
        build(tmp_path / "index", precision="u4")
    assert not (tmp_path / "index").exists()
