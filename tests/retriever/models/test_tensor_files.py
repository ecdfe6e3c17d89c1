"""Arrays of any memory layout come back as they are."""

import numpy as np
import pytest

from tamis.index.errors import FormatError
from tamis.retriever.models.quantised_weights import load_quantised, save_quantised
from tamis.retriever.models.tensor_files import load_arrays, save_arrays

GRID = np.arange(35, dtype=np.float32).reshape(5, 7) - 17
LAYOUTS = {
    "row by row": GRID,
    "column by column": np.asfortranarray(GRID),
    "transposed view": GRID.T,
    "every second column": GRID[:, ::2],
    "every second of a vector": GRID[2, ::2],
    "backwards": GRID[::-1],
    "one number for all": np.broadcast_to(np.float32(3), (4, 2)),
    "other byte order": GRID.astype(">f4"),
}


@pytest.mark.parametrize("array", LAYOUTS.values(), ids=LAYOUTS)
def test_arrays_survive_whatever_their_layout(tmp_path, array):
    save_arrays({"x": array}, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(load_arrays(tmp_path / "x.safetensors")["x"], array)


@pytest.mark.parametrize("array", LAYOUTS.values(), ids=LAYOUTS)
def test_rounded_weights_survive_whatever_their_layout(tmp_path, array):
    save_quantised({"x": array}, tmp_path / "x.safetensors")
    found = load_quantised(tmp_path / "x.safetensors")["x"]
    step = np.abs(array).max(axis=-1, keepdims=True) / 127
    assert np.all(np.abs(found - array) <= step / 2 + 1e-6)


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"no such thing")
    with pytest.raises(FormatError, match=r"x\.safetensors: expected safetensors"):
        load_arrays(tmp_path / "x.safetensors")
