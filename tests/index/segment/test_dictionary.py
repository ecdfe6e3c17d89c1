"""Truth: a Python dict of the same words."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from tamis.index.errors import CorruptionError, InputError, MismatchError
from tamis.index.segment.dictionary import TERM_LIMIT, Dictionary, DictionaryWriter

FIRST_TERM = 30_522
WORDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=200)


def scattered(i: int) -> str:
    """Distinct words of up to eight letters for numbers below 2**32."""
    return f"{i * 2_654_435_761 % 2**32:x}"


def written(words, first_term=FIRST_TERM) -> Dictionary:
    writer = DictionaryWriter(first_term)
    writer.add(words)
    return writer.dictionary()


def numbered(count: int) -> list[str]:
    rng = np.random.default_rng(7)
    return [f"w{number:x}" for number in rng.permutation(10 * count)[:count]]


@given(WORDS, st.integers(0, 250_000))
@example([""], 0)
@example(["ß", "日本", "\U0001d4b3", "a\x00b", "a"], 0)
def test_words_come_back_from_their_ids_in_the_order_they_came(words, first_term):
    truth = {word: first_term + i for i, word in enumerate(dict.fromkeys(words))}
    writer = DictionaryWriter(first_term)

    assert writer.add(words).tolist() == [truth[word] for word in words]

    found = writer.dictionary()
    assert len(found) == len(truth)
    assert found.vocab_size == first_term + len(truth)
    assert found.lookup_many(list(truth)).tolist() == list(truth.values())
    assert [found.word(term) for term in truth.values()] == list(truth)


@given(WORDS, WORDS)
def test_words_never_added_are_unknown(words, others):
    found = written(words)

    assert [word for word in others if found.lookup(word) >= 0] == [
        word for word in others if word in set(words)
    ]


@given(WORDS, WORDS)
def test_going_on_from_a_dictionary_equals_writing_it_in_one_go(first, more):
    writer = DictionaryWriter(FIRST_TERM, base=written(first))
    writer.add(more)
    whole = written(first + more)

    assert writer.dictionary().fingerprint == whole.fingerprint
    assert writer.dictionary().lookup_many(first + more).tolist() == (
        whole.lookup_many(first + more).tolist()
    )


@pytest.mark.parametrize("count", [41, 42, 43, 44, 85, 86, 5_461, 5_462, 20_011])
def test_no_word_is_lost_when_the_table_grows(count):
    words = numbered(count)
    found = written(words)
    table = found.arrays()["slots"]

    assert found.lookup_many(words).tolist() == list(range(FIRST_TERM, FIRST_TERM + count))
    assert np.count_nonzero(table) == count
    assert count / table.size <= 2 / 3


def test_words_of_equal_hash_tags_are_told_apart():
    seen: dict[int, str] = {}
    for i in range(2**20):  # two among some 80,000 share 32 bits
        other = seen.setdefault(xxh3_64_intdigest(f"{i}".encode()) >> 32, f"{i}")
        if other != f"{i}":
            break

    assert written([other]).lookup(f"{i}") == -1
    assert written([other, f"{i}"]).lookup_many([other, f"{i}"]).tolist() == [
        FIRST_TERM,
        FIRST_TERM + 1,
    ]


def test_slots_that_pass_the_end_of_the_table_go_round_when_it_grows():
    # Words whose hash begins with ones want the last slots, before and after each growth.
    every = (f"{i}" for i in range(2**20))
    last = [word for word in every if xxh3_64_intdigest(word.encode()) >> 50 == 2**14 - 1][:9]
    words = [*last, *numbered(100)]
    found = written(words)

    assert len(last) == 9
    assert found.lookup_many(words).tolist() == list(range(FIRST_TERM, FIRST_TERM + len(words)))


def test_a_memory_map_of_the_arrays_answers_as_the_arrays_do(tmp_path):
    words = numbered(997)
    arrays = written(words).arrays()
    mapped = {}
    for name, array in arrays.items():
        array.tofile(tmp_path / name)
        mapped[name] = np.memmap(tmp_path / name, array.dtype, "r")

    found = Dictionary.from_arrays(mapped)

    assert found.lookup_many(words).tolist() == list(range(FIRST_TERM, FIRST_TERM + 997))
    assert found.fingerprint == written(words).fingerprint


def test_a_longer_dictionary_is_compatible_with_vectors_of_its_prefix():
    short, long = written(["tea", "cup"]), written(["tea", "cup", "pot"])

    long.check_prefix(len(short), short.fingerprint)
    long.check_prefix(0, written([]).fingerprint)


@pytest.mark.parametrize(
    "other",
    [
        written(["cup", "tea", "pot"]),
        written(["teac", "up", "pot"]),
        written(["tea", "cup", "pot"], first_term=FIRST_TERM + 1),
        written(["tea"]),
    ],
    ids=["another order", "another cut", "another first term", "shorter"],
)
def test_another_dictionary_is_refused(other):
    with pytest.raises(MismatchError, match=r"expected .* found .*; open"):
        other.check_prefix(2, written(["tea", "cup"]).fingerprint)


def test_a_fingerprint_of_more_words_than_there_are_is_refused():
    with pytest.raises(InputError, match="0 to 1 words, found 2"):
        written(["tea"]).fingerprint_of(2)


def test_document_frequencies_add_up_over_batches_and_stay_with_their_generation():
    writer = DictionaryWriter(5)
    writer.add(["tea", "cup", "pot"])
    writer.count_documents(np.array([5, 6, 6], np.int32))
    writer.add(["tin"])
    writer.count_documents(np.array([8, 5], np.int32))
    old = writer.document_frequency()
    writer.add(["new"])

    assert old.tolist() == [2, 2, 0, 1]
    found = Dictionary.from_arrays(writer.arrays() | {"document_frequency": old})
    assert found.document_frequency([5, -1, 8, 9, 5]).tolist() == [2, 0, 1, 0, 2]
    again = DictionaryWriter(5, base=found)
    again.count_documents(np.array([9, 5], np.int32))
    assert again.document_frequency().tolist() == [3, 2, 0, 1, 1]


@pytest.mark.parametrize("terms", [[4], [8], [5, -2]])
def test_document_frequencies_of_ids_that_are_no_words_are_refused(terms):
    found = written(["tea", "cup", "pot"], first_term=5)

    with pytest.raises(InputError, match="from 5 to 7 or -1"):
        found.document_frequency(terms)
    writer = DictionaryWriter(5, base=found)
    with pytest.raises(InputError, match="from 5 to 7"):
        writer.count_documents(np.array(terms, np.int32))


def test_lone_surrogates_are_refused_as_words_and_unknown_to_lookups():
    with pytest.raises(InputError, match="lone surrogate"):
        DictionaryWriter().add(["tea", "\ud800"])

    assert written(["tea"]).lookup("\ud800") == -1


def test_the_vocabulary_never_passes_what_int32_can_number():
    writer = DictionaryWriter(TERM_LIMIT - 2)

    assert writer.add(["last", "one"]).tolist() == [TERM_LIMIT - 2, TERM_LIMIT - 1]
    with pytest.raises(InputError, match="split the corpus"):
        writer.add(["one", "more"])
    assert writer.dictionary().lookup("one") == TERM_LIMIT - 1
    assert writer.vocab_size == np.iinfo(np.int32).max


@pytest.mark.parametrize("term", [FIRST_TERM - 1, FIRST_TERM + 2, -1])
def test_the_word_of_an_id_outside_the_dictionary_is_refused(term):
    with pytest.raises(InputError, match=f"found {term}"):
        written(["tea", "cup"]).word(term)


def test_a_first_term_that_differs_from_the_base_is_refused():
    with pytest.raises(InputError, match="as before, found 3"):
        DictionaryWriter(3, base=written(["tea"]))
    with pytest.raises(InputError, match="as before, found 3"):
        DictionaryWriter(3, base=written([]))
    with pytest.raises(InputError, match="found -1"):
        DictionaryWriter(-1)


@pytest.mark.parametrize(
    "broken",
    [
        {"slots": np.zeros(63, np.uint64)},
        {"slots": np.zeros(2, np.uint64)},
        {"slots": np.zeros(64, np.int64)},
        {"slots": None},
        {"text": np.zeros(5, np.uint8)},
        {"offsets": np.array([1, 3, 6])},
        {"offsets": np.zeros(0, np.int64)},
        {"offsets": np.zeros((3, 1), np.int64)},
        {"first_term": np.array([-1])},
        {"first_term": np.array([TERM_LIMIT - 1])},
    ],
    ids=lambda broken: next(iter(broken)),
)
def test_arrays_that_do_not_fit_together_are_refused(broken):
    with pytest.raises(CorruptionError, match="restore the folder"):
        Dictionary.from_arrays(written(["tea", "cup"]).arrays() | broken)


@pytest.mark.parametrize(
    "counts", [np.ones(2, np.int32), np.ones(1, np.int64), np.ones((1, 1), np.int32)]
)
def test_document_frequencies_that_do_not_fit_the_words_are_refused(counts):
    with pytest.raises(CorruptionError, match="at most one int32 document frequency"):
        Dictionary.from_arrays(written(["tea"]).arrays() | {"document_frequency": counts})


def test_without_document_frequencies_every_word_counts_zero():
    arrays = written(["tea"]).arrays()
    del arrays["document_frequency"]

    assert Dictionary.from_arrays(arrays).document_frequency([FIRST_TERM]).tolist() == [0]


def test_exported_arrays_stay_as_they_are_while_more_words_come():
    writer = DictionaryWriter()
    writer.add(["tea"])
    before = writer.arrays()
    writer.add(numbered(500))

    assert Dictionary.from_arrays(before).lookup_many(["tea", "w1"]).tolist() == [0, -1]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1_000_000, 10_000_000])
def test_millions_of_words_open_in_a_moment_and_stay_small(tmp_path, count):
    writer = DictionaryWriter(FIRST_TERM)
    for i in range(count):
        writer.add_word(scattered(i))
    mapped = {}
    for name, array in writer.arrays().items():
        array.tofile(tmp_path / name)
        mapped[name] = np.memmap(tmp_path / name, array.dtype, "r")

    began = time.perf_counter()
    found = Dictionary.from_arrays(mapped)
    assert found.lookup(scattered(count // 3)) == FIRST_TERM + count // 3
    assert time.perf_counter() - began < 0.5  # measured: 1 to 13 ms
    assert found.size_bytes / count < 40  # measured: 37 at one million, 34 at ten
