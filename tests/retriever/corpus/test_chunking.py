"""Passages of long documents: cut at sentences, found as one document, kept through change."""

import random

import pytest
from letter_encoder import LetterEncoder

from tamis.index import Collection, InputError, MismatchError
from tamis.index.generations.settings import ChunkSettings
from tamis.retriever import Editor, Passage, Searcher, create_index, index_corpus
from tamis.retriever.corpus.advice import CorpusWarning
from tamis.retriever.corpus.chunking import (
    Chunking,
    chunks_of,
    counter_of,
    parent_of,
    present_chunks,
    split,
)
from tamis.retriever.corpus.suited_chunking import suited_chunking
from tamis.retriever.types import Heading

WORDS = counter_of(None)
PROSE = (
    'Dr. J. Smith came on 3. May. He left at 5.30 sharp! "Really?" asked Ann.\n\n'
    "A new paragraph begins here. It has two sentences.\n\nThe last one is short."
)


def texts(text, budget, overlap=0, count=WORDS):
    return [text[start:end] for start, end in split(text, budget, overlap, count)]


def test_a_text_within_the_budget_stays_whole():
    assert texts("  One. Two.\n\nThree.\n", 3) == ["One. Two.\n\nThree."]
    assert texts("", 8) == [""]


def test_passages_end_with_sentences_and_rather_with_paragraphs():
    first, rest = PROSE.split("\n\n", 1)
    assert WORDS([first, rest]) == [16, 14]
    assert texts(PROSE, 20) == [first, rest]  # "A new ... here." would fit, its paragraph would not
    assert texts(PROSE, 15)[0].endswith("at 5.30 sharp!")


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("See J. R. Smith. He won.", ["See J. R. Smith.", "He won."]),
        ("It cost 3.50 e.g. there. Then?", ["It cost 3.50 e.g. there.", "Then?"]),
        ("Er kam am 3. Mai. Dann ging er.", ["Er kam am 3. Mai.", "Dann ging er."]),
        (
            "東京です。次の文。「はい。」と言う。",
            ["東京です。", "次の文。", "「はい。」", "と言う。"],
        ),
        ("ما هذا؟ هذا كتاب.", ["ما هذا؟", "هذا كتاب."]),
        ("line one\nline two", ["line one", "line two"]),
    ],
)
def test_sentences_end_where_people_end_them(text, sentences):
    assert texts(text, 1, count=lambda parts: [1] * len(parts)) == sentences


def test_passages_overlap_by_whole_sentences():
    found = texts("Aa bb. Cc dd. Ee ff. Gg hh. Ii jj.", 6, 2)
    assert found == ["Aa bb. Cc dd. Ee ff.", "Ee ff. Gg hh. Ii jj."]
    assert texts("Aa bb. Cc dd. Ee ff. Gg hh.", 4, 1) == ["Aa bb. Cc dd.", "Ee ff. Gg hh."]


def test_a_sentence_above_the_budget_is_cut_between_words_and_a_word_in_itself():
    assert texts("one two three four five", 2) == ["one two", "three four", "five"]
    found = texts("x" * 1000, 300, count=lambda parts: [len(part) for part in parts])
    assert "".join(found) == "x" * 1000
    assert max(map(len, found)) <= 300


@pytest.mark.parametrize("seed", range(20))
def test_every_word_of_any_text_is_in_a_passage_within_the_budget(seed):
    draw = random.Random(seed)
    marks = [" ", " ", " ", ". ", "! ", "\n", "\n\n", "。", ", "]
    words = ["Aa", "b", "東京", "dddd", "3", "E", "\U0001f642"]
    text = "".join(draw.choice(words) + draw.choice(marks) for _ in range(draw.randrange(300)))
    budget, overlap = draw.randrange(4, 40), draw.randrange(0, 4)
    spans = split(text, budget, overlap, WORDS)
    covered = set()
    for start, end in spans:
        assert WORDS([text[start:end]])[0] <= budget
        covered |= set(range(start, end))
    assert all(at in covered for at, letter in enumerate(text) if not letter.isspace())
    assert [start for start, _ in spans] == sorted({start for start, _ in spans})


def test_passages_keep_title_and_fields_and_name_their_document():
    document = Passage("a#b", "Aa bb cc dd ee. Ff gg hh ii jj.", "Tt uu", {"year": 1999}, 3, "f")
    first, second = chunks_of(document, Chunking(8), WORDS)
    assert (first.doc_id, second.doc_id) == ("a#b#1", "a#b#2")
    assert first.record() == {
        "_id": "a#b#1",
        "title": "Tt uu",
        "text": "Aa bb cc dd ee.",
        "year": 1999,
        "parent": "a#b",
        "chunk": 1,
    }
    assert parent_of(second.doc_id) == "a#b"
    with pytest.raises(InputError, match=r"f:3: expected no field named parent, which passages"):
        chunks_of(Passage("x", "y", fields={"parent": 1}, line=3, file="f"), Chunking(8), WORDS)


@pytest.mark.parametrize("text", ["", "x", "7", "100:51", "100:-1", "1:2:3", "8.5"])
def test_faulty_lengths_are_refused(text):
    with pytest.raises(InputError, match="expected"):
        Chunking.parse(text)


def test_lengths_are_read_and_compared_with_the_encoder():
    assert Chunking.parse("200:40") == Chunking(200, 40)
    assert Chunking.parse("200") == Chunking(200, 0)
    Chunking(510).check(LetterEncoder())  # 512 with the two around the text
    with pytest.raises(InputError, match=r"at most 510 tokens, .* found 511"):
        Chunking(511).check(LetterEncoder())


LONG = "The cat sat on the mat in the hall. " * 3 + "An owl hunts at night in the wood. " * 2


def documents():
    return [
        Passage("long", LONG, "Animals"),
        Passage("cat", "A cat and a cat and another cat."),
        Passage("owl", "One owl."),
    ]


def build(path, **options):
    return index_corpus(documents(), path, encoder=None, chunking=Chunking(20, 8), **options)


def search(path, text, k=10, **options):
    (result,) = Searcher.open(path).search([text], k, **options)
    return result.hits


def test_a_document_appears_once_with_its_best_passages(tmp_path):
    build(tmp_path / "i")
    flat = search(tmp_path / "i", "cat owl")
    grouped = search(tmp_path / "i", "cat owl", group_by="parent", group_size=2)
    assert len(flat) > len(grouped) == 3
    assert [hit.group for hit in grouped] == list(
        dict.fromkeys(hit.document["parent"] for hit in flat)
    )
    for hit in grouped:
        own = [one for one in flat if one.document["parent"] == hit.group]
        assert hit.score == max(one.score for one in own)
        assert [p.doc_id for p in hit.passages] == [one.doc_id for one in own[:2]]
    assert [hit.rank for hit in grouped] == [1, 2, 3]
    assert len(search(tmp_path / "i", "cat owl", 2, group_by="parent")) == 2


def test_grouping_looks_as_deep_as_it_must(tmp_path):
    """A hundred passages of one document stand before the only one of the other."""
    many = " ".join(f"The owl owl owl sits on tree number {n}." for n in range(100))
    corpus = [Passage("many", many), Passage("one", "One owl among many words of another sort.")]
    index_corpus(corpus, tmp_path / "i", encoder=None, chunking=Chunking(9))
    assert {hit.group for hit in search(tmp_path / "i", "owl", 2, group_by="parent")} == {
        "many",
        "one",
    }


def test_hits_are_grouped_by_any_declared_field(tmp_path):
    years = [1999, 2001, 1999, None, None]
    corpus = [Passage(f"d{n}", "an owl", fields={"year": y}) for n, y in enumerate(years)]
    index_corpus(corpus, tmp_path / "i", encoder=None, fields={"year": None})
    grouped = search(tmp_path / "i", "owl", group_by="year")
    assert [(hit.doc_id, hit.group) for hit in grouped] == [
        ("d0", 1999), ("d1", 2001), ("d3", None), ("d4", None),
    ]  # fmt: skip
    assert [p.doc_id for p in grouped[0].passages] == ["d0", "d2"]
    with pytest.raises(InputError, match=r"declared field \(year\), found 'parent'"):
        search(tmp_path / "i", "owl", group_by="parent")
    with pytest.raises(InputError, match="groups of at least 1"):
        search(tmp_path / "i", "owl", group_by="year", group_size=0)


def test_what_is_reranked_is_grouped_afterwards(tmp_path):
    class Shortest:
        def score(self, query, documents, *, first_stage=None):
            import numpy as np

            return np.array([-len(text) for text in documents], np.float32)

    from dataclasses import replace

    build(tmp_path / "i")
    searcher = replace(Searcher.open(tmp_path / "i"), reranker=Shortest())
    (result,) = searcher.search(["cat owl"], rerank=10, group_by="parent")
    assert [hit.group for hit in result.hits] == ["owl", "cat", "long"]
    assert result.hits[2].score == max(p.score for p in result.hits[2].passages)


def test_all_passages_of_a_document_are_replaced_and_deleted_together(tmp_path):
    build(tmp_path / "i").close()
    with Editor.open(tmp_path / "i") as editor:
        assert len(present_chunks("long", editor.writer.has)) > 2
        editor.put([Passage("long", "Short now: a heron."), Passage("new", LONG)])
        assert present_chunks("long", editor.writer.has) == ["long#1"]
        assert editor.delete(["new", "none"]) > 2
        assert editor.delete(["cat#1"]) == 1
        editor.optimize()
    with Collection.open(tmp_path / "i") as collection:
        assert [collection.doc_id(doc) for doc in range(len(collection))] == ["owl#1", "long#1"]
    assert [hit.group for hit in search(tmp_path / "i", "heron", group_by="parent")] == ["long"]


def test_an_index_made_empty_divides_what_is_put_there(tmp_path):
    create_index(tmp_path / "i", encoder=None, chunking=Chunking(20))
    with Editor.open(tmp_path / "i") as editor:
        editor.put(documents(), wait="searchable")
    assert [hit.group for hit in search(tmp_path / "i", "hunt", group_by="parent")] == ["long"]


def test_the_settings_of_a_stopped_build_hold_its_passages(tmp_path):
    class Stops(LetterEncoder):
        def encode_documents(self, texts, *, progress=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_corpus(documents(), tmp_path / "i", encoder=Stops(), chunking=Chunking(60, 20))
    options = {"encoder": LetterEncoder(), "resume": True}
    with pytest.raises(MismatchError, match="chunk tokens 50 where it was 60"):
        index_corpus([], tmp_path / "i", chunking=Chunking(50, 20), **options)
    made = index_corpus([], tmp_path / "i", chunking=Chunking(60, 20), **options)
    assert made.settings.chunk == ChunkSettings(tokens=60, overlap=20)
    assert all(len(text) - text.count(" ") <= 62 for text in options["encoder"].encoded)


def test_documents_that_the_encoder_cuts_are_counted_and_told(tmp_path):
    corpus = [Passage("a", "x" * 511), Passage("b", "x" * 510), Passage("c", "short")]
    with pytest.warns(CorpusWarning, match="c: 1 of 3 documents are longer than the 512 tokens"):
        made = index_corpus(corpus, tmp_path / "i", encoder=LetterEncoder(), source="c")
    assert made.settings.truncated == 1
    with (
        pytest.warns(
            CorpusWarning, match="i: 1 of 1 .* when an index is made: `tamis index --chunk"
        ),
        Editor.open(tmp_path / "i", LetterEncoder()) as editor,
    ):
        editor.put([Passage("d", "y" * 600)])
    divided = index_corpus(corpus, tmp_path / "j", encoder=LetterEncoder(), chunking=Chunking(100))
    assert divided.settings.truncated == 0


def sections(*parts):
    """A document of headings and texts: ``(level, heading, words)``."""
    text, headings = "", []
    for level, name, words in parts:
        headings.append(Heading(len(text), level, name))
        text += f"{name}\n\n{'Word. ' * words}\n\n"
    return Passage("d", text, "Sieves", headings=tuple(headings))


def test_passages_are_named_after_the_headings_they_stand_under():
    document = sections(
        (2, "Drum", 15), (3, "Mesh", 18), (3, "Wire", 40), (2, "Sale", 3), (2, "End", 3)
    )
    found = chunks_of(document, Chunking(40), WORDS)
    assert [chunk.title for chunk in found] == [
        "Sieves > Drum",
        "Sieves > Drum > Mesh",
        "Sieves > Drum > Wire",
        "Sieves > Drum > Wire",
        "Sieves",  # two short sections together stand under the title alone
    ]
    assert " ".join(chunk.text for chunk in found).split() == document.text.split()
    assert all(WORDS([chunk.content])[0] <= 40 for chunk in found)
    assert all(chunk.headings == () for chunk in found)


def test_a_folder_of_long_texts_is_divided_unasked_and_told(tmp_path):
    encoder = LetterEncoder()
    longest = encoder.description.max_length
    (tmp_path / "a.md").write_text("# Short\n\nab")
    assert suited_chunking(tmp_path, encoder) is None
    (tmp_path / "b.md").write_text("---\ntags: x\n---\n# Long\n\n" + "ab " * longest)
    assert suited_chunking(tmp_path, None) is None  # words have no bound
    with pytest.warns(CorpusWarning, match="1 of 2 texts looked at are longer.*--chunk none"):
        found = suited_chunking(tmp_path, encoder)
    assert found is not None
    found.check(encoder)
    (tmp_path / "b.md").write_text("---\nparent: x\n---\n# Long\n\n" + "ab " * longest)
    with pytest.warns(CorpusWarning, match="stay whole, for they have a field 'parent'"):
        assert suited_chunking(tmp_path, encoder) is None
    records = tmp_path / "c.jsonl"
    records.write_text('{"id": "1", "text": "' + "ab " * longest + '"}\n')
    assert suited_chunking(records, encoder) is None
