"""Pages and groups against brute force: random collections with ties that change between pages."""

import random
from collections import Counter

import numpy as np
import pytest

from tamis.index import InputError
from tamis.index import index as vector_index
from tamis.index.segment.loops.arrays import Knobs
from tamis.retriever import (
    Editor,
    Passage,
    Searcher,
    SearchOptions,
    Seen,
    create_index,
    index_corpus,
)
from tamis.retriever.corpus.chunking import Chunking

WORDS = ("ash", "elm", "fig", "oak", "yew")
QUERY = {"=ash": 1.0, "=elm": 2.0, "=fig": 0.5}


class Garden:
    """A collection of vectors beside the plain dictionary that it should be."""

    def __init__(self, path, seed):
        create_index(path, encoder=None, fields={"plot": "string", "age": "integer"})
        self.draw = random.Random(seed)
        self.editor, self.documents, self.made = Editor.open(path, merge=False), {}, 0
        self.changed = set()
        self.searcher = Searcher.open(path)

    def put(self, doc_id):
        fields = {"plot": self.draw.choice("ABCD") if self.draw.random() < 0.8 else None}
        fields["age"] = self.draw.randrange(3)
        weights = {f"={word}": self.draw.choice([1.0, 2.0]) for word in self.draw.sample(WORDS, 2)}
        self.editor.put_weighted([Passage(doc_id, "", fields=fields)], [weights])
        self.documents.pop(doc_id, None)  # it goes to the end, as among equal scores
        self.documents[doc_id] = (weights, fields)
        self.changed.add(doc_id)

    def plant(self, count):
        for _ in range(count):
            self.put(f"d{self.made}")
            self.made += 1

    def rewrite(self):
        self.put(self.draw.choice(list(self.documents)))

    def delete(self):
        doc_id = self.draw.choice(list(self.documents))
        self.editor.delete([doc_id])
        del self.documents[doc_id]
        self.changed.add(doc_id)

    def optimize(self):
        self.editor.writer.optimize()

    def disturb(self):
        for _ in range(self.draw.randrange(4)):
            change = self.draw.choice([self.rewrite, self.delete, self.plant, self.optimize])
            change(2) if change == self.plant else change()
        self.refresh()

    def refresh(self):
        self.editor.commit()
        self.searcher = self.searcher.refresh()

    def ranked(self, query, admitted=lambda fields: True):
        """All matching documents and their scores, best first; equal ones in order of arrival."""
        scores = {
            doc_id: sum(query.get(term, 0.0) * weight for term, weight in weights.items())
            for doc_id, (weights, fields) in self.documents.items()
            if admitted(fields)
        }
        matching = [doc_id for doc_id, score in scores.items() if score > 0]
        return sorted(matching, key=lambda doc_id: -scores[doc_id])


@pytest.fixture
def garden(tmp_path, request):
    made = Garden(tmp_path / "garden", request.param)
    made.plant(60)
    made.refresh()
    yield made
    made.editor.close()


gardens = pytest.mark.parametrize("garden", range(8), indirect=True)


def ids(result):
    return [hit.doc_id for hit in result.hits]


@gardens
def test_what_stays_as_it_is_appears_once_whatever_changes_between_pages(garden):
    garden.changed.clear()
    stood = set(garden.ranked(QUERY))
    shown, seen = [], None
    while True:
        (page,) = garden.searcher.search([QUERY], 7, seen=seen)
        assert [hit.rank for hit in page.hits] == list(
            range(len(shown) + 1, len(shown) + len(page.hits) + 1)
        )
        shown, seen = shown + ids(page), page.seen
        if len(page.hits) < 7:
            break
        garden.disturb()
    assert max(Counter(shown).values()) == 1
    assert stood - garden.changed <= set(shown)
    assert set(garden.ranked(QUERY)) <= set(shown)


@gardens
def test_texts_whose_weights_follow_the_collection_appear_once_too(garden):
    """Documents that come and go change the rarity of words, and so every score."""
    for number in range(40):
        text = " ".join(garden.draw.choices(WORDS, k=garden.draw.randint(1, 6)))
        garden.editor.put([Passage(f"text{number}", text)])
    garden.refresh()
    query, shown, seen = "an ash, an elm and a fig", [], None
    everything = set(ids(garden.searcher.search([query], 100)[0]))
    garden.changed.clear()
    while True:
        (page,) = garden.searcher.search([query], 9, seen=seen)
        shown, seen = shown + ids(page), page.seen
        if len(page.hits) < 9:
            break
        garden.disturb()
    assert max(Counter(shown).values()) == 1
    assert everything - garden.changed <= set(shown)


@gardens
def test_pages_of_an_index_that_stays_are_slices_of_the_exhaustive_ranking(garden):
    expected, shown, seen = garden.ranked(QUERY), [], None
    for offset in range(0, 80, 7):
        (by_offset,) = garden.searcher.search([QUERY], 7, offset=offset)
        (by_seen,) = garden.searcher.search([QUERY], 7, seen=seen)
        assert ids(by_offset) == ids(by_seen) == expected[offset : offset + 7]
        assert [h.rank for h in by_offset.hits] == [h.rank for h in by_seen.hits]
        assert set(by_offset.seen.hashes) == set(by_seen.seen.hashes)
        shown, seen = shown + ids(by_seen), by_seen.seen
    assert shown == expected


@gardens
def test_pages_go_on_after_the_last_hit_and_end_with_what_came_before_it(garden):
    expected = garden.ranked(QUERY)
    (first,) = garden.searcher.search([QUERY], 7)
    garden.editor.put_weighted([Passage("best", "")], [{"=ash": 9.0, "=elm": 9.0}])
    garden.refresh()
    shown, page = [], first
    while len(page.hits) == 7:
        (page,) = garden.searcher.search([QUERY], 7, seen=page.seen)
        shown += ids(page)
    assert [one for one in shown if one != "best"] == expected[7:]
    assert "best" in shown[-7:]


@pytest.mark.parametrize("garden", [0, 1, 2, 3], indirect=True)
def test_a_search_that_misses_documents_shows_them_on_a_later_page(garden, monkeypatch):
    """Knobs so coarse that the first page is not the exhaustive one."""
    monkeypatch.setattr(vector_index, "_knobs", lambda *_: Knobs(0.9, 1.0))
    query = {"=ash": 1.0, "=elm": 1.9}
    expected = garden.ranked(query)
    (first,) = garden.searcher.search([query], 20)
    assert ids(first) != expected[:20]
    rest = [one for one in expected if one not in ids(first)]
    seen = first.seen
    for offset in range(20, 80, 20):
        (by_offset,) = garden.searcher.search([query], 20, offset=offset)
        (by_seen,) = garden.searcher.search([query], 20, seen=seen)
        assert ids(by_offset) == ids(by_seen) == rest[offset - 20 : offset]
        seen = by_seen.seen


def grouped(garden, query, by, size, admitted=lambda fields: True):
    groups = {}
    for doc_id in garden.ranked(query, admitted):
        value = garden.documents[doc_id][1][by]
        groups.setdefault(value if value is not None else doc_id, []).append(doc_id)
    return [members[: 1 if members[0] == key else size] for key, members in groups.items()]


@gardens
def test_groups_are_those_of_the_exhaustive_ranking_at_any_k(garden):
    for by, size in (("plot", 1), ("plot", 3), ("plot", 40), ("age", 2)):
        expected = grouped(garden, QUERY, by, size)
        for k in (1, 2, 3, 5, 50):
            (found,) = garden.searcher.search([QUERY], k, group_by=by, group_size=size, exact=True)
            assert [[one.doc_id for one in hit.passages] for hit in found.hits] == expected[:k]
    old = {"field": "age", "range": {"gte": 1}}
    (found,) = garden.searcher.search([QUERY], 50, group_by="plot", filter=old)
    assert [[one.doc_id for one in hit.passages] for hit in found.hits] == grouped(
        garden, QUERY, "plot", 3, lambda fields: fields["age"] >= 1
    )


@gardens
def test_pages_of_groups_are_slices_of_all_groups(garden):
    expected, seen = grouped(garden, QUERY, "plot", 2), None
    options = {"group_by": "plot", "group_size": 2}
    for offset in range(0, len(expected) + 2, 2):
        (by_offset,) = garden.searcher.search([QUERY], 2, offset=offset, **options)
        (by_seen,) = garden.searcher.search([QUERY], 2, seen=seen, **options)
        for found in (by_offset, by_seen):
            members = [[one.doc_id for one in hit.passages] for hit in found.hits]
            assert members == expected[offset : offset + 2]
        seen = by_seen.seen


@gardens
def test_no_document_of_a_group_appears_twice_whatever_changes_between_pages(garden):
    shown, groups, seen = [], [], None
    garden.changed.clear()
    while True:
        (page,) = garden.searcher.search([QUERY], 2, group_by="plot", group_size=2, seen=seen)
        shown += [one.doc_id for hit in page.hits for one in hit.passages]
        groups += [hit.group for hit in page.hits]
        seen = page.seen
        if len(page.hits) < 2:
            break
        garden.disturb()
    assert max(Counter(shown).values()) == 1
    lone = [doc_id for doc_id in garden.ranked(QUERY) if not garden.documents[doc_id][1]["plot"]]
    assert set(lone) - garden.changed <= set(shown)
    assert {"A", "B", "C", "D"} <= set(groups)


def test_a_group_of_many_hides_no_other(tmp_path):
    """More passages of one document than a search is deep stand before the others."""
    many = " ".join(f"The owl owl owl sits on tree number {n}." for n in range(300))
    others = [Passage(f"one{n}", "One owl among many words of a sort.") for n in range(3)]
    corpus = [Passage("many", many), *others]
    index_corpus(corpus, tmp_path / "i", encoder=None, chunking=Chunking(9))
    searcher = Searcher.open(tmp_path / "i")
    (found,) = searcher.search(["owl"], 4, group_by="parent", group_size=5)
    assert [hit.group for hit in found.hits] == ["many", "one0", "one1", "one2"]
    assert [len(hit.passages) for hit in found.hits] == [5, 1, 1, 1]


def test_documents_that_are_no_passages_are_groups_of_their_own(tmp_path):
    create_index(tmp_path / "i", encoder=None, chunking=Chunking(9))
    with Editor.open(tmp_path / "i") as editor:
        editor.put([Passage("long", "An owl sits on a tree. Another owl sits on a roof, too.")])
        lone = [Passage(name, "") for name in ("a", "b#", "c#x")]
        editor.put_weighted(lone, [{"=owl": 0.5}] * 3)
    (found,) = Searcher.open(tmp_path / "i").search(["owl"], 9, group_by="parent")
    assert [hit.group for hit in found.hits] == ["long", "a", "b#", "c#x"]
    assert [len(hit.passages) for hit in found.hits] == [2, 1, 1, 1]


class Backwards:
    def score(self, query, documents, *, first_stage=None):
        return -np.asarray(first_stage, np.float32)


def test_pages_of_a_reranked_search_are_slices_of_the_reranked_list(tmp_path):
    corpus = [Passage(f"d{n:02}", "owl " * (n + 1) + "x " * (40 - n)) for n in range(30)]
    index_corpus(corpus, tmp_path / "i", encoder=None)
    searcher = Searcher.open(tmp_path / "i", reranker=Backwards())
    first_stage = ids(searcher.search(["owl"], 30)[0])
    expected = [*reversed(first_stage[:12]), *first_stage[12:]]
    shown, seen = [], None
    for offset in range(0, 30, 5):
        (by_offset,) = searcher.search(["owl"], 5, rerank=12, offset=offset)
        assert ids(by_offset) == expected[offset : offset + 5]
        assert [hit.rank for hit in by_offset.hits] == list(range(offset + 1, offset + 6))
        (by_seen,) = searcher.search(["owl"], 5, rerank=12, seen=seen)
        shown, seen = shown + ids(by_seen), by_seen.seen
    assert sorted(shown) == sorted(expected)


@pytest.mark.parametrize(
    "options",
    [
        {"offset": -1},
        {"offset": 9_991},
        {"offset": 1, "seen": Seen()},
    ],
)
def test_pages_that_cannot_be_are_refused(tmp_path, options):
    index_corpus([Passage("d", "owl")], tmp_path / "i", encoder=None)
    with pytest.raises(InputError, match="expected k and an offset of at most 10000 together"):
        Searcher.open(tmp_path / "i").search_with(["owl"], SearchOptions(**options))
