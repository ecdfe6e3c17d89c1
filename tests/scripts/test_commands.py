"""Each command does its work and prints one JSON document when asked to."""

import json
import shutil

import pytest
from letter_encoder import LetterEncoder, StoppedEncoder
from tiny_checkpoints import write_bert

from tamis.index import Index, InputError, SparseVectors, reference
from tamis.index.segment.calibration import Calibration, ExactCost, Row
from tamis.index.segment.loops import compiled
from tamis.retriever import Passage, Searcher, index_corpus, indexing
from tamis.scripts.info import draw_calibration


def document(result, code=0):
    assert result.exit_code == code, result.output
    assert result.stderr == ""
    return json.loads(result.stdout)


def one_line(result, printed=False):
    """What a refusal says; it has printed a report before, or nothing."""
    assert result.exit_code == 2, result.output
    assert bool(result.stdout) == printed
    assert result.stderr.startswith("tamis: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_search_shows_rank_score_title_and_snippet(tamis, index):
    shown = tamis("search", index, "hunting owls").stdout.splitlines()
    (expected,) = Searcher.open(index).search(["hunting owls"])
    assert shown[0].split() == ["1", f"{expected.hits[0].score:.4f}", "owl", "Owls"]
    assert shown[1].strip() == "Owls hunt at night; a hunting owl flies silently."
    assert shown[-1].startswith("2 hits; ")


def test_many_terms_are_listed_only_where_all_are_asked_for(tamis, tmp_path):
    words = " ".join(f"word{number}" for number in range(40))
    index_corpus([Passage("many", words)], tmp_path / "many", encoder=None)
    brief, whole = (
        [line.split() for line in tamis("search", tmp_path / "many", *asked).stdout.splitlines()]
        for asked in ([words, "--explain"], ["--explain", "all", words])
    )
    listed = [
        [line for line in lines if line and line[0].startswith("=")] for lines in (brief, whole)
    ]
    assert list(map(len, listed)) == [30, 40]
    assert [line for line in listed[1] if line in listed[0]] == listed[0]
    (rest,) = [line for line in brief if line[1:2] == ["more"]]
    assert rest[0] == "10"
    assert float(rest[2]) == pytest.approx(sum(float(line[3]) for line in listed[1][30:]), abs=0.01)
    sums = [[line for line in lines if line[:1] == ["sum"]] for lines in (brief, whole)]
    assert sums[0] == sums[1]


def test_search_explains_every_term_and_their_sum(tamis, index):
    shown = tamis("search", index, "hunting owls", "--explain", "-k", "1").stdout.splitlines()
    rows = [line.split() for line in shown[2:6]]
    assert rows[0] == ["term", "query", "document", "contribution"]
    assert [row[0] for row in rows[1:]] == ["=owl", "=hunt", "sum"]
    assert [row[4] for row in rows[1:3]] == ["word", "word"]
    contributions = [float(row[3]) for row in rows[1:3]]
    assert float(rows[3][1]) == pytest.approx(sum(contributions), abs=2e-4)
    assert float(rows[3][1]) == pytest.approx(float(shown[0].split()[1]), abs=1e-4)
    for _, query, weight, contribution, _ in rows[1:3]:
        assert float(contribution) == pytest.approx(float(query) * float(weight), abs=1e-3)


def test_search_prints_the_searcher_s_hits_as_json(tamis, index):
    answer = document(tamis("search", index, "night", "--json", "--explain", "-k", "5"))
    (expected,) = Searcher.open(index).search(["night"], 5)
    assert [hit["id"] for hit in answer["hits"]] == [hit.doc_id for hit in expected.hits]
    for hit in answer["hits"]:
        total = sum(term["contribution"] for term in hit["matched_terms"])
        assert total == pytest.approx(hit["score"], abs=1e-4)


def test_search_takes_the_lexical_weight(tamis, index):
    full = document(tamis("search", index, "owl", "--json"))["hits"][0]["score"]
    half = document(tamis("search", index, "owl", "--json", "--lexical-weight", "0.5"))
    assert half["hits"][0]["score"] == pytest.approx(full / 2)
    assert document(tamis("search", index, "owl", "--json", "--lexical-weight", 0))["hits"] == []


def test_search_says_when_nothing_matches(tamis, index):
    result = tamis("search", index, "xylophone")
    assert result.exit_code == 0
    assert result.stdout.startswith("no document shares a term with the query; ")
    assert result.stdout.endswith("\nin no document: =xylophon\n")


@pytest.mark.parametrize(
    ("query", "named"), [("  ", "blank"), (b"\xff".decode(errors="surrogateescape"), "UTF-8")]
)
def test_search_refuses_a_query_without_text(tamis, index, query, named):
    assert named in one_line(tamis("search", index, query))


def test_info_reads_the_manifest(tamis, index, corpus):
    found = document(tamis("info", index, "--json"))
    assert (found["documents"], found["generation"], found["encoder"]) == (3, 1, None)
    assert found["lexical"]["language"] == "english"
    assert found["source"] == str(corpus)
    assert sum(found["files"].values()) == found["size_bytes"]
    assert "english" in tamis("info", index).stdout


def test_info_tells_bytes_by_part_and_lengths_of_lists(tamis, index):
    found = document(tamis("info", index, "--json"))
    assert sum(found["bytes"].values()) == found["size_bytes"]
    assert {"lists", "records", "documents", "dictionary", "ids"} <= found["bytes"].keys()
    assert "other" not in found["bytes"]
    lists = {(one["shortest"], one["longest"]): one["terms"] for one in found["posting_lengths"]}
    assert lists[2, 3] == 2  # hunt and night: see CORPUS
    shown = tamis("info", index).stdout
    assert "every search is exact, as it always is below 20,000 documents" in shown
    assert "bytes by part" in shown
    assert "2 to 3" in shown


def test_info_draws_the_curve_of_a_calibrated_index(tamis, index, tmp_path, monkeypatch):
    picture = tmp_path / "curve.svg"
    said = one_line(tamis("info", index, "--plot", picture))
    assert "all exact, as it always is below 20,000 documents: there is no curve to draw" in said
    rows = (Row(True, 10, 0.9, 0.2, 0.9, 0.925, 6808.0), Row(True, 10, 0.99, 0.1, 0.85, 0.996, 2e4))
    exact = (ExactCost(True, 10, 9e4),)
    draw_calibration(Calibration("queries", 100, rows, exact=exact), 30_000, picture)
    drawn = picture.read_text()
    for words in ("long queries, k = 10", "0.99", "exact", "calibrated on 100 queries"):
        assert words in drawn
    with pytest.raises(InputError, match=r"expected a file ending in \.png or \.svg"):
        draw_calibration(Calibration("queries", 100, rows), 30_000, tmp_path / "curve.pdf")


def test_verify_finds_a_whole_index_whole(tamis, index):
    found = document(tamis("verify", index, "--json"))
    assert found["ok"] is True
    assert found["problems"] == []
    assert tamis("verify", index).stdout.endswith(": whole\n")


def test_verify_names_every_damaged_file_and_search_refuses(tamis, index, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(index, damaged)
    names = [
        name for name, size in document(tamis("info", index, "--json"))["files"].items() if size
    ]
    flipped, cut = damaged / names[0], damaged / names[-1]
    flipped.write_bytes(bytes([flipped.read_bytes()[0] ^ 1]) + flipped.read_bytes()[1:])
    cut.write_bytes(cut.read_bytes()[:-1])
    found = document(tamis("verify", damaged, "--json"), code=2)
    assert {problem["file"] for problem in found["problems"]} == {names[0], names[-1]}
    shown = tamis("verify", damaged)
    assert shown.exit_code == 2
    assert shown.stderr.count("tamis: ") == shown.stderr.count("  repair: ") == 2
    assert shown.stderr.count("\n") == 6
    assert str(damaged) in one_line(tamis("search", damaged, "owl"))


def test_a_folder_that_is_no_index_is_told(tamis, tmp_path):
    for command in (["info"], ["verify"], ["search", "owl"], ["serve", "--port", "0"]):
        said = one_line(tamis(command[0], tmp_path / "none", *command[1:]))
        assert "expected an index folder, found nothing" in said


def test_index_refuses_to_write_over_an_index(tamis, index, corpus):
    said = one_line(tamis("index", corpus, "--out", index, "--encoder", "bm25"))
    assert "expected no index there yet" in said


def test_index_stores_weights_as_asked_for(tamis, corpus, tmp_path):
    vectors = tmp_path / "vectors.safetensors"
    SparseVectors.from_dicts([{0: 1.0}], 1).save(vectors)
    for number, arguments in enumerate(([corpus, "--encoder", "bm25"], ["--vectors", vectors])):
        command = ["index", *arguments, "--precision", "u8", "--out", tmp_path / str(number)]
        assert document(tamis(*command, "--json"))["precision"] == "u8"


def test_index_refuses_a_folder_that_is_no_index(tamis, corpus, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    vectors = tmp_path / "vectors.safetensors"
    SparseVectors.from_dicts([{0: 1.0}], 1).save(vectors)
    for arguments in ([corpus, "--encoder", "bm25"], ["--vectors", vectors]):
        said = one_line(tamis("index", *arguments, "--out", tmp_path))
        assert "holds 'note.txt' and 1 more; name another, such as" in said
    assert (tmp_path / "note.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["no.npz", "no.safetensors", "no.ciff", "no.jsonl", "no"])
def test_vectors_that_are_not_there_are_told(tamis, tmp_path, name):
    said = one_line(tamis("index", "--vectors", tmp_path / name, "--out", tmp_path / "index"))
    assert f"{tmp_path / name}: expected vectors (.safetensors, " in said
    assert "found no such file; check the path" in said
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    ("second_line", "named"),
    [
        (b"{broken", "broken JSON"),
        (b'{"text": "no id"}', "an id"),
        (b'{"_id": "a", "text": ""}', "some text"),
        (b'{"_id": "a", "text": "\xff"}', "UTF-8"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_a_bad_line_is_named_and_nothing_opens(tamis, tmp_path, second_line, named, check):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_bytes(b'{"_id": "1", "text": "fine"}\n' + second_line + b"\n")
    out = tmp_path / "out"
    arguments = ["index", corpus, "--encoder", "bm25", "--out", out]
    said = one_line(tamis(*arguments, *(["--check"] if check else [])), printed=check)
    assert f"{corpus}:2: " in said
    assert named in said
    assert not (out / "CURRENT").exists()
    assert not (check and out.exists())


@pytest.mark.parametrize("check", [True, False])
def test_ids_that_come_twice_are_told(tamis, tmp_path, check):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"_id": "twin", "text": "one"}\n{"_id": "twin", "text": "two"}\n')
    arguments = ["index", corpus, "--encoder", "bm25", "--out", tmp_path / "out"]
    refused = tamis(*arguments, *(["--check"] if check else []))
    assert "'twin'" in one_line(refused, printed=check)


def test_check_counts_a_good_corpus_and_writes_nothing(tamis, corpus):
    found = document(tamis("index", corpus, "--check", "--json"))
    assert found["documents"] == 3
    assert "no mistake" in tamis("index", corpus, "--check").stdout


@pytest.mark.parametrize("faulty", [("--chunk", "50:60"), ("--fields", "year:colour")])
def test_a_check_refuses_the_settings_that_a_build_refuses(tamis, corpus, tmp_path, faulty):
    build = tamis("index", corpus, "--out", tmp_path / "out", "--encoder", "bm25", *faulty)
    assert one_line(tamis("index", corpus, "--check", *faulty)) == one_line(build)


@pytest.mark.parametrize("below", ["", "below"])
def test_a_file_in_the_place_of_an_index_is_told_and_kept(tamis, corpus, index, tmp_path, below):
    note = tmp_path / "note.txt"
    note.write_text("mine")
    for arguments in (["index", corpus, "--encoder", "bm25"], ["snapshot", index]):
        said = one_line(tamis(*arguments, "--out", note / below))
        assert f"expected a folder to write, found the file {note}" in said
    assert note.read_text() == "mine"


def test_a_corpus_comes_through_standard_input(tamis, corpus, tmp_path):
    arguments = ["index", "-", "--out", tmp_path / "out", "--encoder", "bm25", "--json"]
    assert document(tamis(*arguments, stdin=corpus.read_text()))["documents"] == 3


def test_an_unknown_language_or_encoder_is_told(tamis, corpus, tmp_path):
    out = ["--out", tmp_path / "out"]
    said = one_line(tamis("index", corpus, *out, "--encoder", "bm25", "--language", "klingon"))
    assert "english" in said
    assert "no/such/model" in one_line(tamis("index", corpus, *out, "--encoder", "no/such/model"))
    assert not (tmp_path / "out").exists()


def test_encoded_vectors_are_those_of_the_encoder_and_can_be_indexed(tamis, corpus, tmp_path):
    from tamis.retriever import load_encoder

    model = write_bert(tmp_path / "model")
    vectors = tmp_path / "vectors.safetensors"
    found = document(tamis("encode", corpus, "--out", vectors, "--encoder", model, "--json"))
    lines = [json.loads(line) for line in corpus.read_text().splitlines()]
    texts = [f"{line.get('title', '')} {line['text']}".strip() for line in lines]
    expected = load_encoder(str(model)).encode_documents(texts)
    stored = SparseVectors.load(vectors)
    assert found["nnz"] == stored.nnz
    assert stored.to_scipy().toarray() == pytest.approx(expected.to_scipy().toarray(), abs=1e-5)

    out = tmp_path / "out"
    assert document(tamis("index", "--vectors", vectors, "--out", out, "--json"))["documents"] == 3
    index = Index.open(out)
    assert [index.doc_id(doc) for doc in range(3)] == ["owl", "sieve", "bat"]
    found, truth = index.search(stored, 3, exact=True), reference.search(stored, stored, 3)
    assert found.docs.tolist() == truth.docs.tolist()


def test_a_corpus_is_indexed_and_searched_with_an_encoder(tamis, corpus, tmp_path):
    model, out = write_bert(tmp_path / "model"), tmp_path / "out"
    built = document(tamis("index", corpus, "--out", out, "--encoder", model, "--json"))
    assert built["encoder"]["vocab_size"] > 0
    answer = document(tamis("search", out, "drum sieve", "--json", "--explain", "--exact"))
    hit = next(hit for hit in answer["hits"] if hit["id"] == "sieve")
    terms = hit["matched_terms"]
    assert {term["term"][0] == "=" for term in terms} == {True, False}
    assert sum(term["contribution"] for term in terms) == pytest.approx(hit["score"], abs=1e-4)


def test_doctor_tells_versions_and_how_to_get_what_is_missing(tamis):
    found = document(tamis("doctor", "--json"))
    assert found["ok"] is True
    assert found["base"]["numpy"]
    for extra in found["extras"].values():
        assert extra["installed"] == all(extra["packages"].values())
    missing = [name for name, extra in found["extras"].items() if not extra["installed"]]
    shown = tamis("doctor").stdout
    for name in missing:
        assert f"pip install 'tamis[{name}]'" in shown


def test_doctor_warms_the_search_loops(tamis):
    assert document(tamis("doctor", "--warm", "--json"))["warm_ms"] > 0
    assert compiled.is_all_kept()


def test_check_prints_a_report_and_every_fault(tamis, tmp_path):
    corpus = tmp_path / "corpus.csv"
    corpus.write_text("key;body;year\na b/c;The owl is in the wood.;1999\nd;;2000\ne;x;y;z\n")
    options = ["--check", "--id-field", "key", "--text-field", "body"]
    result = tamis("index", corpus, *options)
    said = one_line(result, printed=True)
    assert f"expected no faults, found 2: {corpus}:3: expected some text" in said
    assert "field year" in result.stdout
    assert f"{corpus}:4: expected 3 cells as in the header, found 4" in result.stdout
    found = tamis("index", corpus, *options, "--json")
    assert json.loads(found.stdout)["documents"] == 1
    corpus.write_text("key;body\na b/c;The owl is in the wood.\n")
    assert tamis("index", corpus, *options).stdout.endswith("no mistake found\n")
    fields = ["--id-field", "key", "--text-field", "body", "--encoder", "bm25"]
    document(tamis("index", corpus, "--out", tmp_path / "out", *fields, "--json"))
    corpus.write_text("key;body\nnew;Another owl.\n")
    assert document(tamis("add", tmp_path / "out", corpus, *fields[:4], "--json"))["written"] == 1


def test_another_language_is_noted_on_standard_error(tamis, tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    text = "Das Sieb wird auch in der Küche benutzt, um die Kerne von den Früchten zu trennen."
    corpus.write_text(json.dumps({"id": "1", "text": text}) + "\n")
    arguments = ["index", corpus, "--encoder", "bm25", "--out"]
    noted = tamis(*arguments, tmp_path / "a").stderr
    assert noted == f"tamis: note: {corpus}: words are stemmed as english; use --language german\n"
    assert tamis(*arguments, tmp_path / "b", "--language", "german").stderr == ""


def test_documents_that_await_their_learned_vectors_are_told(tamis, tmp_path, monkeypatch):
    monkeypatch.setattr(indexing, "CHUNK_DOCUMENTS", 2)
    passages = [Passage(str(number), "an owl") for number in range(5)]
    with pytest.raises(KeyboardInterrupt):
        index_corpus(passages, tmp_path / "i", encoder=StoppedEncoder(4))
    said = tamis("info", tmp_path / "i").stdout
    assert "5 documents are found by words alone until all are encoded, 4 so far" in said
    index_corpus([], tmp_path / "i", encoder=LetterEncoder(), resume=True)
    assert "words alone" not in tamis("info", tmp_path / "i").stdout
