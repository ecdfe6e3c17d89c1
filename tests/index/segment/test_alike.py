"""Words that begin alike or lie near one another, against comparing every word with every other."""

import random

import pytest

from tamis.index.segment.alike import Beginnings, Letters, distances
from tamis.index.segment.dictionary import DictionaryWriter


def naive_distance(one, other):
    """Optimal string alignment, as its definition says."""
    table = {}
    for i in range(len(one) + 1):
        for j in range(len(other) + 1):
            if not (i and j):
                table[i, j] = i + j
                continue
            ways = [table[i - 1, j] + 1, table[i, j - 1] + 1]
            ways.append(table[i - 1, j - 1] + (one[i - 1] != other[j - 1]))
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                ways.append(table[i - 2, j - 2] + 1)
            table[i, j] = min(ways)
    return table[len(one), len(other)]


def random_words(letters, seed, count=300):
    draw = random.Random(seed)
    return list(
        dict.fromkeys(
            "".join(draw.choice(letters) for _ in range(draw.randrange(1, 7))) for _ in range(count)
        )
    )


@pytest.mark.parametrize("letters", ["abc", "aé日z9", "жид"])
@pytest.mark.parametrize("edits", [1, 2])
def test_near_words_are_those_that_comparing_all_finds(letters, edits):
    words = random_words(letters, seed=edits)
    writer = DictionaryWriter(first_term=5)
    terms = writer.add(words)
    writer.count_documents(terms[1:])  # the first word is in no document
    dictionary = writer.dictionary()
    for word in words[:40]:
        expected = [
            5 + at for at, other in enumerate(words) if at and naive_distance(word, other) <= edits
        ]
        assert dictionary.near(word, edits).tolist() == expected


def test_distances_are_those_of_the_definition():
    words = random_words("abcd", seed=3)
    for word in words[:40]:
        expected = [naive_distance(word, other) for other in words]
        assert distances(word, words).tolist() == expected


def test_words_that_begin_so_are_found():
    words = random_words("abé", seed=4)
    writer = DictionaryWriter(first_term=3)
    writer.add(words)
    for prefix in ["a", "ab", "aba", "é", "bé", "béa", "abéabéabé"]:
        expected = [3 + at for at, word in enumerate(words) if word.startswith(prefix)]
        assert writer.dictionary().beginning(prefix).tolist() == expected
    assert writer.dictionary().beginning("").size == 0


def test_scans_keep_seven_bytes_a_word():
    words = random_words("abc", seed=6)
    writer = DictionaryWriter()
    writer.add(words)
    arrays = writer.arrays()
    text, offsets = arrays["text"], arrays["offsets"]
    assert Letters(text, offsets).size_bytes == 5 * len(words)
    assert Beginnings(text, offsets).pairs.nbytes == 2 * len(words)
    assert DictionaryWriter().dictionary().near("word", 2).size == 0
