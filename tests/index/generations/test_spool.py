"""Builds of vectors that come in batches: what a stopped one has read is not read again."""

import numpy as np
import pytest

from tamis.index import Index, InputError, MismatchError, SparseVectors
from tamis.index.generations.build_plan import PLAN
from tamis.index.generations.spool import Source

BATCH = 13


def corpus(rows=61, vocab_size=97, seed=5):
    rng = np.random.default_rng(seed)
    return SparseVectors.from_dicts(
        [
            {int(term): float(rng.random()) + 0.1 for term in rng.choice(vocab_size, 7, False)}
            for _ in range(rows)
        ],
        vocab_size,
    )


class FailingError(Exception):
    """The power of this test."""


def source(vectors, *, stop=None, asked=None, plan=None, resume=False):
    """Batches of the vectors; the reading fails at row ``stop``."""

    def batches(first):
        if asked is not None:
            asked.append(first)
        for at in range(first, len(vectors), BATCH):
            if stop is not None and at >= stop:
                raise FailingError
            yield vectors.rows(at, min(at + BATCH, len(vectors)))

    return Source(batches, plan or {"vectors": "these"}, resume)


def contents(path):
    return {file.name: file.read_bytes() for file in (path / "segments/000001").iterdir()}


@pytest.mark.parametrize("stop", [0, 1, 2 * BATCH, 50])
def test_a_build_goes_on_where_it_stopped(tmp_path, stop):
    vectors, asked = corpus(), []
    with pytest.raises(FailingError):
        Index.build(tmp_path / "stopped", source(vectors, stop=stop))
    Index.build(tmp_path / "stopped", source(vectors, asked=asked, resume=True))
    Index.build(tmp_path / "whole", vectors)
    assert asked == [-(-stop // BATCH) * BATCH]
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    assert not (tmp_path / "stopped/build").exists()


def test_a_build_goes_on_when_all_had_been_read(tmp_path, monkeypatch):
    vectors, asked = corpus(), []
    with monkeypatch.context() as patched:
        patched.setattr("tamis.index.index.write_segment", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Index.build(tmp_path / "c", source(vectors))
    Index.build(tmp_path / "c", source(vectors, asked=asked, resume=True))
    assert asked == [len(vectors)]
    Index.build(tmp_path / "whole", vectors)
    assert contents(tmp_path / "c") == contents(tmp_path / "whole")


def test_an_unfinished_build_is_neither_mixed_nor_overwritten_unasked(tmp_path):
    vectors = corpus()
    with pytest.raises(FailingError):
        Index.build(tmp_path / "c", source(vectors, stop=BATCH))
    with pytest.raises(InputError, match="found an unfinished build; go on with --resume"):
        Index.build(tmp_path / "c", source(vectors))
    other = {"vectors": "others", "more": 1}
    with pytest.raises(
        MismatchError, match="found more 1 where it was none; vectors others where it was these"
    ):
        Index.build(tmp_path / "c", source(vectors, plan=other, resume=True))
    assert (tmp_path / "c" / PLAN).exists()
    assert len(Index.build(tmp_path / "c", source(vectors, resume=True))) == len(vectors)


def test_a_finished_build_is_not_resumed(tmp_path):
    Index.build(tmp_path / "c", source(corpus()))
    with pytest.raises(InputError, match="expected no index there yet"):
        Index.build(tmp_path / "c", source(corpus(), resume=True))
