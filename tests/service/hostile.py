"""Requests that nobody should send: method, path, headers and body of each."""

import gzip
import json
import zlib

import zstandard

SEARCH = "/v1/indexes/birds/search"
DOCUMENTS = "/v1/indexes/birds/documents"
NDJSON = {"content-type": "application/x-ndjson"}
DEEP = 100_000


def deep(start, end, times=DEEP):
    return (start * times + end * times).encode()


BODIES = [
    b"",
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b"null",
    b"true",
    b"0",
    b'""',
    b"[]",
    b"{}",
    b"{",
    b'{"query"',
    b'{"query": }',
    b'{"query": NaN}',
    b'{"query": Infinity}',
    b'{"query": -Infinity}',
    b'{"query": 1e308}',
    b'{"query": 1e99999}',
    b'{"query": -0}',
    b'{"query": 99999999999999999999999999999999}',
    b'{"query": "\\ud800"}',
    b'{"query": "\\udfff\\ud800"}',
    b'{"query": "\xed\xa0\x80"}',
    b'{"query": "\\u0000"}',
    b'{"query": "a", "query": "b"}',
    b'{"query": "a", "k": 1e308}',
    b'{"query": "a", "k": -1}',
    b'{"query": "a", "k": 1.5}',
    b'{"query": "a", "k": 9223372036854775808}',
    b'{"query": "a", "offset": 18446744073709551616}',
    b'{"query": "a", "recall": 1e-320}',
    b'{"query": "a", "recall": NaN}',
    b'{"query": "a", "lexical_weight": 1e308}',
    b'{"query": "a", "lexical_weight": 1e-308}',
    b'{"query": "a", "timeout_ms": 0.5}',
    b'{"query": "a", "fields": [null]}',
    b'{"query": "a", "group_by": "text"}',
    b'{"query": "a", "group_by": ""}',
    b'{"query": "a", "cursor": "AAAA"}',
    b'{"query": "a", "cursor": "' + b"A" * 5000 + b'"}',
    b'{"query": "a", "rerank": {"depth": 1e9}}',
    b'{"query": "a", "filter": {"must": "x"}}',
    b'{"query": "a", "filter": {"field": "year", "range": {"gte": "\\ud800"}}}',
    b'{"query": "a", "filter": {"field": "year", "range": {"gte": NaN}}}',
    b'{"query": "a", "filter": {"field": "year", "range": {"gte": 1e308, "lt": -1e308}}}',
    b'{"query": "a", "filter": {"field": {"a": 1}, "in": [[]]}}',
    b'{"query": "a", "filter": {"field": "year", "in": [{}, null, true, 1e999]}}',
    b'{"query": {"vector": {"=a": 1e308}}}',
    b'{"query": {"vector": {"=a": -1}}}',
    b'{"query": {"vector": {"=a": null}}}',
    b'{"query": {"vector": {"": 1}}}',
    b'{"query": {"vector": {"=": 1, "==": 1, "===": 1}}}',
    b'{"query": {"vector": {"\\u0000": 1}}}',
    b'{"query": {"vector": []}}',
    b'{"query": "' + b"a " * 20_000 + b'"}',
    b'{"query": "' + "\u202e\u0300".encode() * 1000 + b'"}',
    b'{"query": "' + "\U0001f989".encode() * 1000 + b'"}',
    b'{"query": "' + b"((((" * 1000 + b'"}',
    b'{"query": "' + b"a-" * 4000 + b'"}',
    b'{"queries": []}',
    b'{"queries": ["a", 1]}',
    b'{"queries": [[["a"]]]}',
    b'{"texts": [""]}',
    b'{"texts": [], "index": "../../etc"}',
    b'{"ids": [""]}',
    b'{"ids": ["\\u0000", "\\ud800"]}',
    b'{"ids": [' + b'"x",' * 10_001 + b'"x"]}',
    b'{"index": "../birds"}',
    b'{"index": "/etc/passwd"}',
    b'{"index": "birds\\u0000"}',
    b'{"index": "birds", "snapshot": "../../..", "to": "x"}',
    b'{"index": "birds", "snapshot": "first", "to": "../x"}',
    b'{"name": "../x"}',
    b'{"name": "' + b"x" * 300 + b'"}',
    b'{"encoder": "../../model"}',
    b'{"encoder": "http://127.0.0.1/model"}',
    b'{"encoder": null, "lexical": {"k1": 1e308}}',
    b'{"encoder": null, "lexical": {"language": "../english"}}',
    b'{"encoder": null, "fields": {"": "string"}}',
    b'{"encoder": null, "fields": {"a": "date", "a": "float"}}',
    b'{"encoder": null, "chunk": {"tokens": -1}}',
    b'{"__proto__": {"a": 1}, "constructor": 1}',
    b'{"a": ' * 1000 + b"1" + b"}" * 1000,
    deep("[", "]"),
    deep('{"a":', "", 50_000),
    b'{"query": ' + deep("[", "]") + b"}",
    b'{"query": {"vector": ' + deep('{"a":', "}", 20_000) + b"}}",
    b'{"query": "a", "filter": ' + deep('{"must":[', "]}", 20_000) + b"}",
    b'{"query": "a", "filter": ' + b'{"must_not":[' * 20 + b"]}" * 20 + b"}",
    b'{"query": "a"}' + b" " * 1_000_000,
    b'{"query": "a"} trailing',
    b"query=a&k=10",
    b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
    b"cos\nsystem\n(S'true'\ntR.",
]

NAMES = [
    "..",
    ".",
    "...",
    "../birds",
    "..%2fbirds",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%5c..%5cwindows",
    "%252e%252e%252f",
    "%00",
    "birds%00",
    "birds%0a",
    "birds%20",
    "birds/../birds",
    "birds/..",
    "birds;x=1",
    "BIRDS",
    "b\u0131rds".encode().hex(),
    "%c3%a4",
    "%ff",
    "%ed%a0%80",
    "~",
    "*",
    "$HOME",
    "`id`",
    "{name}",
    "%7bname%7d",
    "con",
    "nul.txt",
    "a" * 65,
    "a" * 5000,
    "-rf",
    "LOCK",
    "catalog.sqlite",
    "removed",
    "file:///etc/passwd",
]

LINES = [
    b"",
    b"\n\n\n",
    b"\r\n",
    b"\x00\n",
    b"{}\n" * 50,
    b"null\n",
    b"[]\n",
    b'{"_id": "", "text": "x"}\n',
    b'{"_id": "a\\u0000b", "text": "x"}\n',
    b'{"_id": "a\\nb", "text": "x"}\n',
    b'{"_id": "../../x", "text": "x"}\n',
    b'{"_id": "' + b"i" * 600 + b'", "text": "x"}\n',
    b'{"_id": 1e308, "text": "x"}\n',
    b'{"_id": true, "text": "x"}\n',
    b'{"_id": "a", "text": "\\ud800"}\n',
    b'{"_id": "a", "text": "\xff\xfe"}\n',
    b'{"_id": "a", "_id": "b", "text": "x"}\n',
    b'{"_id": null, "id": "c", "text": "x"}\n',
    b'{"_id": "a", "text": null, "contents": {"x": 1}}\n',
    b'{"_id": "a", "text": "x", "title": []}\n',
    b'{"_id": "a", "text": "x", "year": 1e999}\n',
    b'{"_id": "a", "text": "x", "year": NaN}\n',
    b'{"_id": "a", "text": "x", "year": 99999999999999999999}\n',
    b'{"_id": "a", "text": "x", "year": {"a": [1]}}\n',
    b'{"_id": "a", "text": "x", "n": ' + deep("[", "]", 2000) + b"}\n",
    b'{"_id": "a", "text": "x", "n": ' + deep("[", "]", 500) + b"}\n",
    b'{"_id": "a", "vector": {"=x": 1e308}}\n',
    b'{"_id": "a", "vector": {"=x": 1e-320}}\n',
    b'{"_id": "a", "vector": {"x": 1}}\n',
    b'{"_id": "a", "vector": {}}\n',
    b'{"_id": "a", "vector": []}\n',
    b'{"_id": "a", "vector": {"=' + b"w" * 5000 + b'": 1}}\n',
    b'{"_id": "a", "text": "' + b"x" * 900_000 + b'"}\n',
    b'{"_id": "a", "text": "' + b"x" * 1_100_000 + b'"}\n',
    b'{"_id": "a", "text": "' + b"a-b_" * 100_000 + b'"}\n',
    b'{"_id": "a", "text": "' + "\u0e01".encode() * 50_000 + b'"}\n',
    b"x" * 3_000_000,
    b"\n" * 300_000,
    b'{"_id": "a", "text": "last without an end"}',
]


def gzip_bomb():
    pack = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return b"".join(pack.compress(bytes(1 << 20)) for _ in range(200)) + pack.flush()


def zstd_bomb():
    return zstandard.ZstdCompressor(level=19).compress(bytes(200 << 20))


def zstd_window():
    """A frame that asks for a window of 128 MB."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    pack = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return pack.compress(b"x" * 1000) + pack.flush()


def packed():
    line = b'{"_id": "a", "text": "x"}\n'
    yield "gzip", gzip_bomb()
    yield "gzip", gzip.compress(gzip_bomb())
    yield "gzip", gzip.compress(line)[:-4]
    yield "gzip", gzip.compress(line) + b"trailing"
    yield "gzip", gzip.compress(b"") * 2000
    yield "zstd", zstd_bomb()
    yield "zstd", zstd_window()
    yield "zstd", zstandard.compress(line)[:-4]
    yield "zstd", zstandard.compress(b"") * 2000
    for name in ("br", "deflate", "gzip, gzip", "zstd;q=1", "identity, gzip", "\u00e4", ""):
        yield name, line


def requests():
    """All of them."""
    post = [SEARCH, f"{SEARCH}/batch", "/v1/indexes/birds/explain", "/v1/encode", "/v1/rerank"]
    for body in BODIES:
        yield from (("POST", path, {}, body) for path in post[: 3 if len(body) < 1000 else 1])
    for body in BODIES:
        yield "POST", f"{DOCUMENTS}/delete", {}, body
        yield "PUT", "/v1/aliases/live", {}, body
    for body in BODIES[::3]:
        yield "POST", "/v1/restore", {}, body
        yield "PUT", f"{DOCUMENTS}/a", {}, body
    for name in NAMES:
        yield "GET", f"/v1/indexes/{name}", {}, b""
        yield "DELETE", f"/v1/indexes/{name}", {}, b""
        yield "PUT", f"/v1/aliases/{name}", {}, json.dumps({"index": name}).encode()
        yield "GET", f"{DOCUMENTS}/{name}", {}, b""
    for name in NAMES[::2]:
        yield "PUT", f"/v1/indexes/{name}", {}, b'{"encoder": null, "lexical": null}'
        yield "DELETE", f"/v1/indexes/birds/snapshots/{name}", {}, b""
        yield "GET", f"/v1/tasks/{name}", {}, b""
    for lines in LINES:
        yield "POST", DOCUMENTS, NDJSON, lines
    for encoding, body in packed():
        yield "POST", DOCUMENTS, {**NDJSON, "content-encoding": encoding}, body
    for key in ("", " ", "\u00e4", "k" * 500, "a\tb"):
        yield "POST", DOCUMENTS, {**NDJSON, "idempotency-key": key}, LINES[-1]
    for query in ("q=", "q=%00", "q=a&k=", "q=a&k=1e3", "q=a&filter=%5B", "q=%ed%a0%80", "q=a&q=b"):
        yield "GET", f"{SEARCH}?{query}", {}, b""
