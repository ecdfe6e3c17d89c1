"""BlockReranker from text to ranking: on tiny models of random weights, and on the bundled one."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_rerankers import texts, write_reranker

from tamis.index.errors import (
    CorruptionError,
    FormatError,
    InputError,
    MismatchError,
)
from tamis.retriever.rerank.batches import batches_of
from tamis.retriever.rerank.block_reranker import BlockReranker
from tamis.retriever.rerank.layout import BlockSizes
from tamis.retriever.rerank.prompt import PromptBuilder, Template
from tamis.retriever.rerank.readout import Readout
from tamis.retriever.rerank.rounding import restored, rounded, rounded_bytes
from tamis.retriever.rerank.stored_keys import DocumentStore

QUERY, DOCUMENTS = texts()
READOUTS = {
    name: {"heads": [1.0, -0.5, 2.0, 0.3], "length": 0.5, "prior": 0.7}
    for name in ("query", "none")
}


@pytest.fixture(scope="module", params=["bert", "llama"])
def folder(request, tmp_path_factory):
    return write_reranker(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with head weights, read from the last layer alone."""
    folder = tmp_path_factory.mktemp("trained")
    return write_reranker(folder, "bert", readouts=READOUTS, reads_from=2)


def load(folder, conditioning="query"):
    return BlockReranker.from_pretrained(
        str(folder), device="cpu", dtype=torch.float32, conditioning=conditioning
    )


def test_rank_gives_what_a_cross_encoder_gives(folder):
    reranker = load(folder)
    scores = reranker.score(QUERY, DOCUMENTS)
    found = reranker.rank(QUERY, DOCUMENTS, top_k=3, return_documents=True, ids=list("abcde"))
    assert [row["corpus_id"] for row in found] == np.argsort(-scores, kind="stable")[:3].tolist()
    for row in found:
        assert row["score"] == pytest.approx(scores[row["corpus_id"]])
        assert row["text"] == DOCUMENTS[row["corpus_id"]]
        assert row["id"] == "abcde"[row["corpus_id"]]
    assert len(reranker.rank(QUERY, DOCUMENTS)) == 5
    assert set(reranker.rank(QUERY, DOCUMENTS)[0]) == {"corpus_id", "score"}


def test_shares_of_attention_sum_to_one(folder):
    assert load(folder).score(QUERY, DOCUMENTS).sum() == pytest.approx(1, abs=1e-5)


def test_permuting_documents_permutes_scores(folder):
    reranker, order = load(folder), [4, 2, 0, 1, 3]
    straight = reranker.score(QUERY, DOCUMENTS)
    permuted = reranker.score(QUERY, [DOCUMENTS[i] for i in order])
    np.testing.assert_allclose(permuted, straight[order], atol=1e-6)


def test_a_batch_gives_what_single_lists_give(folder):
    reranker = load(folder)
    lists = [(QUERY, DOCUMENTS), ("coarse", ()), ("a", DOCUMENTS[1:2]), ("b", DOCUMENTS[2:])]
    for found, one in zip(reranker.score_batch(lists), lists, strict=True):
        np.testing.assert_allclose(found, reranker.score(*one), atol=1e-6)


def test_lists_beyond_a_batch_are_split_and_merged(trained):
    whole, split = load(trained), load(trained)
    split.batch_tokens = 60
    assert len(list(batches_of([split._build(QUERY, DOCUMENTS)], 60))) > 1
    np.testing.assert_allclose(
        split.score(QUERY, DOCUMENTS), whole.score(QUERY, DOCUMENTS), atol=1e-5
    )


@pytest.mark.parametrize("reads_from", [0, 2])
@pytest.mark.parametrize("room", [60, 1])
def test_split_lists_share_the_attention_of_the_whole_list(room, reads_from, tmp_path):
    split = load(write_reranker(tmp_path, "bert", reads_from=reads_from))
    whole = split.score(QUERY, DOCUMENTS)
    split.batch_tokens = room
    batches = list(batches_of([split._build(QUERY, DOCUMENTS)], room))
    pieces = [block for batch in batches for _, block in batch]
    assert len(pieces) == 5 if room == 1 else 1 < len(pieces) < 5
    found = split.score(QUERY, DOCUMENTS)
    assert found.sum() == pytest.approx(1, abs=1e-5)
    if reads_from == 2:  # the query reads documents where they are scored, and nowhere before
        np.testing.assert_allclose(found, whole, atol=1e-6)
    else:  # it has read only its piece's: another score, as the README says
        assert np.abs(found - whole).max() > 1e-3


def test_no_document_one_document_and_duplicates(folder):
    reranker = load(folder)
    assert reranker.score(QUERY, []).shape == (0,)
    assert reranker.rank(QUERY, []) == reranker.explain(QUERY, []) == []
    assert reranker.rank(QUERY, [], first_stage=[], ids=[]) == []
    assert reranker.score_batch([]) == []
    (only,) = reranker.rank(QUERY, ["only"], first_stage=[3.0])
    assert only["score"] == pytest.approx(0, abs=1e-6)  # the log of all attention
    assert reranker.rank(QUERY, ["only"])[0]["score"] == pytest.approx(1)
    assert len(reranker.rank(QUERY, ["a", "b"], top_k=9)) == 2
    scores = reranker.score(QUERY, ["same words", "other", "same words"])
    assert scores[0] == pytest.approx(scores[2], abs=1e-6)
    found = reranker.rank(QUERY, ["same words", "same words"])
    assert sorted(row["corpus_id"] for row in found) == [0, 1]


def test_empty_texts_are_ranked(folder):
    assert np.isfinite(load(folder).score("", ["", "a", ""])).all()


def test_the_first_stage_moves_scores_by_the_weight_it_was_tuned_to(trained):
    reranker = load(trained)
    plain = reranker.score(QUERY, DOCUMENTS)
    first_stage = [5.0, 1.0, 2.0, 8.0, 3.0]
    mixed = reranker.score(QUERY, DOCUMENTS, first_stage=first_stage)
    deviation = (np.array(first_stage) - np.mean(first_stage)) / np.std(first_stage)
    np.testing.assert_allclose(mixed, plain + 0.7 * deviation, atol=1e-4)
    level = reranker.score(QUERY, DOCUMENTS, first_stage=[1.0] * 5)
    np.testing.assert_allclose(level, plain, atol=1e-6)


@pytest.mark.parametrize("heads", [None, [1.0, -0.5, 2.0, 0.3]])
def test_null_calibration_takes_off_what_documents_score_when_nothing_is_asked(heads, folder):
    loaded = load(folder).parts

    def reranker(null, conditioning):
        readout = Readout(heads and tuple(heads), prior=0.5, null=null)
        changes = {"readouts": {conditioning: readout}, "null_query": "N/A"}
        settings = replace(loaded.settings, **changes)
        return BlockReranker(replace(loaded, settings=settings), conditioning)

    for conditioning in ("query", "none"):
        plain, calibrated = reranker(0.0, conditioning), reranker(0.8, conditioning)
        wanted = plain.score(QUERY, DOCUMENTS) - 0.8 * plain.score("N/A", DOCUMENTS)
        np.testing.assert_allclose(calibrated.score(QUERY, DOCUMENTS), wanted, atol=1e-5)
        found = calibrated.score(QUERY, DOCUMENTS, first_stage=[0, 1, 0, 0, 0])
        np.testing.assert_allclose(
            found, wanted + 0.5 * np.array([-1, 4, -1, -1, -1]) / 2, atol=1e-5
        )
    held = calibrated.document_keys(DOCUMENTS)
    np.testing.assert_allclose(calibrated.score_held(QUERY, held), wanted, atol=1e-5)
    level = reranker(1.0, "none").score("N/A", DOCUMENTS)
    np.testing.assert_allclose(level, 0, atol=1e-6)


def test_mistakes_are_told(folder):
    reranker = load(folder)
    for mistake, words in (
        (lambda: reranker.rank(QUERY, "text"), "expected a list of documents"),
        (lambda: reranker.rank(QUERY, DOCUMENTS, ids=["a"]), "expected 5 ids, found 1"),
        (lambda: reranker.rank(QUERY, DOCUMENTS, top_k=0), "top_k of at least 1"),
        (lambda: reranker.score(QUERY, DOCUMENTS, first_stage=[1.0]), "first-stage scores of"),
        (lambda: reranker.score(QUERY, ["a"], first_stage=[np.nan]), "found NaN or infinity"),
        (lambda: reranker.score(QUERY, ["a"], first_stage=[-np.inf]), "-inf for document 0"),
        (lambda: reranker.score(QUERY, ["a", None]), "as document 1, found NoneType"),
        (lambda: reranker.score(7, ["a"]), "as the query, found int"),
        (lambda: reranker.score(QUERY, ["a \ud83d b"]), "document 0 to be Unicode"),
    ):
        with pytest.raises(InputError, match=words):
            mistake()


def test_scores_that_are_not_finite_are_refused(folder):
    reranker = load(folder)
    with torch.no_grad():
        next(reranker.parts.backbone.model.parameters()).fill_(torch.nan)
    with pytest.raises(FormatError, match="expected finite scores, found nan"):
        reranker.score(QUERY, DOCUMENTS)


def test_stored_keys_that_give_no_numbers_are_refused(trained):
    reranker = load(trained, "none")
    held = reranker.document_keys(DOCUMENTS)
    held.layers[2][0][int(held.bounds[3])] = torch.inf
    with pytest.raises(FormatError, match="for document 3; the model's weights are damaged"):
        reranker.score_held(QUERY, held)


def test_an_explanation_shares_attention_between_words(trained):
    reranker = load(trained)
    found = reranker.explain(QUERY, DOCUMENTS[:3])
    assert [row["corpus_id"] for row in found] == [
        row["corpus_id"] for row in reranker.rank(QUERY, DOCUMENTS[:3])
    ]
    for row in found:
        text = DOCUMENTS[row["corpus_id"]]
        assert row["tokens"]
        assert 0 < sum(token["attention"] for token in row["tokens"]) < 1  # [SEP] draws some
        for token in row["tokens"]:
            assert token["text"] == text[token["start"] : token["stop"]]


def test_unknown_settings_are_refused(tmp_path):
    write_reranker(tmp_path, "bert", teperature=2)
    with pytest.raises(FormatError, match="unknown settings teperature"):
        load(tmp_path)


# Prompts


def builder(folder):
    return load(folder).parts.prompts


def test_special_tokens_in_texts_are_text(folder):
    prompts = builder(folder)
    sep = prompts.build("a", ["b"], "query").documents[0][-1]
    block = prompts.build("[SEP] [CLS]", ["x [SEP] y"], "query")
    assert block.documents[0].count(sep) == 1
    assert list(block.query).count(sep) == 1
    assert len(block.query) > 5


def test_long_texts_lose_their_end_and_never_the_template(folder):
    prompts = builder(folder)
    words = "sieve " * 300
    block = prompts.build(words, [words, "short", ""], "query")
    assert len(block.prefix) == prompts.sizes.prefix
    assert len(block.query) == prompts.sizes.query
    assert len(block.documents[0]) == prompts.sizes.document
    end = prompts.build("a", ["b"], "query").query[-1]
    assert block.query[-1] == block.prefix[-1] == block.documents[0][-1] == end
    assert block.signals == 2
    assert len(block.documents[2]) == 1


def test_without_conditioning_documents_and_prefix_do_not_hold_the_query(folder):
    prompts = builder(folder)
    one, other = (prompts.build(query, ["b"], "none") for query in ("sieve", "other words"))
    assert one.prefix == other.prefix
    assert one.documents == other.documents
    assert one.query != other.query


def test_templates_without_room_or_place_are_refused(folder):
    with pytest.raises(InputError, match="1 times in 'no place'"):
        Template("{query}", "x", "no place", "{query}")
    with pytest.raises(InputError, match=r"expected \{query\} 0 times"):
        Template("{query}", "{query}", "{text}", "{query}")
    backend = builder(folder)._texts
    long = Template("{query}" + "a b c d " * 20, "[CLS]", "{text}", "{query}")
    with pytest.raises(InputError, match="expected room for a text in 10 prefix tokens"):
        PromptBuilder(backend, long, BlockSizes(10, 10, 10))


# The store of document keys


def stored(trained, tmp_path, **options):
    reranker = load(trained, "none")
    options = {"budget_bytes": 1 << 20} | options
    return reranker, DocumentStore.build(reranker, DOCUMENTS, tmp_path / "keys", **options)


def test_stored_keys_give_uncached_scores_within_a_bound(trained, tmp_path):
    reranker, store = stored(trained, tmp_path)
    wanted = reranker.score(QUERY, DOCUMENTS)
    opened = DocumentStore.open(tmp_path / "keys", reranker.parts.fingerprint)
    assert len(opened) == len(store) == 5
    for at in ([0, 1, 2, 3, 4], [3, 0]):
        places = opened.find([DOCUMENTS[one] for one in at])
        held = opened.keys(places, torch.device("cpu"), torch.float32)
        found = reranker.score_held(QUERY, held)
        np.testing.assert_allclose(found, wanted[at], atol=0.1 * wanted.std())
        assert not np.array_equal(found, wanted[at])  # int8 rounds


@pytest.mark.parametrize("bits", [8, 4])
def test_stored_numbers_are_at_most_half_a_step_off(bits, tmp_path):
    settings = {"readouts": READOUTS, "reads_from": 1}  # a layer of keys and values, one of keys
    reranker = load(write_reranker(tmp_path / "model", "bert", **settings), "none")
    store = DocumentStore.build(
        reranker, DOCUMENTS, tmp_path / "keys", budget_bytes=1 << 20, bits=bits
    )
    assert store.store.contents.nbytes == store.rows * 3 * 4 * (bits + 2)  # 3 parts, 4 heads of 8
    opened = DocumentStore.open(tmp_path / "keys", reranker.parts.fingerprint)
    places = opened.find(DOCUMENTS)
    found = opened.keys(places, torch.device("cpu"), torch.float32)
    true = reranker.document_keys(DOCUMENTS)
    most = 2 ** (bits - 1) - 1
    for layer, tensors in true.layers.items():
        for one, other in zip(tensors, found.layers[layer], strict=True):
            if one is None:
                assert other is None
                continue
            largest = one.abs().amax(2, keepdim=True)
            bound = largest / (2 * most) * 1.002 + largest / 2048  # float16 rounds the step
            assert ((one - other).abs() <= bound).all()
            assert (one - other).abs().max() > largest.mean() / (8 * most)  # it does round


def test_four_bits_hold_an_odd_number_of_numbers():
    rows = torch.randn(5, 1, 3, 7, generator=torch.Generator().manual_seed(0))
    packed = torch.from_numpy(rounded(rows, 4))
    assert packed.shape == (5, rounded_bytes((1, 3, 7), 4)) == (5, 11 + 2 * 3)
    found = restored(packed, (1, 3, 7), 4)
    step = rows.abs().amax(3, keepdim=True) / 7
    torch.testing.assert_close(found / step, (rows / step).round(), atol=0.02, rtol=0)


def test_other_numbers_of_bits_are_refused(trained, tmp_path):
    with pytest.raises(InputError, match="expected keys of 8 or 4 bits, found 6"):
        stored(trained, tmp_path, bits=6)


def test_fewer_kept_tokens_take_fewer_bytes(trained, tmp_path):
    _, whole = stored(trained, tmp_path / "a")
    _, half = stored(trained, tmp_path / "b", keep_every=2)
    assert whole.store.contents.nbytes == whole.rows * 4 * (8 + 2)
    assert 0.4 < half.rows / whole.rows < 0.62


def test_a_store_refuses_what_does_not_belong_to_it(trained, tmp_path):
    reranker, _ = stored(trained, tmp_path)
    folder = tmp_path / "keys"
    with pytest.raises(MismatchError, match="by model other, found"):
        DocumentStore.open(folder, "other")
    with pytest.raises(InputError, match="at most 100 bytes"):
        stored(trained, tmp_path / "small", budget_bytes=100)
    with pytest.raises(InputError, match="conditioning 'query'"):
        DocumentStore.build(load(trained), ["b"], tmp_path / "new", budget_bytes=9999)
    with pytest.raises(FormatError, match="expected a finished store"):
        DocumentStore.open(tmp_path, "any")
    raw = bytearray((folder / "contents.bin").read_bytes())
    raw[7] ^= 1
    (folder / "contents.bin").write_bytes(bytes(raw))
    with pytest.raises(CorruptionError, match=r"contents\.bin: expected the bytes"):
        DocumentStore.open(folder, reranker.parts.fingerprint)


def test_texts_are_found_by_what_they_say(trained, tmp_path):
    reranker = load(trained, "none")
    many = [f"{text} {number}" for number in range(40) for text in DOCUMENTS]
    store = DocumentStore.build(reranker, many * 2, tmp_path / "keys", budget_bytes=1 << 24)
    assert len(store) == len(many) == 200
    asked = [many[7], "a text of which it has no keys", many[199], many[7] + " ", many[0], ""]
    found = store.find(asked)
    assert (found >= 0).tolist() == [True, False, True, False, True, False]
    assert sorted(store.find(many).tolist()) == list(range(200))
    for text, at in ((many[7], found[0]), (many[199], found[2])):
        held = store.keys(np.array([at]), torch.device("cpu"), torch.float32)
        fresh = reranker.document_keys([text])
        assert held.bounds.tolist() == fresh.bounds.tolist()
        for layer, (keys, _) in fresh.layers.items():
            torch.testing.assert_close(held.layers[layer][0], keys, atol=0.02, rtol=0.02)


def test_a_store_of_no_documents_finds_none(trained, tmp_path):
    reranker = load(trained, "none")
    store = DocumentStore.build(reranker, [], tmp_path / "keys", budget_bytes=1)
    opened = DocumentStore.open(tmp_path / "keys", reranker.parts.fingerprint)
    assert len(store) == len(opened) == opened.rows == 0
    assert opened.find(["a", ""]).tolist() == [-1, -1]


def test_a_new_store_replaces_the_old_one_when_it_is_finished(trained, tmp_path):
    reranker, old = stored(trained, tmp_path)
    with pytest.raises(InputError, match="at most 100 bytes"):
        stored(trained, tmp_path, budget_bytes=100)
    assert len(DocumentStore.open(tmp_path / "keys", reranker.parts.fingerprint)) == 5
    DocumentStore.build(reranker, ["other"], tmp_path / "keys", budget_bytes=1 << 20)
    opened = DocumentStore.open(tmp_path / "keys", reranker.parts.fingerprint)
    assert opened.find(["other", DOCUMENTS[0]]).tolist() == [0, -1]
    assert old.find(DOCUMENTS).tolist() == [0, 1, 2, 3, 4]


# The bundled model


def test_the_bundled_reranker_prefers_answers():
    reranker = BlockReranker.from_pretrained(device="cpu")
    documents = [
        "The Moon circles the Earth and raises the tides of the oceans.",
        "Jupiter is a gas giant with a great red spot, a storm that has blown for centuries.",
        "Mars is called the Red Planet for the rust of its soil.",
        "A drum sieve is used to sift flour and to make purees smooth.",
    ]
    for conditioning in ("query", "none"):
        reranker.conditioning = conditioning
        for query, best in (
            ("which planet has a giant hurricane", 1),
            ("what causes the tides", 0),
            ("kitchen tool for flour", 3),
        ):
            assert reranker.rank(query, documents)[0]["corpus_id"] == best, (conditioning, query)


def test_the_bundled_reranker_refuses_another_embedding_matrix(tmp_path):
    from tamis.retriever.rerank.loading import BUNDLED_RERANKER

    for name in ("config.json", "model.safetensors", "embedding_sample.safetensors"):
        (tmp_path / name).write_bytes((BUNDLED_RERANKER / name).read_bytes())
    settings = json.loads((BUNDLED_RERANKER / "reranker.json").read_text())
    settings["shared_embeddings"] = -1.0
    (tmp_path / "reranker.json").write_text(json.dumps(settings))
    with pytest.raises(MismatchError, match="install encoder and reranker of one release"):
        load(tmp_path)


def test_the_bundled_reranker_adds_at_most_12_mib():
    from tamis.retriever.rerank.loading import BUNDLED_RERANKER

    assert sum(path.stat().st_size for path in BUNDLED_RERANKER.iterdir()) < 12 << 20


def test_the_face_of_the_package_has_the_reranker():
    import tamis.retriever

    assert tamis.retriever.BlockReranker is BlockReranker
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = tamis.retriever.Nothing
