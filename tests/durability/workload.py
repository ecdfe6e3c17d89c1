"""A collection under change, and a plain dictionary beside it that says what it must hold."""

import msgspec
import numpy as np
import orjson
from storages import Quick

from tamis.index import Collection, SparseVectors
from tamis.index.files.progress import silent
from tamis.index.generations.garbage import Sweep
from tamis.index.generations.manifest import BUILD
from tamis.index.generations.settings import CollectionSettings, LexicalSettings
from tamis.index.reference import search
from tamis.index.segment.dictionary import DictionaryWriter
from tamis.index.writing.build_worker import perform
from tamis.index.writing.creation import create_collection
from tamis.index.writing.revision import Revised
from tamis.index.writing.segment_request import message_of
from tamis.index.writing.writer import CollectionWriter


class FromBytes:
    """Does what requests' bytes say, as another process does; no other is."""

    def write(self, order, storage, lock, progress):
        return self._perform(message_of(order, storage), storage, progress)

    def remove_unused(self, storage, lock, current, busy):
        self._perform(Sweep.of(storage, busy), storage, silent)

    def _perform(self, message, storage, progress):
        return perform(msgspec.msgpack.encode(message), lambda root: storage, progress)


LEARNED = 23  # terms below are learned, the others words
NO_WORDS = DictionaryWriter(LEARNED).dictionary()


def recorded(words):
    """What is recorded of these words."""
    return LexicalSettings(
        language="none",
        stop_words=False,
        fold_marks=False,
        k1=0.9,
        b=0.4,
        weight=1.0,
        analyzer=1,
        average_length=2.0,
        words=len(words),
        fingerprint=words.fingerprint,
    )


SETTINGS = CollectionSettings(lexical=recorded(NO_WORDS), columns={"version": "integer"})


def create(path, storage=None):
    create_collection(
        path,
        vocab_size=LEARNED,
        settings=SETTINGS,
        dictionary=NO_WORDS,
        storage=storage or Quick(path),
    )


def entries(doc_id, version):
    """The learned terms with their weights, and the words, of one version of a document."""
    rng = np.random.default_rng([version, *doc_id.encode()])
    terms = rng.choice(LEARNED, rng.integers(1, 6), replace=False)
    learned = {int(term): float(rng.integers(1, 9)) / 4 for term in terms}
    return learned, [f"word{version % 11}", f"name{doc_id}"]


def vectors_of(writer, documents):
    """The vectors of (id, version) pairs; new words join the dictionary."""
    rows = [entry_of(writer.dictionary, *document) for document in documents]
    return SparseVectors.from_dicts(rows, writer.vocab_size)


def entry_of(dictionary, doc_id, version):
    learned, words = entries(doc_id, version)
    return {**learned, **dict.fromkeys(dictionary.add(words).tolist(), 1.5)}


class Forgetting(msgspec.Struct):
    """A revision that forgets the words that no document holds."""

    def revise(self, rows, words, storage, progress):
        words, found = DictionaryWriter(LEARNED), []
        for each in map(orjson.loads, rows.told_to(progress).records()):
            found.append(entry_of(words, each["_id"], each["version"]))
            words.count_documents(np.array([term for term in found[-1] if term >= LEARNED]))
        vectors = SparseVectors.from_dicts(found, words.vocab_size)
        storage.write(f"{BUILD}/vectors", vectors.to_bytes())
        dictionary = words.dictionary()

        def batches():
            return [SparseVectors.load(storage.path(f"{BUILD}/vectors"))]

        return Revised(batches, rows.origins(), dictionary, recorded(dictionary))


def record(doc_id, version):
    return {"_id": doc_id, "text": f"{doc_id} {version}", "version": version}


def put(writer, documents, wait="durable"):
    with writer.words_held():
        vectors = vectors_of(writer, documents)
        place = writer.stage([record(*document) for document in documents], vectors, given=False)
    writer.wait(place, wait)


def held(collection):
    """Id -> version of all documents, each found by every way there is."""
    found = {}
    for doc in collection.index.live_docs().tolist():
        stored = collection.document(doc)
        doc_id = collection.doc_id(doc)
        assert stored == record(doc_id, stored["version"]), stored
        assert doc_id not in found, f"{doc_id} is there twice"
        assert collection.doc(doc_id) == doc
        found[doc_id] = stored["version"]
    assert len(found) == len(collection)
    return found


def check_consistent(collection, queries=2):
    """Vectors, document frequencies and exact search are those of one plain build."""
    docs = collection.index.live_docs()
    dictionary, vocab_size = collection.dictionary, collection.index.vocab_size
    rows = []
    for doc in docs.tolist():
        stored = collection.document(doc)
        learned, words = entries(stored["_id"], stored["version"])
        terms = dictionary.lookup_many(words).tolist()
        assert min(terms) >= LEARNED, words
        rows.append({**learned, **dict.fromkeys(terms, 1.5)})
        terms, weights = collection.index.row(doc)
        assert dict(zip(terms.tolist(), weights.tolist(), strict=True)) == rows[-1]
    plain = SparseVectors.from_dicts(rows, vocab_size)
    counts = np.bincount(plain.terms, minlength=vocab_size)
    terms, held = collection.index.frequencies()
    assert terms.tolist() == np.flatnonzero(counts).tolist()
    assert held.tolist() == counts[terms].tolist()
    words = np.arange(LEARNED, vocab_size) if len(dictionary) else np.zeros(0, np.int64)
    assert (dictionary.document_frequency(words) == counts[words]).all()
    assert collection.with_words == len(docs)
    for seed in range(queries):
        check_search(collection, plain, docs, seed)


def check_search(collection, plain, docs, seed, k=7):
    rng = np.random.default_rng(seed)
    terms = np.sort(rng.choice(plain.vocab_size, min(6, plain.vocab_size), replace=False))
    query = SparseVectors.from_dicts([dict.fromkeys(terms.tolist(), 0.5)], plain.vocab_size)
    found = collection.index.search(query, k, exact=True)
    truth = search(plain, query, k)
    assert found.scores.tolist() == truth.scores.tolist()
    assert found.docs[0].tolist() == [docs[at] if at >= 0 else -1 for at in truth.docs[0]]


def reopened(path, verify="full", consistent=True):
    """What a writer finds that opens the folder after a stop; it can go on, and stop again."""
    storage = Quick(path)
    writer = CollectionWriter.open(path, merge=False, verify=verify, storage=storage)
    put(writer, [("probe", 1)])
    stop(writer)
    with CollectionWriter.open(path, merge=False, storage=storage) as writer:
        assert writer.has("probe")
        writer.delete(["probe"], wait="searchable")
    with Collection.open(path) as collection:
        if consistent:
            check_consistent(collection)
        return held(collection)


def stop(writer):
    """End a writer as a dying process would: nothing is committed."""
    writer._log.close()
    writer._lock.release()
    writer._publisher.close()


KINDS = ("put", "put", "loose", "many", "delete", "commit", "merge", "searchable")


class Script:
    """A seeded sequence of operations; `states[m]` is what m of them leave."""

    def __init__(self, rng, length, ids=9):
        self.operations = []
        self.states = [{}]
        for version in range(1, length + 1):
            self._add(rng, version, [f"d{number}" for number in range(ids)])

    def _add(self, rng, version, ids):
        state = dict(self.states[-1])
        kind = rng.choice(
            ["put", "put", "loose", "many", "delete", "commit", "merge", "searchable"]
        )
        if kind == "delete":
            chosen = rng.sample(ids, 2)
            for doc_id in chosen:
                state.pop(doc_id, None)
        elif kind in ("commit", "merge"):
            chosen = []
        else:
            chosen = rng.sample(ids, 4 if kind == "many" else 1)
            state.update(dict.fromkeys(chosen, version))
        self.operations.append((kind, chosen, version))
        self.states.append(state)

    def run(self, writer, told=lambda event, number: None):
        """Carry all out; ``told`` hears of each as it is issued and acknowledged."""
        for number, (kind, chosen, version) in enumerate(self.operations, start=1):
            told("issue", number)
            if kind == "delete":
                writer.delete(chosen)
            elif kind == "commit":
                writer.commit()
            elif kind == "merge":
                self._merge(writer, version)
            else:
                wait = {"searchable": "searchable", "loose": "none"}.get(kind, "durable")
                put(writer, [(doc_id, version) for doc_id in chosen], wait)
            if kind not in ("loose", "commit", "merge"):
                told("ack", number)  # and with it all before

    def _merge(self, writer, version):
        if version % 3 == 0:
            writer.rewrite(Forgetting())
        elif version % 3 == 1:
            writer.optimize()
        else:
            writer.merge()
