"""Queries with operators against a reading of every document: segments, deletions, pages, groups.

The truth ranks all documents by the query's words alone and takes out what does not do.
"""

import random

import pytest

from tamis.retriever import Editor, Passage, Searcher, create_index

WORDS = ["ash", "elm", "figs", "oak", "the", "yew"]
ALL = 10_000


class Wood:
    """A collection in several segments, with deletions, and its texts."""

    def __init__(self, path, seed):
        self.draw = random.Random(seed)
        create_index(path, encoder=None, fields={"plot": "string"})
        self.texts, self.plots = {}, {}
        with Editor.open(path, merge=False) as editor:
            for first in range(0, 90, 30):
                self._plant(editor, range(first, first + 30))
            for doc_id in self.draw.sample(list(self.texts), 20):
                editor.delete([doc_id])
                del self.texts[doc_id]
        self.searcher = Searcher.open(path)

    def _plant(self, editor, numbers):
        passages = []
        for number in numbers:
            text = " ".join(self.draw.choice(WORDS) for _ in range(self.draw.randrange(1, 8)))
            self.texts[f"d{number}"], self.plots[f"d{number}"] = text, self.draw.choice("ABC")
            fields = {"plot": self.plots[f"d{number}"]}
            passages.append(Passage(f"d{number}", text, fields=fields))
        editor.put(passages)
        editor.commit()

    def query(self):
        """Some clauses, as (sign, words); a phrase has several words."""
        clauses = [("", [self.draw.choice(WORDS)]) for _ in range(2)]
        for _ in range(self.draw.randrange(1, 3)):
            words = [self.draw.choice(WORDS) for _ in range(self.draw.randrange(1, 4))]
            clauses.append((self.draw.choice("+-" if len(words) == 1 else ["", "+", "-"]), words))
        return clauses

    def expected(self, clauses):
        """All hits in order, by reading every text."""
        ranking = " ".join(" ".join(words) for sign, words in clauses if sign != "-")
        (found,) = self.searcher.search([ranking], ALL, exact=True)
        return [(hit.doc_id, hit.score) for hit in found.hits if self.does(clauses, hit.doc_id)]

    def does(self, clauses, doc_id):
        held = self.texts[doc_id].split()
        for sign, words in clauses:
            stands = any(held[at : at + len(words)] == words for at in range(len(held)))
            asked = sign == "+" or len(words) > 1
            if stands if sign == "-" else asked and not stands:
                return False
        return True


def spelled(clauses):
    return " ".join(
        sign + (f'"{" ".join(words)}"' if len(words) > 1 else words[0]) for sign, words in clauses
    )


@pytest.fixture(scope="module", params=[1, 2])
def wood(tmp_path_factory, request):
    return Wood(tmp_path_factory.mktemp("wood") / "index", request.param)


def search(wood, clauses, k, **options):
    (found,) = wood.searcher.search([spelled(clauses)], k, syntax="operators", **options)
    return found


def test_operators_find_what_reading_every_document_finds(wood):
    for _ in range(60):
        clauses, k = wood.query(), wood.draw.choice([1, 3, 10, 100])
        hits = [(hit.doc_id, hit.score) for hit in search(wood, clauses, k).hits]
        assert hits == wood.expected(clauses)[:k], spelled(clauses)


def test_pages_are_slices_of_the_whole_list(wood):
    for _ in range(40):
        clauses = wood.query()
        expected = [doc_id for doc_id, _ in wood.expected(clauses)]
        by_offset = search(wood, clauses, 3, offset=3).hits
        first = search(wood, clauses, 3)
        by_cursor = search(wood, clauses, 3, seen=first.seen).hits
        assert [hit.doc_id for hit in by_offset] == expected[3:6], spelled(clauses)
        assert [hit.doc_id for hit in by_cursor] == expected[3:6], spelled(clauses)


def test_groups_hold_only_documents_that_do(wood):
    for _ in range(40):
        clauses = wood.query()
        members = {}
        for doc_id, _ in wood.expected(clauses):
            members.setdefault(wood.plots[doc_id], []).append(doc_id)
        found = search(wood, clauses, 2, group_by="plot", group_size=2)
        groups = {hit.group: [one.doc_id for one in hit.passages] for hit in found.hits}
        expected = {plot: docs[:2] for plot, docs in list(members.items())[:2]}
        assert groups == expected, spelled(clauses)


def test_a_filter_stands_beside_operators(wood):
    for _ in range(40):
        clauses = wood.query()
        only = {"field": "plot", "in": ["A"]}
        found = [hit.doc_id for hit in search(wood, clauses, 5, filter=only).hits]
        expected = [one for one, _ in wood.expected(clauses) if wood.plots[one] == "A"]
        assert found == expected[:5], spelled(clauses)


def test_contributions_sum_to_the_score(wood):
    for hit in search(wood, [("", ["ash"]), ("", ["oak", "the", "elm"])], 5, explain=True).hits:
        assert sum(term.contribution for term in hit.matched_terms) == pytest.approx(hit.score)


def test_what_a_query_meant_is_told(wood):
    (found,) = wood.searcher.search(['"ash oak" +elm -yew -"the oak" figs'], syntax="operators")
    assert found.understood.text == "ash oak elm figs"
    assert found.understood.phrases == ("ash oak",)
    assert found.understood.must == ("elm",)
    assert found.understood.must_not == ("yew", '"the oak"')
    assert wood.searcher.search(["ash oak"], syntax="operators")[0].understood is None


def test_plain_syntax_tells_of_operators_and_does_not_heed_them(wood):
    (found,) = wood.searcher.search(["+elm ash"], ALL)
    (same,) = wood.searcher.search(["elm ash"], ALL)
    assert [hit.doc_id for hit in found.hits] == [hit.doc_id for hit in same.hits]
    assert "syntax is plain" in found.understood.notes[0]
    assert same.understood is None


def test_a_word_that_no_document_has_finds_nothing_where_it_must_be_held(wood):
    assert search(wood, [("", ["ash"]), ("+", ["zzz"])], 5).hits == ()
    assert search(wood, [("", ["ash"]), ("", ["ash", "zzz"])], 5).hits == ()
    assert search(wood, [("", ["ash"]), ("-", ["zzz"])], 5).hits
