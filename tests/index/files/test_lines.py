"""Packed lines: what is cut is refused wherever the cut is, by whichever packer."""

import gzip
import io
import random

import pytest
import zstandard

from tamis.index import InputError
from tamis.index.files.lines import json_file, json_lines, open_bytes, text_lines

LINES = [
    b'{"_id": "%d", "text": "%x"}\n' % (n, random.Random(n).getrandbits(900)) for n in range(99)
]
WHOLE = b"".join(LINES)


def zstd(data):
    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".zst", zstd)])
def test_packed_lines_are_whole_or_refused(tmp_path, ending, pack):
    path, packed = tmp_path / f"c.jsonl{ending}", pack(WHOLE)
    for size in [1, 10, *range(40, len(packed), 997), len(packed) - 1]:
        path.write_bytes(packed[:size])
        with (
            open_bytes(path) as stream,
            pytest.raises(InputError, match=r"c\.jsonl\.\w+:\d+: .*check that the file is whole"),
        ):
            list(text_lines(str(path), stream))
    for several in (packed, pack(b"".join(LINES[:50])) + pack(b"".join(LINES[50:]))):
        path.write_bytes(several)
        with open_bytes(path) as stream:
            assert stream.read() == WHOLE
        with open_bytes(path) as stream:
            assert len(list(json_lines(str(path), stream))) == 99


def test_a_skippable_frame_is_passed_over(tmp_path):
    """As pzstd and seekable writers put between frames."""
    path = tmp_path / "c.jsonl.zst"
    path.write_bytes(zstd(WHOLE) + b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstd(WHOLE))
    with open_bytes(path) as stream:
        assert stream.read() == WHOLE * 2


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".zst", zstd)])
def test_one_packed_json_value_is_whole_or_refused(tmp_path, ending, pack):
    packed = pack(b"[\n" + b",".join(LINES) + b"]")
    path = tmp_path / f"c.json{ending}"
    path.write_bytes(packed)
    assert len(list(json_file(path))) == 99
    path.write_bytes(packed[:-9])
    with pytest.raises(InputError, match="check that"):
        list(json_file(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"_id": "a", "_id": "b"}', "c.json:1: expected each name of a JSON object once"),
        ('{"_id": "a"}\n{"a": {"b": 1, "b": 1}}', "c.json:2: expected each name"),
        (
            '[{"_id": "a",\n "_id": "b"}]',
            "found '_id' twice in the one that begins with '_id': 'a'",
        ),
        ("[{},\n{]", "c.json:2: expected JSON, found broken JSON"),
        ("[{}, 5]", "c.json:2: expected a JSON object, found int"),
    ],
)
def test_faulty_json_files_are_told_by_line(tmp_path, text, words):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(InputError) as told:
        list(json_file(path))
    assert words in str(told.value)


@pytest.mark.parametrize("text", ['{"_id": "a"}\n{"_id": "b"}', '[{"_id": "a"},\n{"_id": "b"}]'])
def test_a_byte_order_mark_is_passed_over(tmp_path, text):
    path = tmp_path / "c.json"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [row for _, row in json_file(path)] == [{"_id": "a"}, {"_id": "b"}]
    lines = json_lines("c", io.BytesIO(b"\xef\xbb\xbf" + b"\n".join([b"{}", b"\xef\xbb\xbf{}"])))
    assert list(lines) == [(1, {}), (2, {})]
