"""Random operations on whole collections, against plain Python: written, searched, paged, grouped.

Three kinds: words alone, words beside an encoder's terms, and imported vectors. A failure is told
with the fewest operations that still fail.
"""

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest
from letter_encoder import LetterEncoder
from searched import CONFIG, FIELDS, NUMBERS, WORDS, Document, Page, Truth, admits, says_nothing
from storages import Quick
from workload import stop

from tamis.index import InputError
from tamis.index.exchange.engines import engine_lines, stored_documents
from tamis.index.exchange.interchange import write_lines
from tamis.index.vectors import MAX_TERMS
from tamis.index.writing.writer import CollectionWriter
from tamis.retriever import Editor, Searcher, create_index
from tamis.retriever.builds.importing import import_vectors

OPERATIONS = 10_000  # of all kinds together, in every run of the tests
STEPS = 100  # operations on one collection
SHARES = 30  # of the long form, for as many processes
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # nothing here cuts the power
IDS = [f"d{number}" for number in range(12)]


def draw_fields(rng):
    given = {"group": rng.choice([None, "", "a", "b"]), "year": rng.choice([None, "", 1, "2", 3])}
    return {name: value for name, value in given.items() if rng.random() < 0.8}


def draw_words(rng):
    return tuple(rng.choices(WORDS, k=rng.choice([0, 1, 2, 4])))


def draw_condition(rng):
    if rng.random() < 0.5:
        return {"field": "group", "in": rng.sample(["", "a", "b", "none"], rng.randrange(3))}
    keys = rng.sample(["gt", "gte", "lt", "lte"], rng.choice([1, 2]))
    return {"field": "year", "range": {key: rng.randrange(5) for key in keys}}


def draw_filter(rng):
    """A filter, one in three times none."""
    if rng.random() < 0.3:
        return None
    if rng.random() < 0.5:
        return draw_condition(rng)
    keys = rng.sample(["must", "must_not"], rng.choice([1, 2]))
    return {key: [draw_condition(rng) for _ in range(rng.randrange(3))] for key in keys}


class Searched:
    """`truth` is what there must be, in the order of the writes; `seen` what is searched."""

    names: tuple[str, ...]  # of terms that documents bring and queries ask for
    weights: ClassVar = {
        "put_weighted": 8,
        "patch": 4,
        "delete": 3,
        "delete_where": 1,
        "ask": 1,
        "commit": 2,
        "publish": 8,
        "refresh": 2,
        "merge": 1,
        "optimize": 2,
        "close_and_open": 1,
        "stop_and_open": 2,
        "search_a_page": 8,
        "search_groups": 6,
        "begin_pages": 3,
        "turn_the_page": 9,
    }

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.path = Path(self.folder.name) / "c"
        self.truth = {}
        self.create()
        self.committed = dict(self.truth)
        self.editor = self.opened()
        self.searcher = Searcher.open(self.path, encoder=self.encoder())
        self.seen = Truth(self.truth, self.searcher)
        self.page = None  # of a search that goes on while documents come and go

    def encoder(self):
        return None

    def opened(self):
        writer = CollectionWriter.open(self.path, merge=False, storage=Quick(self.path))
        return Editor(writer, self.encoder())

    def wrote(self, documents):
        """Of two documents with one id the later counts; each stands behind all before."""
        for doc_id, document in documents:
            self.truth.pop(doc_id, None)
            self.truth[doc_id] = document

    def put_weighted(self, rng):
        documents = [
            (doc_id, Document(draw_words(rng), self.draw_weights(rng, 3), draw_fields(rng)))
            for doc_id in rng.choices(IDS, k=rng.randint(1, 4))
        ]
        self.editor.put_weighted(
            [document.passage(doc_id) for doc_id, document in documents],
            [document.weights for _, document in documents],
            wait="none",
        )
        self.wrote(documents)

    def draw_weights(self, rng, most, least=0):
        names = rng.sample(self.names, rng.randint(least, most))
        return {name: rng.choice([0.5, 1.0, 2.0]) for name in names}

    def patch(self, rng):
        doc_id, fields = rng.choice(IDS), draw_fields(rng)
        change = {"group": None, "year": None, **fields}
        missing = self.editor.patch({doc_id: change}, wait="none")
        assert missing == [one for one in [doc_id] if one not in self.truth]
        if not missing:
            given = {name: value for name, value in fields.items() if value is not None}
            self.wrote([(doc_id, replace(self.truth[doc_id], fields=given))])

    def delete(self, rng):
        ids = rng.choices(IDS, k=rng.randrange(3))
        assert self.editor.delete(ids, wait="none") == len(self.truth.keys() & set(ids))
        for doc_id in ids:
            self.truth.pop(doc_id, None)

    def delete_where(self, rng):
        where = {"must": [draw_condition(rng), draw_filter(rng) or draw_condition(rng)]}
        if says_nothing(where):
            with pytest.raises(InputError, match="at least one condition"):
                self.editor.delete_where(where)
            return
        gone = [doc_id for doc_id, one in self.truth.items() if admits(where, one)]
        self.committed = dict(self.truth)
        assert self.editor.delete_where(where, wait="none") == len(gone)
        for doc_id in gone:
            del self.truth[doc_id]

    def ask(self, rng):
        doc_id = rng.choice(IDS)
        assert self.editor.writer.has(doc_id) == (doc_id in self.truth)

    def commit(self, _):
        self.editor.commit()
        self.committed = dict(self.truth)

    def refresh(self, _):
        self.searcher = self.searcher.refresh()
        self.seen = Truth(self.committed, self.searcher)
        self.seen.check_contents()

    def publish(self, rng):
        self.commit(rng)
        self.refresh(rng)

    def merge(self, _):
        self.editor.writer.merge()

    def optimize(self, _):
        self.editor.optimize()
        self.committed = dict(self.truth)

    def close_and_open(self, _):
        self.editor.close()
        self.committed = dict(self.truth)
        self.editor = self.opened()

    def stop_and_open(self, _):
        """The process ends between two writes; what is in the log stays there."""
        stop(self.editor.writer)
        self.editor = self.opened()

    def search(self, query, k, **options):
        (result,) = self.searcher.search([query], k, exact=True, **options)
        return result

    def search_a_page(self, rng):
        query, where = self.draw_weights(rng, 2, 1), draw_filter(rng)
        k, offset = rng.randint(1, 12), rng.choice([0, 0, 1, 3])
        hits = self.search(query, k, filter=where, offset=offset).hits
        expected = self.seen.ranked(query, where)[offset : offset + k]
        assert [(hit.doc_id, hit.score) for hit in hits] == expected

    def search_groups(self, rng):
        query, where = self.draw_weights(rng, 2, 1), draw_filter(rng)
        k, size = rng.randint(1, 5), rng.randint(1, 4)
        found = self.search(query, k, filter=where, group_by="group", group_size=size).hits
        members = [[passage.doc_id for passage in hit.passages] for hit in found]
        assert members == self.seen.grouped(query, k, size, where)

    def begin_pages(self, rng):
        options = {"group_by": "group", "group_size": len(IDS)} if rng.random() < 0.3 else {}
        self.page = Page(self.draw_weights(rng, 2, 1), rng.randint(1, 4), options)

    def turn_the_page(self, _):
        if self.page is not None:
            page = self.page
            result = self.search(page.query, page.k, seen=page.seen, **page.options)
            self.page = page.turned(result, self.seen)

    def close(self):
        """Everything is there at the end, for whoever opens the folder next."""
        self.editor.close()
        searcher = Searcher.open(self.path, encoder=self.encoder())
        Truth(self.truth, searcher).check_contents()
        searcher.collection.close()

    def discard(self):
        self.searcher.collection.close()
        with suppress(Exception):  # of a run that has failed
            self.editor.close()
        self.folder.cleanup()


class Words(Searched):
    """Words alone, as texts or as weights that documents bring."""

    names = tuple(f"={word}" for word in WORDS)
    weights: ClassVar = Searched.weights | {"put_texts": 10}

    def create(self):
        create_index(self.path, encoder=self.encoder(), lexical=CONFIG, fields=FIELDS)

    def put_texts(self, rng):
        documents = [
            (doc_id, Document(draw_words(rng), None, draw_fields(rng)))
            for doc_id in rng.choices(IDS, k=rng.randint(1, 5))
        ]
        passages = [document.passage(doc_id) for doc_id, document in documents]
        self.editor.put(passages, wait="none")
        self.wrote(documents)


class Both(Words):
    """Words beside the terms of an encoder."""

    names = (*Words.names, "a", "e", "z")

    def encoder(self):
        return LetterEncoder()


class Vectors(Searched):
    """Vectors that were imported: a collection that no text is searched in."""

    names = NUMBERS
    weights: ClassVar = Searched.weights | {"export_and_import": 1}

    def create(self):
        file = Path(self.folder.name) / "v.jsonl"
        rows = [{"id": f"d{n}", "group": "a", "vector": {str(n % 3): 1.0}} for n in range(4)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        import_vectors(file, self.path, vocab_size=MAX_TERMS, fields=FIELDS)
        self.wrote((row["id"], Document((), row["vector"], {"group": "a"})) for row in rows)

    def export_and_import(self, rng):
        """What leaves comes back: the documents, their order, their fields and their weights."""
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            file, again = Path(folder) / "v.jsonl", Path(folder) / "c"
            stored = stored_documents(self.searcher.collection.index)
            write_lines(file, engine_lines(stored, rng.choice(["opensearch", "qdrant"])))
            import_vectors(file, again, vocab_size=MAX_TERMS, fields=FIELDS)
            searcher = Searcher.open(again)
            Truth(self.seen.documents, searcher).check_contents()
            searcher.collection.close()


def replay(kind, steps):
    """Carry out operations on a new collection; each draws from a generator of its own."""
    model = kind()
    try:
        for name, number in steps:
            getattr(model, name)(Random(number))
        model.close()
    finally:
        model.discard()


def fails(kind, steps):
    try:
        replay(kind, steps)
    except Exception:  # noqa: BLE001  whatever it is
        return True
    return False


def shortened(kind, steps):
    """Fewer operations that still fail: runs of them are left out, shorter and shorter ones."""
    size = len(steps) // 2
    while size:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            if fails(kind, fewer):
                steps = fewer
            else:
                at += size
        size //= 2
    return steps


def run(kind, operations, number=0):
    """So many operations, 100 on each collection; another ``number`` draws others."""
    names, weights = zip(*kind.weights.items(), strict=True)
    for example in range(operations // STEPS):
        rng = Random(f"{kind.__name__} {number} {example}")
        steps = [(name, rng.getrandbits(32)) for name in rng.choices(names, weights, k=STEPS)]
        try:
            replay(kind, steps)
        except Exception as error:
            few = shortened(kind, steps)
            raise AssertionError(f"replay({kind.__name__}, {few}) fails") from error


@pytest.mark.parametrize("kind", [Words, Both, Vectors])
@pytest.mark.long
def test_collections_hold_and_find_what_a_dictionary_does(kind):
    run(kind, OPERATIONS // 3)


def test_a_failure_is_told_with_the_fewest_operations(monkeypatch):
    """Were documents without a value a group of their own kind, it would be noticed."""
    monkeypatch.setattr(Document, "value", lambda self, field: self.fields.get(field) or "")
    with pytest.raises(AssertionError, match=r"replay\(Vectors, \[.*\]\) fails") as told:
        run(Vectors, 1000)
    assert str(told.value).count("('") <= 4


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, SHARES + 1))
def test_three_hundred_thousand_operations(number, proof):
    operations = int(os.environ.get("TAMIS_SEARCHED_OPERATIONS", "300000")) // SHARES
    kind = (Words, Both, Vectors)[number % 3]
    run(kind, operations, number)
    proof("searched", share=number, kind=kind.__name__, operations=operations, differences=0)
