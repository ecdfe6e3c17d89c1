"""Random orders of all that can happen to a collection, against a dictionary of what it holds."""

import shutil
import tempfile
from collections import Counter
from math import log1p
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from letter_encoder import LetterEncoder
from storages import Quick

from tamis.index import Collection, CollectionWriter
from tamis.index.generations.parts import Origin
from tamis.index.upkeep.snapshot import restore, write_snapshot
from tamis.index.upkeep.tuning import tune
from tamis.index.upkeep.upgrade import upgrade
from tamis.index.upkeep.verification import examine
from tamis.retriever import Editor, Passage, Searcher, create_index, index_corpus
from tamis.retriever.words.lexical import LexicalQueries

IDS = [f"d{number}" for number in range(7)]
TEXTS = ["", "!!! ???", "the of and", "owl", "owl cat", "cat cat newt", "the owl, a bat", "bat bat"]
STOPPED = {"the", "of", "and", "a"}
WORD_VECTORS = [
    {},
    {"=owl": 2.0},
    {"=alpha": 0.5},
    {"=two words": 3.0, "=cat": 0.25},
    {"=owl": 1.0},
]
LETTER_VECTORS = [{"a": 3.0}, {"a": 1.5, "z": 0.5, "=newt": 2.0}]
QUERIES = ["owl", "cat bat", "newt owl the", "zebra"]


def words_of(text):
    return [
        word for word in text.replace(",", " ").split() if word.isalpha() and word not in STOPPED
    ]


class Life(RuleBasedStateMachine):
    """`truth` is what the collection holds, in order; an entry is a text and a vector or None."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "c"
        self.truth, self.copies = {}, 0

    @initialize(
        encoded=st.booleans(),
        first=st.lists(st.sampled_from(TEXTS), max_size=4),
    )
    def begin(self, encoded, first):
        """An empty collection, or one of a few documents that are indexed at once."""
        self.encoder = LetterEncoder() if encoded else None
        if first:
            index_corpus(
                self.passages(dict(zip(IDS, first, strict=False))), self.path, encoder=self.encoder
            ).close()
            self.truth = {doc_id: (text, None) for doc_id, text in zip(IDS, first, strict=False)}
        else:
            create_index(self.path, encoder=self.encoder)
        self.editor = self.opened()

    def opened(self):
        writer = CollectionWriter.open(self.path, merge=False, storage=Quick(self.path))
        return Editor(writer, self.encoder)

    def passages(self, texts):
        return [Passage(doc_id, text, fields={"of": doc_id}) for doc_id, text in texts.items()]

    def take(self, documents):
        for doc_id, document in documents.items():
            self.truth.pop(doc_id, None)
            self.truth[doc_id] = document

    @rule(
        texts=st.dictionaries(st.sampled_from(IDS), st.sampled_from(TEXTS), min_size=1, max_size=3)
    )
    def put(self, texts):
        self.editor.put(self.passages(texts))
        self.take({doc_id: (text, None) for doc_id, text in texts.items()})

    @rule(
        ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=2, unique=True),
        text=st.sampled_from(TEXTS),
        vector=st.sampled_from(WORD_VECTORS + LETTER_VECTORS),
    )
    def put_weighted(self, ids, text, vector):
        if self.encoder is None:
            vector = {term: weight for term, weight in vector.items() if term.startswith("=")}
        self.editor.put_weighted(self.passages(dict.fromkeys(ids, text)), [vector] * len(ids))
        self.take(dict.fromkeys(ids, (text, vector)))

    @rule(ids=st.lists(st.sampled_from(IDS), max_size=3))
    def delete(self, ids):
        assert self.editor.delete(ids) == len(self.truth.keys() & set(ids))
        for doc_id in ids:
            self.truth.pop(doc_id, None)

    @rule()
    def delete_all(self):
        self.delete(IDS)

    @rule()
    def commit(self):
        self.editor.commit()

    @rule()
    def merge(self):
        self.editor.writer.optimize()

    @rule()
    def optimize(self):
        self.editor.optimize()
        self.check()
        self.check_as_new()

    @rule(restart=st.sampled_from(["close", "stop", "tune", "upgrade", "snapshot"]))
    def restart(self, restart):
        """Go on in another process, after a visit of something else."""
        if restart == "stop":
            self.editor.writer.abandon()
        else:
            self.editor.close()
        if restart == "tune":
            with Collection.open(self.path) as collection:
                terms = collection.index.vocab_size
            rows = [{number % terms: 1.0} for number in range(60)]
            tune(self.path, type(LetterEncoder().encode_queries([])).from_dicts(rows, terms))
        elif restart == "upgrade":
            upgrade(self.path)
        elif restart == "snapshot":
            self.copies += 1
            kept, again = (self.folder / f"{name}{self.copies}" for name in "sr")
            write_snapshot(self.path, kept)
            shutil.rmtree(self.path)
            restore(kept, again)
            self.path = again
        self.editor = self.opened()

    @rule()
    def check(self):
        """All that a reader finds is that of the documents."""
        self.editor.commit()
        assert not examine(self.path).problems
        with Collection.open(self.path) as collection:
            ids = [collection.doc_id(doc) for doc in collection.index.live_docs().tolist()]
            assert ids == list(self.truth)
            words = collection.dictionary, collection.with_words
            lexical = LexicalQueries.from_settings(collection.settings.lexical, *words)
            searcher = Searcher(self.encoder, collection, lexical)
            self.check_documents(searcher)
            self.check_words(collection)
            self.check_searches(searcher)

    def check_documents(self, searcher):
        collection = searcher.collection
        for doc_id, (text, vector) in self.truth.items():
            doc = collection.doc(doc_id)
            assert collection.document(doc) == {
                "_id": doc_id,
                "title": "",
                "text": text,
                "of": doc_id,
            }
            terms, weights = collection.index.row(doc)
            found = dict(
                zip(map(searcher.vocabulary.name, terms.tolist()), weights.tolist(), strict=True)
            )
            if vector is None:
                assert found == pytest.approx(self.expected(collection, text), rel=1e-6)
            else:
                assert found == vector
            part, at = collection.index.locate(doc)
            assert part.origins()[at] == (Origin.TEXT if vector is None else Origin.GIVEN)

    def expected(self, collection, text):
        """The weights of a text, as BM25 and the encoder have them."""
        average, counts = collection.settings.lexical.average_length, Counter(words_of(text))
        weights = {}
        if self.encoder is not None:
            (row,) = self.encoder.encode_documents([text]).to_dicts()
            weights = {chr(97 + letter): weight for letter, weight in row.items()}
        for word, count in counts.items():
            discount = 0.9 * (0.6 + 0.4 * counts.total() / average)
            weights[f"={word}"] = count * 1.9 / (count + discount)
        return weights

    def held_words(self):
        """The words of each document, by its text or its vector."""
        return [
            set(words_of(text)) if vector is None else {t[1:] for t in vector if t[0] == "="}
            for text, vector in self.truth.values()
        ]

    def check_words(self, collection):
        held, dictionary = self.held_words(), collection.dictionary
        assert collection.with_words == sum(map(bool, held))
        for word in {"owl", "cat", "two words", "alpha", *set().union(*held)}:
            frequency = dictionary.document_frequency([dictionary.lookup(word)])
            assert frequency.tolist() == [sum(word in words for words in held)], word

    def check_as_new(self):
        """What `optimize` leaves is what a build would measure."""
        with Collection.open(self.path) as collection:
            lengths = [
                len(words_of(text)) for text, vector in self.truth.values() if vector is None
            ]
            counted = [length for length in lengths if length]
            average = sum(counted) / max(len(counted), 1)
            assert collection.settings.lexical.average_length == pytest.approx(average)
            assert len(collection.dictionary) == len(set().union(*self.held_words()))
            assert len(collection.index.parts) == min(len(self.truth), 1)

    def check_searches(self, searcher):
        collection, held = searcher.collection, self.held_words()
        for query in QUERIES:
            asked = {}
            if self.encoder is not None:
                (row,) = self.encoder.encode_queries([query]).to_dicts()
                asked = {chr(97 + letter): weight for letter, weight in row.items()}
            for word in words_of(query):
                frequency = sum(word in words for words in held)
                if frequency:
                    rest = (sum(map(bool, held)) - frequency + 0.5) / (frequency + 0.5)
                    asked[f"={word}"] = log1p(rest)
            scores = [
                sum(
                    asked.get(t, 0) * w
                    for t, w in (
                        self.expected(collection, text) if vector is None else vector
                    ).items()
                )
                for text, vector in self.truth.values()
            ]
            order = [
                at
                for at in np.argsort([-round(s, 4) for s in scores], kind="stable")
                if scores[at] > 0
            ]
            (result,) = searcher.search([query], 50, exact=True)
            names = list(self.truth)
            assert [hit.doc_id for hit in result.hits] == [names[at] for at in order]
            assert [hit.score for hit in result.hits] == pytest.approx(
                [scores[at] for at in order], rel=1e-5
            )

    def teardown(self):
        try:
            if hasattr(self, "editor"):
                self.check()
                self.editor.close()
        finally:
            shutil.rmtree(self.folder)


def run(examples, steps, number=0):
    run_state_machine_as_test(
        seed(number)(Life),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.long
def test_whatever_happens_documents_keep_what_they_brought():
    run(30, 25)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, 9))
def test_so_it_is_over_thousands_of_steps(number):
    run(100, 60, number)
