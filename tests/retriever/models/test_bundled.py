"""The encoder that ships: its size, its contract, and what it is for."""

import numpy as np
import pytest
from encoder_contract import EncoderContract, assert_same_vectors

from tamis.kernels.int8 import multiplies_int8
from tamis.retriever.models.arithmetic import fastest
from tamis.retriever.models.description import BUNDLED, read_checkpoint
from tamis.retriever.models.encoder import load_encoder, load_query_encoder
from tamis.retriever.models.inference_free import TableQueryEncoder

PASSAGES = [
    "Mars is the fourth planet from the Sun, called the Red Planet for the rust of its soil.",
    "The tides of the oceans follow the Moon, which circles the Earth in about a month.",
    "Sourdough bread rises by wild yeast; the dough rests a night before it is baked.",
    "Insulin lowers the sugar in the blood; people with diabetes lack it or resist it.",
]


@pytest.fixture(scope="module")
def bundled():
    return load_encoder(device="cpu")


class TestContract(EncoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls):
        return load_encoder(device="cpu")


def test_it_is_small_and_complete():
    size = sum(path.stat().st_size for path in BUNDLED.iterdir())
    assert size < 24 * 2**20
    names = {path.name for path in BUNDLED.iterdir()}
    assert {"README.md", "LICENSE", "config.json", "model.safetensors", "tokenizer.json"} <= names


def test_it_states_its_licence_and_needs_no_model_for_queries():
    description = read_checkpoint("default").description
    assert (description.licence, description.query_side) == ("apache-2.0", "table")
    assert description.vocab_size == 30522
    assert isinstance(load_query_encoder(), TableQueryEncoder)


def test_both_ways_to_load_it_have_one_fingerprint(bundled):
    assert load_query_encoder().description == bundled.description
    assert load_encoder(str(BUNDLED), device="cpu").description.fingerprint == (
        bundled.description.fingerprint
    )


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("which planet is red", 0),
        ("how does the moon move the sea", 1),
        ("how do you bake a loaf", 2),
        ("what helps diabetics", 3),
    ],
)
def test_it_ranks_the_passage_that_answers_first(bundled, query, best):
    documents = bundled.encode_documents(PASSAGES).to_scipy()
    scores = (documents @ bundled.encode_queries([query]).to_scipy().T).toarray()[:, 0]
    assert scores.argmax() == best


def test_a_passage_keeps_its_rarer_words_and_gains_others(bundled):
    vectors = bundled.encode_documents(PASSAGES)
    for i, text in enumerate(PASSAGES):
        terms = set(vectors.row(i)[0].tolist())
        (words,) = bundled.encode_queries([text]).to_dicts()
        rare = {term for term, weight in words.items() if weight > 4}
        assert len(rare & terms) >= 0.8 * len(rare) > 0
        assert len(terms) < 400
    assert vectors.nnz > sum(len(set(ids)) for ids in bundled.tokenizer.bare_ids(PASSAGES)) / 2


def test_unused_pieces_are_never_emitted(bundled):
    terms = bundled.encode_documents(PASSAGES).terms.tolist()
    assert not [t for t in terms if bundled.vocabulary.name(t).startswith("[unused")]


def test_rare_words_weigh_more_in_a_query_than_common_ones(bundled):
    (row,) = bundled.encode_queries(["the insulin"]).to_dicts()
    assert row[bundled.vocabulary.term("insulin")] > 5 * row[bundled.vocabulary.term("the")]


@pytest.mark.parametrize("arithmetic", ["bfloat16", "int8"])
def test_other_arithmetic_changes_weights_little(arithmetic):
    """Fresh words in no order, of lengths from one to beyond what the encoder reads."""
    if arithmetic == "int8" and not multiplies_int8():
        assert fastest() != "int8"
        return
    rng = np.random.default_rng()
    words = " ".join(PASSAGES).split()
    texts = [*PASSAGES, *(" ".join(rng.choice(words, n)) for n in (1, 2, 77, 400)), ""]
    whole, found = (
        load_encoder(device="cpu", arithmetic=one).encode_documents(texts)
        for one in ("float32", arithmetic)
    )
    assert_same_vectors(found, whole, tolerance=1.0)  # of terms at the edge of the 200 as well
    rows, truth = found.to_scipy().toarray(), whole.to_scipy().toarray()
    both = (rows > 0) & (truth > 0)
    assert np.abs(rows - truth)[both].max() < 0.3
    assert both.sum() > 0.9 * (truth > 0).sum()
    heaviest = [set(np.argsort(-row)[:10].tolist()) for row in rows[:4]]
    expected = [set(np.argsort(-row)[:10].tolist()) for row in truth[:4]]
    assert min(len(a & b) for a, b in zip(heaviest, expected, strict=True)) >= 7
