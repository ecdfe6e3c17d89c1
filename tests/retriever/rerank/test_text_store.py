"""What was computed of texts is found by what they say, whole or not at all."""

import numpy as np
import pytest

from tamis.index.errors import (
    CorruptionError,
    FormatError,
    InputError,
    MismatchError,
    TamisWarning,
)
from tamis.retriever.rerank import text_store
from tamis.retriever.rerank.text_store import KEYS, VECTORS, CurrentStore, StoreKind, TextStore

KIND = StoreKind("letters", "letters", "--letters")
TEXTS = ["owl", "", "a sieve", "owl", " \u200b", "naïve 東京", "x" * 300]


def letters(texts):
    """The letters of each text as bytes: none for one that has none."""
    return [np.frombuffer(text.encode(), np.uint8) for text in texts]


def build(folder, texts=TEXTS, compute=letters, budget_bytes=1000, fingerprint="one", **settings):
    return TextStore.build(
        folder, KIND, fingerprint, texts, compute, budget_bytes=budget_bytes, settings=settings
    )


def contents(store, texts):
    return [None if at < 0 else store.of(at).tobytes().decode() for at in store.find(texts)]


def test_a_text_has_its_own_contents_and_no_other_has(tmp_path):
    built = build(tmp_path / "s")
    for store in (built, TextStore.open(tmp_path / "s", KIND, "one")):
        assert len(store) == 4
        asked = ["x" * 300, "owl ", "naïve 東京", "Owl", "owl", "", "a sieve"]
        wanted = ["x" * 300, None, "naïve 東京", None, "owl", None, "a sieve"]
        assert contents(store, asked) == wanted
        assert store.missing(asked) == 2  # a text without a visible character is not missed
        assert store.find([]).tolist() == []
        flat, bounds = store.gathered(store.find(["naïve 東京", "owl"]))
        assert flat.tobytes().decode() == "naïve 東京owl"
        assert bounds.tolist() == [0, 13, 16]
    files = [path.stat().st_size for path in (tmp_path / "s").glob("*.bin")]
    assert built.size_bytes == sum(files) == 3 + 7 + 13 + 300 + 5 * 8 + 4 * 16


def test_texts_of_any_number_are_computed_a_few_at_a_time(tmp_path):
    sizes = []

    def counted(texts):
        sizes.append(len(texts))
        return letters(texts)

    many = [f"text {number}" for number in range(150)]
    store = build(tmp_path / "s", iter(many * 2), counted, 10_000)
    assert sizes == [64, 64, 22]
    assert contents(store, many) == many


def test_only_new_texts_are_computed_again_by_the_same_model(tmp_path):
    seen = []

    def remembered(texts):
        seen.extend(texts)
        return letters(texts)

    for options, computed in (
        ({"texts": ["a", "b"]}, ["a", "b"]),
        ({"texts": ["b", "c", "a"]}, ["c"]),
        ({"texts": ["c", "b"]}, []),
        ({"texts": ["c", "b"], "fingerprint": "two"}, ["c", "b"]),
        ({"texts": ["c"], "fingerprint": "two", "bits": 4}, ["c"]),
    ):
        seen.clear()
        store = build(tmp_path / "s", compute=remembered, **options)
        assert seen == computed
        assert contents(store, ["a", "b", "c"]) == [
            text if text in options["texts"] else None for text in "abc"
        ]


def test_no_text_makes_a_store_of_none(tmp_path):
    store = build(tmp_path / "s", [" "], budget_bytes=0)
    assert (len(store), store.find(["a"]).tolist()) == (0, [-1])
    assert len(TextStore.open(tmp_path / "s", KIND, "one")) == 0


def test_a_store_beyond_its_budget_leaves_the_old_one(tmp_path):
    build(tmp_path / "s", ["old"])
    with pytest.raises(InputError, match="letters of at most 10 bytes, found more after 4"):
        build(tmp_path / "s", budget_bytes=10)
    assert contents(TextStore.open(tmp_path / "s", KIND, "one"), ["old"]) == ["old"]
    assert [one.name for one in tmp_path.iterdir()] == ["s"]  # nothing half-written stays


def test_a_model_that_fails_leaves_nothing_half_written(tmp_path):
    def fail(texts):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "s", compute=fail)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["contents.bin", "bounds.bin", "hashes.bin"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_file_is_named(tmp_path, name, damage):
    build(tmp_path / "s")
    path = tmp_path / "s" / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.unlink()
    if damage != "gone":
        path.write_bytes(bytes(raw) if damage == "changed" else bytes(raw[:-1]))
    with pytest.raises(CorruptionError, match=name.replace(".", r"\.")):
        TextStore.open(tmp_path / "s", KIND, "one")


def test_what_does_not_belong_together_is_refused(tmp_path):
    build(tmp_path / "s")
    with pytest.raises(MismatchError, match="by model two, found those by one; build it with"):
        TextStore.open(tmp_path / "s", KIND, "two")
    with pytest.raises(MismatchError, match="expected dense vectors of format 3, found letters"):
        TextStore.open(tmp_path / "s", VECTORS, "one")
    with pytest.raises(FormatError, match="expected a finished store of document keys, found none"):
        TextStore.open(tmp_path / "none", KEYS, "one")


def test_the_store_of_now_follows_what_lies_there(tmp_path):
    current, folder = CurrentStore(tmp_path, KIND, "one"), tmp_path / KIND.folder
    assert current.opened() is None
    build(folder, ["a"])
    first = current.opened()
    assert contents(first, ["a", "b"]) == ["a", None]
    assert current.opened() is first
    build(folder, ["b"])
    assert contents(current.opened(), ["a", "b"]) == [None, "b"]
    assert contents(first, ["a"]) == ["a"]  # who reads the old one goes on
    build(folder, ["b"], fingerprint="two")
    with pytest.warns(TamisWarning, match="texts are read instead"):
        assert current.opened() is None
    assert current.opened() is None  # told once
    (folder / "store.json").unlink()
    with pytest.warns(TamisWarning, match="expected a finished store"):
        assert current.opened() is None


def test_a_store_that_is_replaced_while_it_is_opened_is_opened_again(tmp_path, monkeypatch):
    current, folder = CurrentStore(tmp_path, KIND, "one"), tmp_path / KIND.folder
    build(folder, ["owl"])
    plain = text_store._checksum

    def replaced(path):
        monkeypatch.setattr(text_store, "_checksum", plain)
        build(folder, ["owl", "a sieve"])
        return plain(path)

    monkeypatch.setattr(text_store, "_checksum", replaced)
    assert contents(current.opened(), ["a sieve"]) == ["a sieve"]
    (folder / "contents.bin").write_bytes(b"other")
    with pytest.raises(CorruptionError):
        CurrentStore(tmp_path, KIND, "one").opened()
