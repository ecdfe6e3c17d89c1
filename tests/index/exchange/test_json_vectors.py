"""JSON vectors in the shapes that other programs write, and in shapes that nobody means."""

import gzip
import json

import numpy as np
import pytest
import zstandard

from tamis.index import InputError
from tamis.index.exchange.json_vectors import JsonVectors

NEXT_UP = float(np.nextafter(np.finfo(np.float32).max, np.inf, dtype=np.float64)) * 1.001


def read(path, vocab_size=None, **more):
    """Ids and vectors, as dicts."""
    found = JsonVectors.survey(path, vocab_size, **more)
    rows = [row for batch in found.batches() for row in batch.to_dicts()]
    ids = [document.doc_id for document in found.documents()]
    assert len(ids) == found.count
    return dict(zip(ids, rows, strict=True))


def written(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def qdrant(vectors, **more):
    return json.dumps({"id": 7, "vector": vectors, **more})


PAIRS = {"indices": [3, 1], "values": [2.0, 1]}


@pytest.mark.parametrize(
    "lines",
    [
        ['{"id": "7", "contents": "", "vector": {"1": 1, "3": 2.0}}'],  # Anserini
        ['{"id": "7", "content": "", "vector": {"3": 2.0, "1": 1, "5": 0}}'],  # Seismic
        ['{"index": {"_id": "7"}}', '{"vector": {"1": 1, "3": 2}}'],  # OpenSearch
        ['{"create": {"_index": "x", "_id": 7}}', "", '{"_id": "own", "vector": {"1": 1, "3": 2}}'],
        [qdrant({"vector": PAIRS}, payload={"_id": "7"})],
        [qdrant({"vector": PAIRS}, payload={"city": "Berlin"})],
        [qdrant({"text": PAIRS, "dense": [0.5, 0.25]}, payload=None)],
        [qdrant({"text": PAIRS | {"indices": [9, 8]}, "vector": PAIRS})],
        [qdrant(PAIRS)],
        ['{"_id": "7", "vector": {"1": 1.0, "3": 2.0}}'],
        ['{"docid": 7, "vector": {"01": 1.0, "3": 2.0}}'],
        ['\ufeff{"id": 7, "vector": {"1": 1.0, "3": 2.0, "6": 1e-46, "4": 5e-324}}'],
    ],
)
def test_the_shapes_that_engines_write_are_read_alike(tmp_path, lines):
    assert read(written(tmp_path / "v.jsonl", *lines), 10) == {"7": {1: 1.0, 3: 2.0}}


LINES = [f'{{"id": "d{n}", "vector": {{"{n}": 1.5}}}}' for n in range(3)]


@pytest.mark.parametrize(
    ("lines", "fields"),
    [
        (['{"id": 7, "contents": "a", "n": null, "vector": {}}'], {"contents": "a", "n": None}),
        (['{"_id": 7, "id": "own", "vector": {}}'], {"id": "own"}),
        (
            ['{"index": {"_id": 7}}', '{"_id": "own", "city": "Bonn", "vector": {}}'],
            {"_id": "own", "city": "Bonn"},
        ),
        ([qdrant(PAIRS, payload={"_id": "7", "vector": "x", "id": 1})], {"vector": "x", "id": 1}),
        ([qdrant(PAIRS, payload=None, shard_key=None)], {}),
    ],
)
def test_what_a_document_holds_beside_its_vector_is_kept(tmp_path, lines, fields):
    (document,) = JsonVectors.survey(written(tmp_path / "v.jsonl", *lines)).documents()
    assert (document.doc_id, document.fields) == ("7", fields)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("v.json", "[\n" + ",\n".join(LINES) + "]"),
        ("v.json", "\ufeff[" + ",".join(LINES) + "]"),
        ("v.json", "\n".join(LINES)),
        ("v.ndjson", "\ufeff" + "\r\n".join(LINES)),
        ("v.jsonl.gz", "\n".join(LINES)),
        ("v.json.gz", "[" + ",".join(LINES) + "]"),
        ("v.jsonl.zst", "\n".join(LINES)),
        ("v.json.zst", "[" + ",".join(LINES) + "]"),
    ],
)
def test_arrays_and_lines_are_read_packed_or_not(tmp_path, name, text):
    data = text.encode()
    if name.endswith(".gz"):
        data = gzip.compress(data)
    elif name.endswith(".zst"):
        data = zstandard.ZstdCompressor().compress(data)
    (tmp_path / name).write_bytes(data)
    assert read(tmp_path / name) == {f"d{n}": {n: 1.5} for n in range(3)}
    if name.endswith((".gz", ".zst")):
        (tmp_path / name).write_bytes(data[:-5])
        with pytest.raises(InputError, match="whole"):
            read(tmp_path / name)


def test_a_folder_of_files_is_read_in_the_order_of_their_names(tmp_path):
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write('{"id": 2, "vector": {"4": 1}}\n')
    written(tmp_path / "a.jsonl", '{"id": "1", "vector": {"7": 0.5, "3": 0, "2": 2}}', "")
    (tmp_path / "notes.txt").write_text("no vectors")
    found = JsonVectors.survey(tmp_path)
    assert (found.count, found.vocab_size) == (2, 8)
    places = [(document.doc_id, document.place) for document in found.documents()]
    assert places == [("1", f"{tmp_path}/a.jsonl:1"), ("2", f"{tmp_path}/b.jsonl.gz:1")]
    (vectors,) = found.batches()
    assert vectors.to_dicts() == [{2: 2.0, 7: 0.5}, {4: 1.0}]
    (rest,) = found.batches(1)
    assert rest.to_dicts() == [{4: 1.0}]
    with pytest.raises(InputError, match=r"expected JSON vectors.*found none"):
        JsonVectors.survey(tmp_path / "notes.txt")


def test_a_term_means_the_same_whatever_stands_beside_it(tmp_path):
    """A piece that is spelled as a number is no term's number, where an encoder is named."""
    spelled = {"sieve": 3, "2019": 1}.get
    year = '{"id": "a", "vector": {"2019": 1.5}}'
    word = '{"id": "b", "vector": {"sieve": 2}}'
    pairs = qdrant({"indices": [2], "values": [1.0]})  # numbers, which no encoder spells
    path = written(tmp_path / "v.jsonl", year)
    assert read(path, 5, term_id=spelled) == {"a": {1: 1.5}}
    assert read(path) == {"a": {2019: 1.5}}
    written(path, year, word, pairs)
    assert read(path, 5, term_id=spelled) == {"a": {1: 1.5}, "b": {3: 2.0}, "7": {2: 1.0}}
    with pytest.raises(InputError, match=r"v\.jsonl:2: .*found 'sieve'; name the encoder"):
        read(path)
    with pytest.raises(InputError, match=r"v\.jsonl:2: .*found 'sieve'; name the encoder"):
        read(path, 5, term_id={"2019": 1}.get)


def vector(text):
    return f'{{"id": "a", "vector": {text}}}'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "expected JSON, found broken JSON"),
        ("[1]", "expected a JSON object, found list"),
        ('{"id": "a"}', "found no vector among the fields id; give an id and a vector"),
        (vector("[0.5]"), "found list among the fields"),
        ('{"vector": {}}', "expected a string or a whole number as id, found none"),
        ('{"id": true, "vector": {}}', "found bool; give one"),
        ('{"id": 1.5, "vector": {}}', "found float; give one"),
        ('{"id": "", "vector": {}}', "expected an id of 1 to 512 bytes, found 0"),
        ('{"id": "a\\nb", "vector": {}}', "without control characters"),
        ('{"id": 1180591620717411303424, "vector": {}}', "whole numbers of at most 64 bits"),
        ('{"id": "a", "id": "b", "vector": {}}', "found 'id' twice"),
        (vector('{"1": 1, "1": 1}'), "found '1' twice"),
        (vector('{"1": 1, "01": 2}'), "expected one weight for each term, found another for 1"),
        (vector('{"1": "2.5"}'), "weight of term '1', found '2.5'"),
        (vector('{"1": true}'), "found True"),
        (vector('{"1": null}'), "found None"),
        (vector('{"1": [1]}'), r"found \[1\]"),
        (vector('{"1": -1}'), "expected a finite number of 0 or more .* found -1"),
        (vector('{"1": -1e-300}'), "found -1e-300"),
        (vector('{"1": NaN}'), "broken JSON"),
        (vector('{"1": 1e999}'), "broken JSON"),
        (vector('{"1": 1e99}'), "found 1e\\+99"),
        (vector(f'{{"1": {NEXT_UP}}}'), "expected a finite number"),
        (vector('{"9": 1}'), "expected terms from 0 to 8, found 9"),
        (vector('{"-1": 1}'), "found '-1'; name the encoder"),
        (vector('{"\u0663": 1}'), "name the encoder"),  # a digit of another script
        (vector('{"99999999999999999999": 1}'), "name the encoder"),
        (vector('{"indices": [1, 2, 3], "values": [1.0, 2.0]}'), "3 indices and 2 values"),
        (vector('{"indices": [1], "values": [1.0, 2.0]}'), "1 indices and 2 values"),
        (vector('{"indices": [1, 1], "values": [1.0, 2.0]}'), "found 1 twice"),
        (vector('{"indices": ["1"], "values": [1.0]}'), "whole numbers as indices, found '1'"),
        (vector('{"indices": [1.0], "values": [1.0]}'), "whole numbers as indices, found 1.0"),
        (vector('{"indices": [true], "values": [1.0]}'), "found True"),
        (vector('{"indices": [[1]], "values": [1.0]}'), r"found \[1\]"),
        (vector('{"indices": [-1], "values": [1.0]}'), "expected terms from 0 to 8, found -1"),
        (vector('{"indices": [1], "values": ["1.0"]}'), "found '1.0'"),
        (vector('{"indices": [1], "values": {"1": 2}}'), "named vector|a list of indices"),
        (vector('{"indices": [1]}'), "a list of indices and one of values"),
        (vector('{"indices": [1], "values": [1], "size": 3}'), "a list of indices"),
        (qdrant({"a": PAIRS, "b": PAIRS}), "found the vectors a, b; leave the others out"),
        (qdrant({"dense": [1.0], "b": {}}), "expected one sparse vector"),
        ('{"delete": {"_id": "x"}}', "expected the bulk actions index and create, found delete"),
        ('{"index": {}}', "as id, found none"),
        ('{"index": {"_id": "a"}}', ":2: expected a document after this action, found the end"),
        ('{"index": {"_id": "a"}}\n{"index": {"_id": "b"}}', ":3: .*found no vector"),
    ],
)
def test_a_faulty_line_is_named(tmp_path, line, words):
    path = written(tmp_path / "v.jsonl", '{"id": "x", "vector": {"1": 2}}', line)
    with pytest.raises(InputError, match=rf"v\.jsonl:[23]: .*{words}|v\.jsonl{words}"):
        JsonVectors.survey(path, 9)


def test_an_object_of_an_array_is_named_by_its_number(tmp_path):
    (tmp_path / "v.json").write_text('[{"id": "a", "vector": {}},\n\n{"id": "b"}]')
    with pytest.raises(InputError, match=r"v\.json:2: .*found no vector"):
        JsonVectors.survey(tmp_path / "v.json")


def test_weights_are_kept_to_the_last_one_that_32_bits_hold(tmp_path):
    given = [1e-45, 1e-40, 1.2e-38, 3.4028234e38]
    rows = [f'{{"id": {n}, "vector": {{"0": {weight!r}}}}}' for n, weight in enumerate(given)]
    found = read(written(tmp_path / "v.jsonl", *rows))
    assert [row[0] for row in found.values()] == np.float32(given).tolist()
