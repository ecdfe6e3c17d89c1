"""The search of a segment against the exhaustive reference, at every border of its layout."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors_of import random_vectors

from tamis.index import (
    Index,
    IndexConfig,
    InputError,
    MismatchError,
    SearchParams,
    SparseVectors,
    reference,
)
from tamis.index.files.storage import Storage
from tamis.index.segment import builder
from tamis.index.segment.lists import COMMON, _checked_slices
from tamis.index.segment.loops.arrays import (
    IMAGE_MAX,
    LEVEL_IMAGES,
    LEVELS,
    MAX_QUERY_TERMS,
    POSTING,
    WINDOW,
)
from tamis.index.segment.loops.lists import count_weaker
from tamis.index.segment.loops.prefetch import prefetch_range
from tamis.index.segment.loops.query import SAFE_REST, choose_for_exact, safe_rest
from tamis.index.segment.segment import EXACT, Segment

PRECISIONS = ("f32", "f16", "u16", "u8")


def segment_of(index):
    return index.parts[0].stored.segment


def stored_vectors(index):
    terms, weights = zip(*(index.row(doc) for doc in range(len(index))), strict=True)
    offsets = np.cumsum([0, *(row.size for row in terms)])
    return SparseVectors(offsets, np.concatenate(terms), np.concatenate(weights), index.vocab_size)


def assert_exact(index, queries, k, stored=None):
    found = index.search(queries, k, exact=True)
    expected = reference.search(stored or stored_vectors(index), queries, k)
    assert np.array_equal(found.docs, expected.docs)
    assert np.array_equal(found.scores, expected.scores)
    assert (found.work <= expected.work).all()
    return found


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("weights", ["float", "ties"])
def test_exact_search_equals_the_reference_over_stored_weights(tmp_path, precision, weights):
    corpus = random_vectors(1511, 97, seed=1, weights=weights)
    queries = random_vectors(67, 97, seed=2, longest=40, weights=weights)
    index = Index.build(tmp_path / "index", corpus, config=IndexConfig(precision))
    frequencies = segment_of(index).document_frequency(np.arange(97))
    assert frequencies.min() < COMMON < frequencies.max()  # rare and common terms together
    for k in (1, 10, 333, 2000):
        assert_exact(index, queries, k)


@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(
        st.dictionaries(st.integers(0, 5), st.floats(2**-10, 1e4, width=32), max_size=4),
        min_size=1,
        max_size=90,
    ),
    query=st.dictionaries(st.integers(0, 5), st.floats(2**-10, 1e4, width=32), max_size=5),
    k=st.integers(1, 7),
    precision=st.sampled_from(PRECISIONS),
)
def test_exact_search_equals_the_reference_on_any_weights(
    tmp_path_factory, rows, query, k, precision
):
    corpus, queries = (SparseVectors.from_dicts(part, 6) for part in (rows, [query]))
    path = tmp_path_factory.mktemp("any") / "index"
    assert_exact(Index.build(path, corpus, config=IndexConfig(precision)), queries, k)


def test_f32_keeps_weights_as_they_are(tmp_path):
    corpus = random_vectors(301, 41, seed=3)
    stored = stored_vectors(Index.build(tmp_path / "index", corpus))
    assert np.array_equal(stored.weights, corpus.weights)
    assert np.array_equal(stored.terms, corpus.terms)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("documents", [WINDOW - 1, WINDOW, WINDOW + 3])
@pytest.mark.long
def test_documents_on_the_border_of_a_window_are_found(tmp_path, documents, precision):
    """Term 0 is common; term 1 is rare and held by the documents around the border alone."""
    edge = [doc for doc in range(WINDOW - 3, WINDOW + 3) if doc < documents]
    offsets = np.arange(documents + 1) + np.searchsorted(edge, np.arange(documents + 1))
    terms = np.zeros(documents + len(edge), np.int32)
    terms[offsets[1:][edge] - 1] = 1
    weights = np.where(terms == 1, 2.0, 1 + np.arange(terms.size) % 13 / 16)
    corpus = SparseVectors(offsets, terms, weights.astype(np.float32), 2)
    index = Index.build(tmp_path / "index", corpus, config=IndexConfig(precision))
    queries = SparseVectors.from_dicts([{0: 1.0}, {1: 1.5}, {0: 0.5, 1: 1.0}], 2)
    stored = corpus if precision == "f32" else stored_vectors(index)
    best = assert_exact(index, queries, 20, stored)
    assert sorted(best.row(1)[0].tolist()) == edge


@pytest.mark.parametrize("vocab_size", [2**16 - 1, 2**16, 2**16 + 1])
def test_term_ids_around_two_to_the_sixteen_stay_apart(tmp_path, vocab_size):
    last = vocab_size - 1
    near = sorted({0, 1, last - 2**16, last - 1, last} & set(range(vocab_size)))
    rows = [{term: 1.0 + place} for place, term in enumerate(near)] * (COMMON + 3)
    index = Index.build(tmp_path / "index", SparseVectors.from_dicts(rows, vocab_size))
    queries = SparseVectors.from_dicts([{term: 1.0} for term in near], vocab_size)
    best = assert_exact(index, queries, len(rows), SparseVectors.from_dicts(rows, vocab_size))
    for place in range(len(near)):
        found, scores = best.row(place)
        assert found.tolist() == list(range(place, len(rows), len(near)))
        assert (scores == 1.0 + place).all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_longest_query_does_not_overflow_its_sums(tmp_path, precision):
    """Documents that hold every term at its largest weight have the largest sums there are."""
    rng = np.random.default_rng(4)
    full = dict.fromkeys(range(MAX_QUERY_TERMS), 3.0)
    part = {int(t): 3.0 for t in rng.choice(MAX_QUERY_TERMS, 5000, replace=False)}
    corpus = SparseVectors.from_dicts([full, part, {5: 0.1}] * 25, MAX_QUERY_TERMS)
    index = Index.build(tmp_path / "index", corpus, config=IndexConfig(precision))
    queries = SparseVectors.from_dicts([full, {5: 2.0}], MAX_QUERY_TERMS)
    assert_exact(index, queries, 60)


def test_a_query_of_too_many_terms_is_refused(tmp_path):
    size = MAX_QUERY_TERMS + 1
    index = Index.build(tmp_path / "index", SparseVectors.from_dicts([{0: 1.0}], size))
    query = SparseVectors.from_dicts([dict.fromkeys(range(size), 1.0)], size)
    with pytest.raises(InputError, match="expected queries of at most 8192 terms, found 8193"):
        index.search(query)
    with pytest.raises(InputError, match="expected queries of at most 8192 terms, found 8193"):
        Index.build(tmp_path / "other", query, calibration=query)


def test_calibration_queries_of_another_vocabulary_are_refused(tmp_path):
    with pytest.raises(MismatchError, match="expected query vectors over 5 terms, found 6"):
        Index.build(
            tmp_path / "index",
            random_vectors(7, 5, seed=1),
            calibration=random_vectors(2, 6, seed=2),
        )
    assert not (tmp_path / "index" / "CURRENT").exists()


def test_an_index_without_documents_finds_nothing(tmp_path):
    index = Index.build(tmp_path / "index", SparseVectors.empty(5))
    best = index.search(SparseVectors.from_dicts([{0: 1.0}, {}], 5), 3)
    assert (best.docs == -1).all()
    assert best.work.tolist() == [0, 0]


def test_terms_that_no_document_holds_change_nothing(tmp_path):
    index = Index.build(tmp_path / "index", SparseVectors.from_dicts([{0: 1.0}, {2: 2.0}], 4))
    queries = SparseVectors.from_dicts([{1: 9.0, 3: 1.0}, {0: 1.0, 1: 9.0}], 4)
    best = index.search(queries, 2)
    assert best.docs.tolist() == [[-1, -1], [0, -1]]
    assert best.scores.tolist() == [[0.0, 0.0], [1.0, 0.0]]


def test_weights_far_apart_keep_every_match(tmp_path):
    """A product far below one unit of the sums still counts as a match."""
    rows = [{0: 1e4}, {1: 1e-6}, {0: 1e-5, 1: 1e-6}] * 40
    index = Index.build(tmp_path / "index", SparseVectors.from_dicts(rows, 2))
    queries = SparseVectors.from_dicts([{0: 1e4, 1: 1e-6}], 2)
    assert_exact(index, queries, 150)


def test_knobs_at_their_ends_are_the_exact_search(tmp_path):
    corpus = random_vectors(2003, 61, seed=5)
    queries = random_vectors(43, 61, seed=6, longest=30)
    index = Index.build(tmp_path / "index", corpus)
    everything = SearchParams(cut=0.0, slack=1.0)
    found = index.search(queries, 10, recall=0.5, params=everything)
    exact = index.search(queries, 10, exact=True)
    assert np.array_equal(found.docs, exact.docs)


def test_an_exact_search_spares_the_long_lists_of_weak_terms(tmp_path):
    """Every document holds term 0, 70 hold term 1: half of all postings could matter, few do."""
    rows = [{0: 1.0 + doc % 97 / 97} | ({1: 30.0} if doc % 60 == 7 else {}) for doc in range(4200)]
    index = Index.build(tmp_path / "index", SparseVectors.from_dicts(rows, 2))
    queries = SparseVectors.from_dicts([{0: 1.0, 1: 1.0}], 2)
    assert_exact(index, queries, 10)
    _, postings = segment_of(index).search(queries, 10)
    assert postings.tolist() == [70]


def test_an_exact_search_for_more_results_scores_fewer_documents_beside_them(tmp_path):
    corpus = random_vectors(9001, 301, seed=4, longest=40)
    index = Index.build(tmp_path / "index", corpus)
    queries = random_vectors(40, 301, seed=5)
    read = {k: segment_of(index).search(queries, k) for k in (1, 10, 100)}
    beside = [top.work.sum() / (k * len(queries)) for k, (top, _) in read.items()]
    assert beside == sorted(beside, reverse=True)
    postings = [postings.sum() for _, postings in read.values()]
    assert postings == sorted(postings)
    assert postings[0] < postings[-1]


def test_what_is_left_unread_follows_from_results_among_documents():
    assert safe_rest(10, 100_000) == safe_rest(1, 10_000_000) == SAFE_REST
    assert safe_rest(320, 100_000) == pytest.approx(SAFE_REST / 4)  # 32 times as many, 32 ** .4 = 4


@pytest.mark.parametrize("share", [SAFE_REST, SAFE_REST / 8])
@pytest.mark.parametrize("seed", range(5))
def test_what_an_exact_search_leaves_unread_is_bounded_and_spares_the_most(tmp_path, seed, share):
    corpus = random_vectors(3001, 41, seed=seed)
    lists = segment_of(Index.build(tmp_path / "index", corpus))._lists
    terms, weights = random_vectors(1, 41, seed=seed + 90, longest=40).row(0)
    chosen, cuts = np.empty(terms.size, np.int64), np.empty(terms.size, np.uint8)
    count, rest = choose_for_exact(terms, weights, lists, share, chosen, cuts)
    steps = weights.astype(np.float64) * lists.steps[terms]
    unread = np.full(terms.size, IMAGE_MAX)
    unread[chosen[:count]] = cuts[:count] - 1
    assert rest == pytest.approx(unread @ steps)
    assert rest <= share * steps.max() * IMAGE_MAX
    rows = lists.rows[terms]
    assert (unread[rows < 0] == 0).all()
    spared = sum(spared_by(lists, row, images) for row, images in zip(rows, unread, strict=True))
    equal = [int(rest / terms.size / step) // LEVEL_IMAGES * LEVEL_IMAGES for step in steps]
    assert spared >= sum(spared_by(lists, *each) for each in zip(rows, equal, strict=True))


def spared_by(lists, row, images):
    level = min(-(-int(images) // LEVEL_IMAGES), LEVELS) - 1
    return 0 if row < 0 or level < 0 else int(lists.weaker[row, level])


def test_weak_postings_are_counted_by_level(tmp_path):
    segment = segment_of(Index.build(tmp_path / "index", random_vectors(3001, 41, seed=3)))
    lists = segment._lists
    for row in range(lists.weaker.shape[0]):
        images = lists.postings["image"][lists.slices[0, row] : lists.slices[0, row + 1]]
        below = [int((images <= (level + 1) * LEVEL_IMAGES).sum()) for level in range(LEVELS)]
        assert lists.weaker[row].tolist() == below


def test_an_index_without_counts_by_level_is_counted_when_opened(tmp_path):
    """As format 2 was at first."""
    corpus, queries = random_vectors(3001, 41, seed=3), random_vectors(31, 41, seed=4)
    index = Index.build(tmp_path / "index", corpus)
    segment, storage = segment_of(index), Storage(tmp_path / "index")
    files = dict(index.manifest.files)
    del files["segments/000001/lists.weaker"]
    old = Segment(storage, "segments/000001", files, len(index), "f32")
    assert np.array_equal(old._lists.weaker, segment._lists.weaker)
    found, expected = old.search(queries, 10)[0], reference.search(corpus, queries, 10)
    assert np.array_equal(found.docs, expected.docs)


def test_counts_by_level_add_up_over_windows():
    postings = np.zeros(6, POSTING)
    postings["image"] = [255, 33, 32, 200, 1, 64]
    slices = np.array([[0, 2, 3], [0, 2, 3]], np.uint32)  # rows of 2 and 1 postings, twice
    weaker = count_weaker(postings, np.array([0, 3, 6]), slices)
    assert weaker.tolist() == [[1, 2, 2, 2, 2, 2, 3, 4], [1, 2, 2, 2, 2, 2, 2, 2]]


def test_a_larger_cut_reads_less(tmp_path):
    corpus = random_vectors(5003, 61, seed=5)
    queries = random_vectors(43, 61, seed=6, longest=30)
    segment = segment_of(Index.build(tmp_path / "index", corpus))
    read = [
        segment.search(queries, 3, knobs)[1].sum()
        for knobs in (EXACT, EXACT._replace(cut=0.2), EXACT._replace(cut=0.4))
    ]
    assert read[0] > 1.5 * read[1] > 1.5 * read[2]


def test_every_score_of_an_approximate_search_is_the_documents_own(tmp_path):
    corpus = random_vectors(3001, 61, seed=7)
    queries = random_vectors(31, 61, seed=8, longest=30)
    index = Index.build(tmp_path / "index", corpus)
    found = index.search(queries, 10, params=SearchParams(cut=0.5, slack=0.9))
    truth = reference.search(corpus, queries, 3001)
    for query in range(31):
        scores = dict(zip(*truth.row(query), strict=True))
        docs, own = found.row(query)
        assert [scores[doc] for doc in docs] == own.tolist()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cut": -0.1}, "expected cut of at least 0 and below 1, found -0.1"),
        ({"cut": 1.0}, "found 1.0"),
        ({"slack": 1.1}, "expected slack above 0"),
        ({"slack": float("nan")}, "found nan"),
        ({"lexical_weight": -5.0}, "expected a finite lexical weight of at least 0, found -5.0"),
        ({"lexical_weight": float("nan")}, "found nan"),
        ({"lexical_weight": float("inf")}, "found inf"),
    ],
)
def test_knobs_and_weights_out_of_range_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        SearchParams(**arguments)


def test_words_are_not_weighed_where_there_are_none(tmp_path):
    index = Index.build(tmp_path / "index", SparseVectors.from_dicts([{0: 1.0}], 2))
    queries = SparseVectors.from_dicts([{0: 1.0}], 2)
    with pytest.raises(InputError, match="expected an index with the lexical channel"):
        index.search(queries, params=SearchParams(lexical_weight=2.0))


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="expected precision u8, u16, f16, f32, found 'f8'"):
        IndexConfig("f8")


def test_a_window_of_too_many_entries_is_refused():
    assert _checked_slices(np.array([0, 2**32 - 1])).tolist() == [0, 2**32 - 1]
    with pytest.raises(InputError, match="expected fewer than"):
        _checked_slices(np.array([0, 2**32]))


def test_more_documents_than_can_be_numbered_are_refused(tmp_path, monkeypatch):
    assert builder.MAX_DOCUMENTS == 2**31 - 1  # documents are int32
    monkeypatch.setattr(builder, "MAX_DOCUMENTS", 2)
    with pytest.raises(InputError, match="expected at most 2 documents in a segment, found 3"):
        Index.build(tmp_path / "index", SparseVectors.from_dicts([{0: 1.0}] * 3, 1))


def test_prefetching_reads_nothing_even_outside_an_array():
    postings = np.zeros(3, POSTING)
    prefetch_range(postings, -(2**40), -(2**40) + 99, POSTING.itemsize)
    assert not postings["image"].any()


def test_stored_weights_of_a_document_are_given_by_term(tmp_path):
    index = Index.build(tmp_path / "index", SparseVectors.from_dicts([{}, {1: 2.0, 7: 0.5}], 9))
    terms = np.array([0, 1, 7, 8])
    assert index.weights_of(1, terms).tolist() == [0.0, 2.0, 0.5, 0.0]
    assert index.weights_of(0, terms).tolist() == [0.0] * 4
    assert index.document_frequency(terms).tolist() == [0, 1, 1, 0]


def test_a_segment_numbers_its_terms_itself_where_it_uses_few(tmp_path):
    corpus = random_vectors(301, 61, seed=11)
    spread = SparseVectors(corpus.offsets, corpus.terms * 1000, corpus.weights, 61_000)
    queries = random_vectors(23, 61, seed=12)
    asked = SparseVectors(queries.offsets, queries.terms * 1000, queries.weights, 61_000)
    narrow, wide = (
        Index.build(tmp_path / name, vectors)
        for name, vectors in (("narrow", corpus), ("wide", spread))
    )
    assert segment_of(wide).vocab_size == segment_of(narrow).vocab_size == 61
    found, expected = wide.search(asked, 10), narrow.search(queries, 10)
    assert np.array_equal(found.docs, expected.docs)
    assert np.array_equal(found.scores, expected.scores)
    assert (wide.row(7)[0] == narrow.row(7)[0] * 1000).all()
    foreign = SparseVectors(queries.offsets, queries.terms * 1000 + 1, queries.weights, 61_000)
    assert (wide.search(foreign, 10).docs == -1).all()


@pytest.mark.parametrize("share", [0.5, 0.05, 0.0005])
@pytest.mark.parametrize("knobs", [EXACT, EXACT._replace(cut=0.5, slack=0.9)])
def test_documents_that_are_not_allowed_are_never_found(tmp_path, share, knobs):
    """The result holds min(k, matches) documents; an exact one is the reference's, filtered."""
    corpus = random_vectors(2003, 61, seed=5, weights="ties")
    queries = random_vectors(31, 61, seed=6, longest=30)
    allowed = np.random.default_rng(7).random(2003) < share
    segment = segment_of(Index.build(tmp_path / "index", corpus))
    found, _ = segment.search(queries, 10, knobs, allowed=allowed)
    everything = reference.search(corpus, queries, 2003)
    for query in range(31):
        docs, scores = everything.row(query)
        docs, scores = docs[allowed[docs]], scores[allowed[docs]]
        assert allowed[found.row(query)[0]].all()
        assert found.row(query)[0].size == min(10, docs.size)
        if knobs == EXACT:
            assert found.row(query)[0].tolist() == docs[:10].tolist()
            assert found.row(query)[1].tolist() == scores[:10].tolist()
