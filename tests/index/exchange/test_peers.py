"""What is exported is read by the peers' own readers, and what their writers write is read here."""

import json

import numpy as np
import pytest
from vectors_of import random_vectors

from tamis.index import Index, reference
from tamis.index.exchange.ciff import read_ciff, renumbered, write_ciff
from tamis.index.exchange.engines import engine_lines, stored_documents
from tamis.index.exchange.interchange import whole_numbers, write_lines
from tamis.index.exchange.json_vectors import JsonVectors

ROWS, TERMS = 211, 61
IDS = [f"d {n}/ä" for n in range(ROWS)]


@pytest.fixture
def index(tmp_path):
    return Index.build(tmp_path / "index", random_vectors(ROWS, TERMS, seed=4), IDS)


def queries():
    return random_vectors(17, TERMS, seed=5, longest=12)


def best(index, k=10):
    """Ids and scores of the exhaustive search over the stored weights."""
    stored = next(stored_documents(index))[1]
    found = reference.search(stored, queries(), k)
    return [found.row(query) for query in range(17)]


def test_seismic_reads_its_lines_and_answers_alike(index, tmp_path):
    seismic = pytest.importorskip("seismic", reason="pyseismic-lsr is not installed")
    path = tmp_path / "v.jsonl"
    write_lines(path, engine_lines(stored_documents(index), "seismic"))
    theirs = seismic.SeismicIndex.build(str(path), num_threads=1)
    assert theirs.len == ROWS
    text = seismic.get_seismic_string()
    for query, (docs, scores) in enumerate(best(index, 3)):
        terms, weights = queries().row(query)
        if not terms.size:
            continue
        found = theirs.search(
            "q", np.array(list(map(str, terms)), text), weights, 3, query_cut=99, heap_factor=0.0
        )
        assert [doc_id for _, _, doc_id in found] == [IDS[doc] for doc in docs]
        assert [score for _, score, _ in found] == pytest.approx(scores.tolist(), rel=2e-3)


def test_qdrant_takes_its_points_and_answers_alike(index, tmp_path):
    qdrant = pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
    models = qdrant.models
    client = qdrant.QdrantClient(":memory:")
    client.create_collection(
        "tamis", vectors_config={}, sparse_vectors_config={"vector": models.SparseVectorParams()}
    )
    lines = map(json.loads, engine_lines(stored_documents(index), "qdrant"))
    client.upsert("tamis", [models.PointStruct(**line) for line in lines])
    for query, (docs, scores) in enumerate(best(index)):
        terms, weights = queries().row(query)
        sparse = models.SparseVector(indices=terms.tolist(), values=weights.tolist())
        found = client.query_points("tamis", query=sparse, using="vector", limit=10).points
        given = [point for point in found if point.score > 0]
        assert [point.score for point in given] == pytest.approx(scores.tolist(), rel=1e-5)
        assert {point.payload["_id"] for point in given[:3]} == {IDS[doc] for doc in docs[:3]}


def read_back(path, lines):
    path.write_text("".join(lines))
    found = JsonVectors.survey(path)
    rows = [row for batch in found.batches() for row in batch.to_dicts()]
    return dict(zip([one.doc_id for one in found.documents()], rows, strict=True))


@pytest.mark.parametrize("name", ["vector", "text-sparse"])
def test_points_that_qdrant_gives_back_are_read(tmp_path, name):
    qdrant = pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
    models, given = qdrant.models, random_vectors(ROWS, TERMS, seed=4)
    client = qdrant.QdrantClient(":memory:")
    client.create_collection(
        "c",
        vectors_config={"dense": models.VectorParams(size=2, distance=models.Distance.DOT)},
        sparse_vectors_config={name: models.SparseVectorParams()},
    )
    for point in range(ROWS):
        terms, weights = given.row(point)
        sparse = models.SparseVector(indices=terms.tolist(), values=weights.tolist())
        vector = {"dense": [0.5, 1.0], name: sparse}
        client.upsert("c", [models.PointStruct(id=point, vector=vector, payload={"city": "Bonn"})])
    points, _ = client.scroll("c", limit=ROWS, with_vectors=True, with_payload=True)
    found = read_back(tmp_path / "v.jsonl", [f"{point.model_dump_json()}\n" for point in points])
    assert found == {str(point): row for point, row in enumerate(given.to_dicts())}


def test_bodies_that_the_opensearch_client_sends_are_read(tmp_path):
    opensearch = pytest.importorskip("opensearchpy", reason="opensearch-py is not installed")
    given, sent = random_vectors(ROWS, TERMS, seed=4).to_dicts(), []

    class Kept(opensearch.Connection):
        def perform_request(self, method, url, params=None, body=None, **more):
            sent.append(body if isinstance(body, str) else body.decode())
            return 200, {}, '{"errors": false, "items": []}'

    client = opensearch.OpenSearch("http://localhost", connection_class=Kept)
    ids = [0, *IDS[1:]]
    documents = (
        {"_index": "c", "_id": doc_id, "vector": {str(term): row[term] for term in row}, "x": "y"}
        for doc_id, row in zip(ids, given, strict=True)
    )
    opensearch.helpers.bulk(client, documents)
    assert read_back(tmp_path / "v.ndjson", sent) == dict(zip(map(str, ids), given, strict=True))


def test_the_ciff_toolkit_reads_ours_and_we_read_its_own(index, tmp_path):
    read = pytest.importorskip("ciff_toolkit.read", reason="ciff-toolkit is not installed")
    from ciff_toolkit.write import CiffWriter

    (_, stored, _), *_ = stored_documents(index)
    given = whole_numbers(stored, 100)
    write_ciff(tmp_path / "v.ciff", given, IDS, description="ours")
    with read.CiffReader(tmp_path / "v.ciff") as reader:
        header = reader.header
        lists = list(reader.read_postings_lists())
        documents = list(reader.read_documents())
    assert (header.num_docs, header.description) == (ROWS, "ours")
    assert header.total_terms_in_collection == int(given.weights.sum())
    assert [document.collection_docid for document in documents] == IDS
    theirs = [{} for _ in range(ROWS)]
    for each in lists:
        doc = 0
        for posting in each.postings:
            doc += posting.docid
            theirs[doc][int(each.term)] = float(posting.tf)
        assert (each.df, each.cf) == (len(each.postings), sum(p.tf for p in each.postings))
    assert theirs == given.to_dicts()
    with CiffWriter(tmp_path / "theirs.ciff") as writer:
        writer.write_header(header)
        writer.write_postings_lists(lists)
        writer.write_documents(documents)
    found = read_ciff(tmp_path / "theirs.ciff")
    assert found.ids == IDS
    assert renumbered(found, TERMS, int).to_dicts() == given.to_dicts()
