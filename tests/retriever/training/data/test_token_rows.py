import numpy as np
import pytest

from tamis.index.errors import FormatError
from tamis.retriever.training.data.token_rows import TokenRows, row_hashes

ROWS = [[5, 6, 7], [], [6, 5, 7], [70_000], [5, 6, 7]]


def test_rows_survive_being_saved(tmp_path):
    for i, rows in enumerate((ROWS, [row for row in ROWS if 70_000 not in row], [])):
        TokenRows.of(rows).save(tmp_path / f"{i}.rows")
        loaded = TokenRows.load(tmp_path / f"{i}.rows")
        assert [loaded.row(j).tolist() for j in range(len(loaded))] == rows


def test_damaged_rows_are_refused(tmp_path):
    path = tmp_path / "a.rows"
    TokenRows.of(ROWS).save(path)
    whole = path.read_bytes()
    for bad in (b"", whole[:-5], whole[:30] + b"xx" + whole[32:], b"something else"):
        path.write_bytes(bad)
        with pytest.raises(FormatError, match="expected token rows"):
            TokenRows.load(path)
    with pytest.raises(FormatError):
        TokenRows.load(tmp_path / "none.rows")


def test_equal_rows_have_equal_hashes_and_order_matters():
    hashes = row_hashes(TokenRows.of(ROWS))
    assert hashes[0] == hashes[4]
    assert len({int(one) for one in hashes}) == 4


def test_rows_are_taken_and_joined_in_order():
    rows = TokenRows.of(ROWS)
    taken = rows.take(np.array([3, 0, 1]))
    assert [taken.row(i).tolist() for i in range(3)] == [[70_000], [5, 6, 7], []]
    joined = TokenRows.concatenate([taken, rows])
    assert [joined.row(i).tolist() for i in range(4)] == [[70_000], [5, 6, 7], [], [5, 6, 7]]
