import json
from itertools import pairwise

import numpy as np
import pytest

from tamis.index import InputError, SparseVectors
from tamis.index.segment import blocks
from tamis.index.segment.calibration import RECALLS
from tamis.retriever import Passage
from tamis.scripts.bench import at_size, composed, made_vectors
from tamis.scripts.bench.at_size import _done, cheapest, recall_by_score
from tamis.scripts.bench.block_counts import count_blocks
from tamis.scripts.bench.composed import Recipe, World
from tamis.scripts.bench.contenders import EXACT, WAYS, Process, Tamis
from tamis.scripts.bench.gate import _agreement, _counts, _fitted, _order, _postings
from tamis.scripts.bench.loops import interleave
from tamis.scripts.bench.made_vectors import (
    check_room,
    compose_into,
    open_vectors,
    read_recipe,
    write_vectors,
)
from tamis.scripts.bench.windows import sentence_windows

SEED = 3


def drawn(rows, vocab_size=97, seed=SEED):
    rng = np.random.default_rng(seed)
    return SparseVectors.from_dicts(
        [
            dict.fromkeys(rng.choice(vocab_size, rng.integers(5, 20), replace=False).tolist(), 1.0)
            | {0: float(row + 1)}
            for row in range(rows)
        ],
        vocab_size,
    )


def world(rows=60):
    return World.ordered(drawn(rows), np.arange(rows) // 3)


def composed_at_once(made, documents, recipe):
    return SparseVectors.concatenate(list(composed.composed(made, documents, recipe, SEED)))


def test_windows_are_runs_of_whole_sentences_each_text_once():
    made = sentence_windows(
        [Passage("a", "One fell. Two rose. Three.", "T"), Passage("b", "Two rose.", "T")]
    )
    assert made.texts == [
        *("T One fell.", "T One fell. Two rose.", "T One fell. Two rose. Three."),
        *("T Two rose.", "T Two rose. Three.", "T Three."),
    ]
    assert made.passages == [0] * 6  # the second passage's only window was there


def test_a_window_is_no_longer_than_its_bound():
    made = sentence_windows([Passage("a", f"{'x' * 250}. {'Y' * 100}. Z.")])
    assert [len(text) for text in made.texts] == [251, 101, 104, 2]


def test_near_windows_stand_together():
    rows = [{1: 1.0, 9: 5.0}, {2: 5.0}, {1: 2.0, 9: 5.0}, {2: 5.0, 3: 0.1}]
    made = World.ordered(SparseVectors.from_dicts(rows, 10), np.arange(4))
    places = {int(passage): place for place, passage in enumerate(made.passages)}
    assert abs(places[0] - places[2]) == abs(places[1] - places[3]) == 1


def test_a_composed_document_is_a_maximum_of_two_near_windows_less_what_is_dropped():
    made, recipe = world(), Recipe(variants=2, reach=4, kept=0.7)
    documents = composed_at_once(made, 120, recipe)
    assert len(documents) == 120
    windows = made.vectors.to_dicts()
    kept = 0
    for doc, row in enumerate(documents.to_dicts()):
        place = doc % len(windows)
        near = [windows[(place + step) % len(windows)] for step in range(-4, 5) if step]
        ours = windows[place]
        assert any(
            set(row) <= set(ours) | set(other)
            and all(weight in (ours.get(term), other.get(term)) for term, weight in row.items())
            for other in near
        )
        kept += len(row)
    whole = composed_at_once(made, 120, recipe._replace(kept=1.0))
    assert 0.6 < kept / whole.nnz < 0.9


def test_without_dropout_a_document_is_the_whole_maximum():
    made = world()
    windows = made.vectors.to_dicts()
    for doc, row in enumerate(composed_at_once(made, 60, Recipe(1, 4, 1.0)).to_dicts()):
        assert row.keys() > windows[doc].keys() or row.keys() == windows[doc].keys()
        assert row[0] >= windows[doc][0]


def test_documents_do_not_depend_on_how_many_are_made_at_a_time(monkeypatch):
    whole = composed_at_once(world(), 100, Recipe(2, 4, 0.6))
    monkeypatch.setattr(composed, "CHUNK_ROWS", 7)
    parts = composed_at_once(world(), 100, Recipe(2, 4, 0.6))
    assert parts.to_dicts() == whole.to_dicts()


def test_a_larger_collection_has_a_larger_world():
    made = world(600)
    sizes = [len(made.thinned(windows, SEED).vectors) for windows in (60, 300, 900)]
    assert sizes[0] == pytest.approx(60, abs=30)
    assert sizes[1] == pytest.approx(300, abs=60)
    assert sizes[2] == 600
    small, large = (made.thinned(windows, SEED).passages for windows in (60, 300))
    assert set(small.tolist()) < set(large.tolist())
    with pytest.raises(InputError, match="expected two windows at least, found 1"):
        composed_at_once(World(drawn(1), np.zeros(1, np.int64)), 3, Recipe())


def test_vectors_are_read_as_they_were_written(tmp_path):
    parts = [drawn(3), drawn(5, seed=4)]
    write_vectors(tmp_path / "kept", parts)
    assert open_vectors(tmp_path / "kept").to_dicts() == [
        row for part in parts for row in part.to_dicts()
    ]


def test_vectors_that_were_cut_off_are_none(tmp_path):
    def batches():
        yield drawn(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_vectors(tmp_path / "kept", batches())
    with pytest.raises(InputError, match="expected vectors, found none"):
        open_vectors(tmp_path / "kept")


def test_a_collection_is_composed_once(tmp_path, monkeypatch):
    first = compose_into(tmp_path / "made", world(), 50, Recipe(2, 4, 0.6))
    monkeypatch.setattr(made_vectors, "composed", None)  # would fail if it were called
    again = compose_into(tmp_path / "made", world(), 50, Recipe(2, 4, 0.6))
    assert again.to_dicts() == first.to_dicts()


def test_work_that_the_disk_has_no_room_for_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(made_vectors, "free_bytes", lambda _: 1_000_000_000)
    check_room(tmp_path, 1_000_000_000)
    with pytest.raises(InputError, match=r"expected 2\.0 GB of free disk, found 1\.0"):
        check_room(tmp_path, 2_000_000_000)


def test_work_that_memory_has_no_room_for_is_refused(monkeypatch):
    monkeypatch.setattr(at_size, "memory_bytes", lambda: 8_000_000_000)
    with pytest.raises(InputError, match="expected 9 GB of memory for all engines, found 8"):
        at_size._check_memory(9_000_000_000)


def test_counts_are_those_of_a_naive_search():
    documents, asked = drawn(40), drawn(5, seed=9)
    scores = np.array([[sum(q.get(t, 0) * w for t, w in d.items()) for d in documents.to_dicts()]
                       for q in asked.to_dicts()])  # fmt: skip
    near = [np.count_nonzero(row >= 0.9 * np.sort(row)[-10]) for row in scores]
    holding = [sum(t in d for d in documents.to_dicts()) for q in asked.to_dicts() for t in q]
    found = _counts(documents, asked)
    assert list(found.values()) == pytest.approx([sum(holding) / 5, np.mean(near)])


def test_the_recipe_is_fitted_to_the_postings_of_a_query():
    made, asked = world(), drawn(9, seed=9)
    wanted = _postings(composed_at_once(made, 200, Recipe(4, 4, 0.5)), asked)
    fitted = _fitted(made, Recipe(4, 4), 200, asked, wanted)
    assert fitted.kept == pytest.approx(0.5, abs=0.03)


def test_the_recipe_is_what_the_gate_wrote(tmp_path):
    assert read_recipe(tmp_path) == Recipe()
    (tmp_path / "recipe.json").write_text(json.dumps(Recipe(9, 8, 0.5)._asdict()))
    assert read_recipe(tmp_path) == Recipe(9, 8, 0.5)


def test_agreement_is_relative_to_what_is_real():
    assert _agreement("a", 100.0, 115.0)["agrees"]
    assert not _agreement("a", 100.0, 116.0)["agrees"]
    assert not _agreement("a", 100.0, 84.0)["agrees"]


def cell(engine, recall, us, k=10):
    return {
        "engine": engine,
        "kind": "short",
        "k": k,
        "setting": f"s{recall}",
        "us": us,
        "recall": recall,
    }


def test_the_cheapest_setting_that_reaches_a_level_stands_for_an_engine():
    cells = [cell("a", 0.96, 5.0), cell("a", 0.99, 3.0), cell("a", 0.9, 1.0), cell("b", 0.97, 2.0)]
    best = {(row["engine"], row["level"]): row["us"] for row in cheapest(cells)}
    assert best["a", 0.9] == 1.0
    assert best["a", 0.95] == best["a", 0.99] == 3.0
    assert best["b", 0.95] == 2.0
    assert best["b", 0.99] is None
    assert best["a", "exact"] is None
    assert _order({"cells": cells}) == ["b", "a"]


def test_recall_is_of_scores_so_that_ties_are_equal():
    documents = SparseVectors.from_dicts([{0: 3.0}, {0: 2.0}, {0: 2.0}, {0: 1.0}, {1: 9.0}], 3)
    asked = SparseVectors.from_dicts([{0: 1.0}, {2: 1.0}], 3)
    truth = [np.array([0, 1]), np.array([-1, -1])]
    nothing = np.array([4, 3])
    assert recall_by_score(documents, asked, [np.array([2, 0]), nothing], truth) == 1.0
    assert recall_by_score(documents, asked, [np.array([0, 3]), nothing], truth) == 0.75
    assert recall_by_score(documents, asked, [np.array([0, 0]), nothing], truth) == 0.75
    assert recall_by_score(documents, asked, [np.array([4, 2**60]), nothing], truth) == 0.5


def test_a_run_goes_on_after_the_cells_that_are_whole(tmp_path):
    lines = [json.dumps(cell("a", 0.9, 1.0)), json.dumps(cell("b", 0.9, 2.0))[:-9]]
    (tmp_path / "cells.jsonl").write_text("\n".join(lines))
    assert [row["engine"] for row in _done(tmp_path / "cells.jsonl").values()] == ["a"]
    assert _done(tmp_path / "none.jsonl") == {}


def test_seismic_reads_lengths_terms_and_weights():
    rows = drawn(4)
    words = np.empty(2 * rows.nnz + 4, np.uint32)
    interleave(rows.offsets, rows.terms, rows.weights.view(np.uint32), words)
    expected = []
    for start, stop in pairwise(rows.offsets.tolist()):
        bits = rows.weights[start:stop].view(np.uint32)
        expected += [stop - start, *rows.terms[start:stop].tolist(), *bits.tolist()]
    assert words.tolist() == expected


@pytest.mark.long
def test_every_engine_answers_a_composed_collection(tmp_path, monkeypatch):
    for name, vectors in (("windows", drawn(60)), ("short", drawn(13, seed=8))):
        write_vectors(tmp_path / name, [vectors])
    np.arange(60).tofile(tmp_path / "passages")
    monkeypatch.setattr(at_size, "DEPTHS", (10,))
    monkeypatch.setattr(at_size, "start", started_alone)
    told = []
    found = at_size.measure_composed(tmp_path, 300, 7, told.append, trust_memory=False)
    assert found["documents"] == 300
    assert found["documents_a_window"] == 5
    assert found["missing"] == ["the others"]
    assert found["built"]["tamis"]["size_bytes"] > 0
    exact = [row for row in found["cells"] if row["setting"] == "exact"]
    assert [(row["kind"], row["k"], row["recall"]) for row in exact] == [("short", 10, 1.0)]
    assert all(row["us"] > 0 for row in found["cells"])
    assert not (tmp_path / "composed-300").exists()
    assert any("tamis built in" in line for line in told)


def started_alone(vectors, scratch):
    return {"tamis": Process((Tamis,), vectors, scratch, 1)}, ["the others"]


def test_an_engine_that_fails_says_why(tmp_path):
    write_vectors(tmp_path / "short", [drawn(3)])
    process = Process((Tamis,), tmp_path / "none", tmp_path, 1)
    with pytest.raises(RuntimeError, match=r"Tamis: InputError: .*expected vectors, found none"):
        process.took()
    process.end()


def test_a_collection_with_blocks_is_measured_exactly_in_both_ways(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "FROM_DOCUMENTS", 1)
    write_vectors(tmp_path / "documents", [drawn(300)])
    write_vectors(tmp_path / "short", [drawn(5, seed=4)])
    engine = Tamis(tmp_path / "documents", tmp_path)
    ways = [f"{way} exact" for way in WAYS]
    assert engine.settings(10) == [EXACT, *(f"recall={recall}" for recall in RECALLS), *ways]
    asked = open_vectors(tmp_path / "short")
    truth = engine.answer(asked, 10, EXACT)
    assert all(np.array_equal(engine.answer(asked, 10, way), truth) for way in ways)
    by_blocks = [
        bool(engine.ways[way].parts[0].entry.calibration.knobs(1.0, 10, long=False).blocks)
        for way in WAYS
    ]
    assert by_blocks == [False, True]
    rows = [
        {"engine": "tamis", "kind": "short", "k": 10, "setting": setting, "us": 1.0, "recall": 1.0}
        for setting in (EXACT, *ways)
    ]
    assert {row["engine"] for row in cheapest(rows)} == {
        "tamis",
        "tamis, windows",
        "tamis, blocks",
    }


def test_one_block_of_all_documents_is_counted_as_one():
    documents, asked = drawn(190), drawn(4, seed=9)
    rows = {row["size"]: row for row in count_blocks(documents, {"short": asked}, 5)}
    for size in (8, 64):
        assert rows[size]["blocks"] == -(-190 // size)
        assert 5 / size <= rows[size]["exact"] <= rows[size]["blocks"]
        assert rows[size]["for_0.95"] <= rows[size]["for_0.99"] <= rows[size]["exact"] * 4
    assert rows[1024]["blocks"] == rows[1024]["exact"] == rows[1024]["for_0.99"] == 1
    distinct = np.unique(documents.terms).size
    assert rows[1024]["entries_a_document"] == round(distinct / 190, 1)
