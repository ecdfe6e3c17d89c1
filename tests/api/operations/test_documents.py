"""Documents come in as streams and one by one, and go again; what was acknowledged is there."""

import errno
import gzip
import json
import time
import zlib

import pytest
import zstandard
from starlette.testclient import TestClient

from tamis.api import Limits, create_app
from tamis.api.serving import service
from tamis.api.serving.catalog import Catalog
from tamis.api.serving.data_folder import DataFolder

DOCUMENTS = "/v1/indexes/birds/documents"
PACK = {
    "identity": lambda data: data,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "two gzip members": lambda data: gzip.compress(data[:40]) + gzip.compress(data[40:]),
    "two zstd frames": lambda data: b"".join(
        zstandard.ZstdCompressor().compress(part) for part in (data[:40], data[40:])
    ),
}


def lines(*documents):
    return b"".join(
        (document if isinstance(document, bytes) else json.dumps(document).encode()) + b"\n"
        for document in documents
    )


@pytest.mark.parametrize("packing", PACK)
def test_a_stream_is_searchable_when_it_says_so(home, packing):
    home.create(documents=None)
    documents = [{"_id": str(n), "text": f"bird number{n}"} for n in range(700)]
    answer = home.ask(
        "POST",
        DOCUMENTS + "?wait=searchable",
        content=PACK[packing](lines(*documents)),
        headers={"content-encoding": packing.split()[1] if " " in packing else packing},
    )
    assert (answer["written"], answer["failed"], answer["problems"]) == (700, 0, [])
    assert home.found("number699") == ["699"]
    assert home.ask("GET", "/v1/indexes/birds")["documents"] == 700


def test_a_faulty_line_is_named_and_the_others_are_written(home):
    home.create(documents=None)
    body = lines(
        {"_id": "a", "text": "first"},
        b"{broken",
        b"",
        [1],
        {"text": "no id"},
        {"_id": "b"},
        {"_id": "c", "text": "third", "year": "soon"},
        {"_id": "d" * 600, "text": "long"},
        {"_id": "e", "text": 5},
        b'{"_id": "f", "text": "' + b"x" * (1 << 20) + b'"}',
        {"_id": "g", "text": "", "vector": {"=a": -1}},
        {"_id": "h", "text": "deep", "x": json.loads("[" * 400 + "]" * 400)},
        b'{"_id": "i", "text": "\xff"}',
        b'{"_id": "j", "text": "\\ud800"}',
        b'{"_id": "l", "text": "one", "text": "two"}',
        b'{"_id": "m", "vector": {"=a": 1, "=a": 2}}',
        b'\xef\xbb\xbf{"_id": "k", "text": "last"}',
    )
    answer = home.ask("POST", DOCUMENTS + "?wait=searchable", content=body)
    assert answer["written"] == 2
    found = {one["line"]: (one["id"], one["code"]) for one in answer["problems"]}
    assert found == {
        2: (None, "invalid_json"),
        4: (None, "invalid_value"),
        5: (None, "invalid_value"),
        6: ("b", "invalid_value"),
        7: ("c", "bad_input"),
        8: ("d" * 512, "bad_input"),
        9: ("e", "invalid_value"),
        10: (None, "line_too_long"),
        11: ("g", "invalid_value"),
        12: ("h", "bad_input"),
        13: (None, "invalid_json"),
        14: (None, "invalid_json"),
        15: (None, "invalid_json"),
        16: (None, "invalid_json"),
    }
    assert answer["failed"] == len(found)
    assert home.found("first") == ["a"]
    assert home.found("last") == ["k"]


def test_faulty_lines_are_told_in_their_order_whenever_they_were_noticed(home):
    home.create()
    stream = b'{"_id": "a", "text": "an owl", "year": "old"}\n{\n{"_id": "b", "text": ""}\n'
    answer = home.ask("POST", "/v1/indexes/birds/documents", content=stream)
    assert [one["line"] for one in answer["problems"]] == [1, 2, 3]


def test_the_last_document_of_an_id_counts(home):
    home.create(documents=None)
    answer = home.add([{"_id": "a", "text": "old"}, {"_id": "a", "text": "new"}])
    assert answer["written"] == 2
    assert home.found("old") == []
    assert home.found("new") == ["a"]


def test_vectors_of_ones_own_are_taken_as_they_are(home):
    home.create(documents=None)
    home.add(
        [
            {"_id": "a", "vector": {"=anything": 2.0, "=else at all": 0.5}},
            {"_id": "b", "text": "words", "vector": {"=anything": 1.0}},
            {"_id": "c", "text": "words"},
            {"_id": "d", "vector": {"anything": 1.0}},
        ]
    )
    answer = home.search({"vector": {"=anything": 3.0, "=else at all": 2.0}}, explain=True)
    assert [(hit["id"], hit["score"]) for hit in answer["hits"]] == [("a", 7.0), ("b", 3.0)]
    assert home.found("words") == ["c"]  # the text beside a vector is only stored
    assert answer["hits"][1]["document"]["text"] == "words"


def test_a_vector_may_name_pieces_of_the_encoder(home):
    home.create(settings={}, documents=None)
    answer = home.add([{"_id": "a", "vector": {"owl": 2.0, "=owl": 1.0}}])
    assert answer["problems"] == []
    (hit,) = home.search({"vector": {"owl": 0.5}})["hits"]
    assert hit["score"] == 1.0
    answer = home.add([{"_id": "b", "vector": {"no such piece": 2.0}}])
    assert answer["problems"][0]["code"] == "bad_input"
    assert "no such piece" in answer["problems"][0]["detail"]


def test_texts_are_encoded_by_the_encoder_of_the_index(home):
    home.create(settings={})
    hits = home.search("birds of prey in the dark", explain=True)["hits"]
    assert {term["expansion"] for hit in hits for term in hit["matched_terms"]} == {True, False}


def test_one_document_is_put_got_and_deleted(home):
    home.create()
    for path in ("kite/red", "kite%2Fred"):
        answer = home.ask("GET", f"{DOCUMENTS}/{path}")
        assert answer["document"]["year"] == 2003
    body = {"text": "A kestrel hovers.", "year": 2005}
    path = f"{DOCUMENTS}/delete?wait=searchable"  # an id like any other
    assert home.ask("PUT", path, json=body)["replaced"] is False
    assert home.found("kestrel") == ["delete"]
    assert home.ask("PUT", path, json={**body, "_id": "delete"})["replaced"] is True
    assert home.ask("PUT", path, 422, json={**body, "_id": "other"})["code"] == "invalid_value"
    assert home.ask("PUT", path, 422, json={"text": ""})["code"] == "invalid_value"
    assert home.ask("PUT", path, 422, json={**body, "year": "x"})["code"] == "bad_input"
    for broken in (b"{", b'{"text": "a", "text": "b"}'):
        assert home.ask("PUT", path, 400, content=broken)["code"] == "invalid_json"
    assert home.ask("DELETE", path)["deleted"] == 1
    assert home.ask("DELETE", path, 404)["code"] == "unknown_document"
    assert home.found("kestrel") == []


def test_many_are_deleted_by_ids_or_by_a_filter(home):
    home.create()
    path = f"{DOCUMENTS}/delete?wait=searchable"
    assert home.ask("POST", path, json={"ids": ["owl", "dodo", "owl"]})["deleted"] == 1
    old = {"field": "year", "range": {"lt": 2004}}
    assert home.ask("POST", path, json={"filter": old})["deleted"] == 2
    assert home.ask("GET", "/v1/indexes/birds")["documents"] == 1
    for body in ({}, {"ids": [], "filter": old}, {"all": False}, {"ids": ["owl"], "all": True}):
        assert home.ask("POST", path, 422, json=body)["code"] == "invalid_value"
    unknown = {"field": "colour", "in": ["red"]}
    assert "colour" in home.ask("POST", path, 422, json={"filter": unknown})["detail"]


def test_everything_is_deleted_by_saying_so_alone(home):
    home.create()
    path = f"{DOCUMENTS}/delete?wait=searchable"
    for nothing in ({"must": []}, {"must_not": [], "must": []}, {"must": [{"must_not": []}]}):
        refused = home.ask("POST", path, 422, json={"filter": nothing})
        assert "expected a filter with at least one condition" in refused["detail"]
    none_of_none = {"must_not": [{"field": "year", "in": []}]}
    assert home.ask("POST", path, 422, json={"filter": none_of_none})["code"] == "bad_input"
    count = home.ask("GET", "/v1/indexes/birds")["documents"]
    assert home.ask("POST", path, json={"all": True})["deleted"] == count > 0
    assert home.ask("GET", "/v1/indexes/birds")["documents"] == 0
    assert home.ask("POST", path, json={"all": True})["deleted"] == 0
    home.ask("POST", path, 422, json={"filter": {}})
    home.add([{"_id": "a", "text": "owl"}])
    assert home.found("owl") == ["a"]


def test_the_same_request_under_a_key_is_carried_out_once(home):
    home.create(documents=None)
    headers = {"Idempotency-Key": "first"}
    body = [{"_id": "a", "text": "owl"}]
    first = home.add(body, headers=headers)
    home.ask("DELETE", f"{DOCUMENTS}/a?wait=searchable")
    again = home.client.post(DOCUMENTS + "?wait=searchable", content=lines(*body), headers=headers)
    assert again.json() == first
    assert again.headers["idempotent-replayed"] == "true"
    assert home.found("owl") == []
    other = home.client.post(DOCUMENTS, content=lines({"_id": "b", "text": "x"}), headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert home.add(body, headers={"Idempotency-Key": "second"})["written"] == 1
    assert home.found("owl") == ["a"]


def test_what_was_carried_out_is_answered_though_the_disk_does_not_take_that(home, monkeypatch):
    home.create(documents=None)
    headers, body = {"Idempotency-Key": "first"}, [{"_id": "a", "text": "owl"}]

    def full(*arguments):
        raise OSError(errno.ENOSPC, "injected")

    with monkeypatch.context() as disk:
        disk.setattr(Catalog, "keep_answer", full)
        first = home.add(body, headers=headers)
        assert first["written"] == 1
        home.ask("DELETE", f"{DOCUMENTS}/a?wait=searchable")
        assert home.add(body, headers=headers) == first
    assert home.add(body, headers=headers) == first
    assert home.found("owl") == []


def test_a_key_belongs_to_one_life_of_an_index(open_home):
    """Where another is made or restored, or the alias moves, what was written is not there."""
    headers, body = {"Idempotency-Key": "batch-1"}, [{"_id": "a", "text": "owl"}]

    def written(home, name="birds"):
        answer = home.add(body, name, headers=headers)
        return answer["written"], home.ask("GET", f"/v1/indexes/{name}")["documents"]

    with open_home() as home:
        home.create(documents=None)
        home.done(home.ask("POST", "/v1/indexes/birds/snapshots", 202, json={"name": "empty"}))
        assert written(home) == (1, 1)
        home.ask("DELETE", "/v1/indexes/birds")
        home.create(documents=None)
        assert written(home) == (1, 1)
    with open_home() as home:  # lives are remembered
        home.ask("DELETE", f"{DOCUMENTS}/a?wait=searchable")
        assert written(home) == (1, 0)
        home.ask("DELETE", "/v1/indexes/birds")
        order = {"index": "birds", "snapshot": "empty", "to": "birds"}
        once = {"Idempotency-Key": "back"}
        home.done(home.ask("POST", "/v1/restore", 202, json=order, headers=once))
        assert written(home) == (1, 1)
        home.ask("DELETE", "/v1/indexes/birds")
        home.done(home.ask("POST", "/v1/restore", 202, json=order, headers=once))
        assert home.ask("GET", "/v1/indexes/birds")["documents"] == 0
        home.create("other", documents=None)
        for index in ("birds", "other"):
            home.ask("PUT", "/v1/aliases/flock", json={"index": index})
            assert written(home, "flock") == (1, 1)


@pytest.mark.parametrize("wait", ["durable", "searchable"])
def test_what_was_acknowledged_is_there_after_a_restart(open_home, wait):
    with open_home() as home:
        home.create(documents=None)
        home.add([{"_id": "a", "text": "owl"}], wait=wait)
    with open_home() as home:
        assert home.found("owl") == ["a"]


def test_writes_become_searchable_by_themselves(home):
    home.create(documents=None)
    home.add([{"_id": "a", "text": "owl"}], wait="none")
    end = time.monotonic() + 20
    while home.found("owl") != ["a"]:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_index_at_rest_remembers_nothing_of_the_texts_it_was_given(open_home, monkeypatch):
    monkeypatch.setattr(service, "REFRESH_S", 0.02)
    monkeypatch.setattr(service, "REST_AFTER", 2)
    with open_home() as home:
        home.create()
        living = home.client.app.state.service.library.living("birds")
        end = time.monotonic() + 20
        while living._editor._counter._counters[0]._seen:
            assert time.monotonic() < end
            time.sleep(0.02)
        home.add([{"_id": "late", "text": "Owls again."}])
        assert "late" in home.found("owl")


def bomb(kind):
    if kind == "gzip":
        pack = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
        return b"".join(pack.compress(b" " * (1 << 20)) for _ in range(64)) + pack.flush()
    return zstandard.ZstdCompressor(level=19).compress(b" " * (64 << 20))


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_bombs_and_damaged_streams_are_refused(home, kind):
    home.create(documents=None)
    headers = {"content-encoding": kind}
    problem = home.ask("POST", DOCUMENTS, 413, content=bomb(kind), headers=headers)
    assert problem["code"] == "ratio_too_high"
    whole = PACK[kind](lines({"_id": "a", "text": "owl"}))
    for broken in (whole[:-3], b"x" + whole, b"nothing of the kind"):
        problem = home.ask("POST", DOCUMENTS, 400, content=broken, headers=headers)
        assert problem["code"] == "invalid_compression"
    problem = home.ask("POST", DOCUMENTS, 415, content=b"", headers={"content-encoding": "br"})
    assert problem["code"] == "unsupported_encoding"


def test_a_stream_beyond_the_limit_says_what_is_written(tmp_path):
    limits = Limits(body_bytes=100_000)
    app = create_app({}, limits, data=DataFolder(tmp_path / "data"))
    with TestClient(app) as client:
        client.put("/v1/indexes/birds", json={"encoder": None})
        body = lines(*({"_id": str(n), "text": "bird " * 20} for n in range(2000)))
        announced = client.post(DOCUMENTS, content=body)
        assert (announced.status_code, announced.json()["code"]) == (413, "body_too_large")
        parts = iter([body[at : at + 10_000] for at in range(0, len(body), 10_000)])
        streamed = client.post(DOCUMENTS, content=parts)
        assert (streamed.status_code, streamed.json()["code"]) == (413, "body_too_large")
        assert "documents before that are written" in streamed.json()["detail"]


def test_indexes_that_are_given_are_only_read(client):
    answers = [
        client.post("/v1/indexes/words/documents", content=b""),
        client.put("/v1/indexes/words/documents/a", json={"text": "x"}),
        client.delete("/v1/indexes/words/documents/owl"),
        client.put("/v1/indexes/new", json={}),
        client.put("/v1/aliases/new", json={"index": "words"}),
    ]
    assert {(one.status_code, one.json()["code"]) for one in answers} == {(409, "read_only")}


def test_documents_joined_into_one_line_are_told_how_to_be_sent(home):
    """As `curl -d @file` sends them: without the ends of their lines."""
    home.create(documents=None)
    joined = lines(*BIRDS).replace(b"\n", b"")
    answer = home.ask("POST", DOCUMENTS, content=joined)
    assert answer["written"] == 0
    assert "--data-binary" in answer["problems"][0]["detail"]
    answer = home.ask("POST", DOCUMENTS, content=b'{"_id": "owl", "text": }')
    assert "--data-binary" not in answer["problems"][0]["detail"]


BIRDS = ({"_id": "owl", "text": "Owls hunt."}, {"_id": "kite", "text": "A kite circles."})
