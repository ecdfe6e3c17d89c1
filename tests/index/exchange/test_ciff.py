"""CIFF: against messages written by hand, and back through a file. test_peers has the toolkit."""

import numpy as np
import pytest
from vectors_of import random_vectors

from tamis.index import FormatError, InputError, SparseVectors
from tamis.index.exchange.ciff import read_ciff, renumbered, write_ciff
from tamis.index.exchange.interchange import whole_numbers

IDS = [f"d{n}" for n in range(307)]
# One document "ab" of length 300 with term "x" 300 times, as protoc encodes it: length, message.
HEADER = bytes([2 + 2 + 2 + 2 + 2 + 3 + 9, 8, 1, 16, 1, 24, 1, 32, 1, 40, 1, 48, 0xAC, 2, 57]) + (
    b"\0\0\0\0\0\xc0\x72\x40"  # 300.0
)
LIST = bytes([3 + 2 + 3 + 7, 10, 1, 120, 16, 1, 24, 0xAC, 2, 34, 5, 8, 0, 16, 0xAC, 2])
RECORD = bytes([4 + 3, 18, 2, 97, 98, 24, 0xAC, 2])  # document 0: protoc leaves zeros out


def test_bytes_written_by_hand_are_read(tmp_path):
    (tmp_path / "v.ciff").write_bytes(HEADER + LIST + RECORD)
    found = read_ciff(tmp_path / "v.ciff")
    assert (found.ids, found.terms) == (["ab"], ["x"])
    assert found.vectors.to_dicts() == [{0: 300.0}]


def test_the_same_bytes_are_written_but_for_zeros_and_the_description(tmp_path):
    vectors = SparseVectors.from_dicts([{5: 300.0}], 6)
    write_ciff(tmp_path / "v.ciff", vectors, ["ab"], lambda term: "x")
    data = (tmp_path / "v.ciff").read_bytes()
    assert data == (
        bytes([HEADER[0] + 2]) + HEADER[1:] + bytes([66, 0]) + LIST
        + bytes([9, 8, 0]) + RECORD[1:]
    )  # fmt: skip


@pytest.mark.parametrize("name", ["v.ciff", "v.ciff.gz"])
@pytest.mark.parametrize("scale", [10, 100_000])
def test_vectors_come_back_by_the_spelling_of_their_terms(tmp_path, name, scale):
    given = whole_numbers(random_vectors(307, 83, seed=4), scale)
    write_ciff(tmp_path / name, given, IDS)
    found = read_ciff(tmp_path / name)
    assert found.ids == IDS
    assert found.terms == sorted(map(str, np.unique(given.terms).tolist()))
    again = renumbered(found, 83, int)
    assert again.to_dicts() == given.to_dicts()


def test_no_documents_and_unknown_terms(tmp_path):
    write_ciff(tmp_path / "v.ciff", SparseVectors.empty(3), [])
    assert read_ciff(tmp_path / "v.ciff").ids == []
    (tmp_path / "w.ciff").write_bytes(HEADER + LIST + RECORD)
    with pytest.raises(InputError, match="found 'x'; name the encoder"):
        renumbered(read_ciff(tmp_path / "w.ciff"), 5, {}.get)


def varint(value):
    value %= 1 << 64
    parts = []
    while value >= 128:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def field(number, value):
    if isinstance(value, int):
        return bytes([number << 3]) + varint(value)
    return bytes([number << 3 | 2]) + varint(len(value)) + value


def ciff(lists, documents, last=b""):
    """A file of (term, [(gap, weight)]) lists and (number, id) documents, in protobuf's own way."""
    messages = [field(1, 1) + field(2, len(lists)) + field(3, len(documents))]
    for term, postings in lists:
        packed = [field(4, field(1, gap) + field(2, weight)) for gap, weight in postings]
        messages.append(field(1, term.encode()) + field(2, len(postings)) + b"".join(packed))
    messages += [field(1, number) + field(2, doc_id.encode()) for number, doc_id in documents]
    return b"".join(varint(len(message)) + message for message in messages) + last


AB = [(0, "a"), (1, "b")]


def test_lists_and_documents_may_come_in_any_order_and_hold_zeros(tmp_path):
    lists = [("9", [(1, 4)]), ("10", [(0, 2), (1, 0)]), ("8", [])]
    (tmp_path / "v.ciff").write_bytes(ciff(lists, AB[::-1]))
    found = read_ciff(tmp_path / "v.ciff")
    assert found.ids == ["a", "b"]
    vectors = renumbered(found, None, int)
    assert (vectors.vocab_size, vectors.to_dicts()) == (11, [{10: 2.0}, {9: 4.0}])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (ciff([("x", [(0, 1), (0, 2)])], AB), "do not rise, or negative weights, for term 'x'"),
        (ciff([("x", [(1, 1), (-1, 2)])], AB), "do not rise"),
        (ciff([("x", [(0, -1)])], AB), "negative weights, for term 'x'"),
        (ciff([("x", [(2, 1)])], AB), "a posting of document 2 of 2"),
        (ciff([("x", [(-1, 1)])], AB), "a posting of document"),
        (ciff([("x", [(0, 1)]), ("x", [(1, 1)])], AB), "two lists for term 'x'"),
        (ciff([], [(0, "a"), (0, "b")]), "1 documents that are not numbered from 0 to 1"),
        (ciff([], AB, b"\0"), "more than the 0 lists and 2 documents of its header"),
        (ciff([], AB, ciff([], AB)), "more than the 0 lists"),
        (ciff([], AB, b"\x80" * 20), "a message of 0 bytes"),
        (ciff([], [(0, "a")]).replace(b"\x01a", b"\x09a"), "longer than its message"),
        (ciff([], AB)[:-4], "ends"),
    ],
)
def test_a_faulty_file_says_what_is_wrong(tmp_path, data, words):
    (tmp_path / "v.ciff").write_bytes(data)
    with pytest.raises(FormatError) as told:
        read_ciff(tmp_path / "v.ciff")
    assert str(told.value).startswith(f"{tmp_path / 'v.ciff'}: expected CIFF, found something else")
    assert words in str(told.value)


def test_two_spellings_of_one_number_are_refused(tmp_path):
    (tmp_path / "v.ciff").write_bytes(ciff([("1", [(0, 1)]), ("01", [(1, 1)])], AB))
    with pytest.raises(InputError, match="expected a number of its own for each term, found two"):
        renumbered(read_ciff(tmp_path / "v.ciff"), None, int)


def test_a_damaged_file_is_refused_whichever_byte_is_lost(tmp_path):
    whole = HEADER + LIST + RECORD
    for length in range(len(whole)):
        (tmp_path / "v.ciff").write_bytes(whole[:length])
        with pytest.raises(FormatError, match="expected CIFF"):
            read_ciff(tmp_path / "v.ciff")
    (tmp_path / "v.ciff").write_bytes(whole[:2] + b"\2" + whole[3:])
    with pytest.raises(FormatError, match="expected CIFF version 1, found 2"):
        read_ciff(tmp_path / "v.ciff")
    with pytest.raises(InputError, match="check the path"):
        read_ciff(tmp_path / "none.ciff")


def test_random_bytes_are_refused_or_read_but_never_crash(tmp_path):
    rng = np.random.default_rng(7)
    whole = np.frombuffer(HEADER + LIST + RECORD, np.uint8)
    for _ in range(2000):
        data = whole.copy()
        data[rng.integers(data.size)] = rng.integers(256)
        (tmp_path / "v.ciff").write_bytes(data.tobytes())
        try:
            read_ciff(tmp_path / "v.ciff")
        except (FormatError, InputError):
            continue


@pytest.mark.parametrize("number", [2**31, 2**32, 9_999_999_999])
def test_a_number_that_is_no_term_is_refused(tmp_path, number):
    given = SparseVectors.from_dicts([{0: 1.0}], 1)
    write_ciff(tmp_path / "v.ciff", given, ["a"], lambda _: str(number))
    with pytest.raises(InputError, match=f"expected term ids from 0 to 2147483647, found {number}"):
        renumbered(read_ciff(tmp_path / "v.ciff"), None, int)
