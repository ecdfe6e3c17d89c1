import torch

from tamis.retriever.training.data.token_rows import TokenRows
from tamis.retriever.training.device_rows import Ragged

ROWS = Ragged.of(TokenRows.of([[11, 12, 13], [], [14], [15, 16, 17, 18]]), torch.device("cpu"))


def test_padding_puts_special_ids_around_and_cuts_what_is_too_long():
    ids, mask = ROWS.padded(torch.tensor([3, 1, 2]), ([1], [2]), 0, 5)
    assert ids.tolist() == [[1, 15, 16, 17, 2], [1, 2, 0, 0, 0], [1, 14, 2, 0, 0]]
    assert mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]]


def test_flat_entries_point_into_the_values():
    flat = ROWS.flat(torch.tensor([2, 0, 1]))
    assert flat.row.tolist() == [0, 1, 1, 1]
    assert ROWS.values[flat.entry].tolist() == [14, 11, 12, 13]
