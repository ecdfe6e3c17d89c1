"""A map of shards gives every hash to one of them, and says what is wrong with it."""

from itertools import pairwise

import pytest
import xxhash

from tamis.api.broker.shard_map import equal_ranges, read_shard_map
from tamis.index.errors import InputError

GOOD = """
index = "papers"
[[shards]]
name = "a"
addresses = ["http://10.0.0.1:8080", "http://10.0.0.2:8080"]
hashes = ["0", "7f"]
[[shards]]
name = "b"
addresses = ["https://b.example"]
hashes = ["80", "ff"]
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "shards.toml"
        path.write_text(text)
        return read_shard_map(path)

    return read


def test_a_document_belongs_to_the_shard_of_its_hash(read):
    found = read(GOOD)
    for number in range(200):
        doc_id = f"doc-{number}"
        is_second = xxhash.xxh3_64_intdigest(doc_id.encode()) >= 1 << 63
        assert found.shard_of(doc_id, is_chunked=False) == is_second
        assert found.shard_of(f"{doc_id}#7", is_chunked=True) == is_second


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 64])
def test_equal_ranges_hold_every_hash_once(shards):
    ranges = [(int(first, 16), int(last, 16)) for first, last in equal_ranges(shards)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 2**64 - 1
    assert all(last + 1 == first for (_, last), (first, _) in pairwise(ranges))
    sizes = [last - first for first, last in ranges]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('["80", "ff"]', '["81", "ff"]', "found a gap"),
        ('["80", "ff"]', '["70", "ff"]', "found an overlap"),
        ('["80", "ff"]', '["80", "fe"]', "found a gap from ff00000000000000 on"),
        ('["0", "7f"]', '["1", "7f"]', "found a gap"),
        ('["0", "7f"]', '["7f", "0"]', "found a gap"),
        ('["80", "ff"]', '["80", "xyz"]', "expected a map of shards"),
        ('name = "b"', 'name = "a"', "each name once"),
        ('"https://b.example"', '"http://10.0.0.1:8080/"', "each address once"),
        ('"https://b.example"', '"b.example:80"', "expected an address"),
        ('"https://b.example"', '"http://b.example/tamis?x=1"', "expected an address"),
        ('addresses = ["https://b.example"]', "addresses = []", "expected a map of shards"),
        ('index = "papers"', "", "expected a map of shards"),
        ('index = "papers"', "index = 'a b'", "expected a map of shards"),
        ("[[shards]]", "[shards", "expected a map of shards as TOML"),
        ('name = "b"', 'name = "b"\ncolour = "red"', "expected a map of shards"),
    ],
)
def test_a_faulty_map_is_refused_in_one_line(read, old, new, said):
    assert old in GOOD
    with pytest.raises(InputError, match=r"shards\.toml: expected") as refused:
        read(GOOD.replace(old, new))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_map_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="found none to read"):
        read_shard_map(tmp_path / "none.toml")
