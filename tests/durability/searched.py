"""Plain Python beside a collection: which documents there are, and what a search must find."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from letter_encoder import LetterEncoder

from tamis.retriever import LexicalConfig, Passage

WORDS = ("ash", "birch", "cedar", "elm", "fir")  # stems and stop words play no part
NUMBERS = ("0", "1", "2", "63", "65536", "1277694805", "2147483647")  # small ones, and hashes
CONFIG = LexicalConfig(language="none", stop_words=False)
FIELDS = {"group": "string", "year": "integer"}
COMPARISONS = {
    "gt": lambda value, limit: value > limit,
    "gte": lambda value, limit: value >= limit,
    "lt": lambda value, limit: value < limit,
    "lte": lambda value, limit: value <= limit,
}


@dataclass(frozen=True, eq=False)
class Document:
    """One version of a document: its words, or the weights that it brings."""

    words: tuple[str, ...]
    weights: dict[str, float] | None
    fields: dict[str, Any]

    @property
    def text(self):
        return " ".join(self.words)

    def passage(self, doc_id):
        return Passage(doc_id, self.text, fields=self.fields)

    def value(self, field):
        """Of a declared field: a year may be spelled as text, where a blank one is none."""
        value = self.fields.get(field)
        if field == "year" and isinstance(value, str):
            return int(value) if value.strip() else None
        return value

    def row(self, encoder, average_length):
        """The weights of its terms by name, as the formulas have them."""
        if self.weights is not None:
            return self.weights
        row = {}
        if encoder is not None:
            (letters,) = LetterEncoder().encode_documents([self.text]).to_dicts()
            row = {encoder.vocabulary.name(term): weight for term, weight in letters.items()}
        for word in set(self.words):
            count = self.words.count(word)
            relative = len(self.words) / average_length
            discount = CONFIG.k1 * (1 - CONFIG.b + CONFIG.b * relative)
            row[f"={word}"] = count * (CONFIG.k1 + 1) / (count + discount)
        return row


def admits(expression, document):
    """Whether a filter admits a document; None admits all."""
    if expression is None:
        return True
    if "field" not in expression:
        return all(admits(part, document) for part in expression.get("must", [])) and not any(
            admits(part, document) for part in expression.get("must_not", [])
        )
    value = document.value(expression["field"])
    if value is None:
        return False
    if "in" in expression:
        return value in expression["in"]
    return all(COMPARISONS[key](value, limit) for key, limit in expression["range"].items())


def says_nothing(expression):
    """Whether a filter has no condition at all, so that a deletion by it is refused."""
    if "field" in expression:
        return expression.get("in") == []
    return all(says_nothing(part) for parts in expression.values() for part in parts)


class Truth:
    """What a generation holds: documents in the order of their writes, and their stored rows."""

    def __init__(self, documents, searcher):
        self.documents = dict(documents)
        self.searcher = searcher
        self._rows = None

    @property
    def rows(self):
        """The stored weights by name of each document, which are those of the formulas."""
        if self._rows is None:
            self._rows = self._checked_rows()
        return self._rows

    def _checked_rows(self):
        collection, vocabulary = self.searcher.collection, self.searcher.vocabulary
        lexical = collection.settings.lexical
        average = lexical.average_length if lexical is not None else 0
        rows = {}
        for doc_id, document in self.documents.items():
            terms, weights = collection.index.row(collection.doc(doc_id))
            row = dict(zip(map(vocabulary.name, terms.tolist()), weights, strict=True))
            expected = document.row(self.searcher.encoder, average)
            assert row.keys() == expected.keys(), (doc_id, row, expected)
            for name, weight in row.items():
                assert abs(weight - expected[name]) <= 1e-5 * weight, (doc_id, name)
            rows[doc_id] = row
        return rows

    def check_contents(self):
        """Every document is there once, in its place, as it was given, however it is asked for."""
        collection = self.searcher.collection
        docs = collection.index.live_docs().tolist()
        assert [collection.doc_id(doc) for doc in docs] == list(self.documents)
        assert len(collection) == len(docs)
        for doc, (doc_id, document) in zip(docs, self.documents.items(), strict=True):
            assert collection.document(doc) == document.passage(doc_id).record()
            assert collection.doc(doc_id) == doc
        assert self.rows.keys() == self.documents.keys()

    def ranked(self, query, where=None, without=()):
        """Ids and scores of all that match, best first, ties by the order of their writes.

        Two terms at most, with powers of two as weights: sums that 32 bits hold as they are.
        """
        found = []
        for doc_id, row in self.rows.items():
            if doc_id in without or not admits(where, self.documents[doc_id]):
                continue
            parts = [
                np.float32(weight) * row[name] for name, weight in query.items() if name in row
            ]
            if parts:
                found.append((doc_id, float(np.sum(np.array(parts, np.float32)))))
        return sorted(found, key=lambda pair: -pair[1])

    def grouped(self, query, k, size, where=None, without=()):
        """The ids of the members of the k best groups, best first."""
        groups = {}
        for doc_id, _ in self.ranked(query, where, without):
            value = self.documents[doc_id].value("group")
            groups.setdefault((doc_id,) if value is None else value, []).append(doc_id)
        return [members[:size] for members in list(groups.values())[:k]]


@dataclass(frozen=True)
class Page:
    """Where a search stands that is paged through while documents come, go and change.

    Attributes:
        query: weights by name.
        k: hits of a page.
        options: of the search.
        shown: the ids so far.
        seen: what the last page gave for the next one; None before the first.
        stayed: what there was at the first page and has been there ever since.
        generation: of the first page.
    """

    query: dict[str, float]
    k: int
    options: dict[str, Any]
    shown: tuple[str, ...] = ()
    seen: Any = None
    stayed: dict[str, Document] | None = None
    generation: int = 0

    def turned(self, result, truth):
        """The next page, whose hits are right; None where it was the last.

        In an index that has not changed pages are slices of one list. In one that has, a page goes
        on where it was, and what comes before that follows.
        """
        hits = [[one.doc_id for one in hit.passages or (hit,)] for hit in result.hits]
        ids = [doc_id for members in hits for doc_id in members]
        assert not set(self.shown) & set(ids), "shown twice"
        rest = [doc_id for doc_id, _ in truth.ranked(self.query, without=self.shown)]
        now = truth.searcher.collection.generation
        if now == (self.generation or now):
            expected = [[doc_id] for doc_id in rest[: self.k]]
            if self.options:
                size = self.options["group_size"]
                expected = truth.grouped(self.query, self.k, size, without=self.shown)
            assert hits == expected
        elif not self.options:
            assert len(ids) == min(self.k, len(rest))
            assert ids == [doc_id for doc_id in rest if doc_id in ids]
        before = truth.documents if self.stayed is None else self.stayed
        stayed = {
            doc_id: one for doc_id, one in before.items() if truth.documents.get(doc_id) is one
        }
        if len(hits) < self.k:
            assert self.options or not set(rest) & stayed.keys() - set(ids), "never shown"
            return None
        shown = (*self.shown, *ids)
        return replace(
            self, shown=shown, seen=result.seen, stayed=stayed, generation=self.generation or now
        )
